//! A path in a target's URL, and the same on the server: `/./dir` and `/~/dir` there are relative to where the login begins.

/// How the server is asked for `path` of a URL. Never begins with a dash or a tilde.
pub(super) fn on_server(path: &str) -> String {
    let relative = ["/./", "/~/"].iter().find_map(|p| path.strip_prefix(p));
    let (root, rest) = match (relative, path) {
        (Some(rest), _) => ("./", rest),
        (None, "/." | "/~") => ("./", ""),
        (None, path) => ("/", path),
    };
    let parts: Vec<&str> = rest
        .split('/')
        .filter(|p| !matches!(*p, "" | "."))
        .collect();
    format!("{root}{}", parts.join("/"))
}

/// How a server's path is written in a URL, so that [`on_server`] gives it again.
pub(super) fn in_url(path: &str) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{path}")
}

/// `name` in the directory `dir` of a server.
pub(super) fn join(dir: &str, name: &str) -> String {
    format!("{}/{name}", dir.trim_end_matches('/'))
}

/// Every directory on the way to `path`, the topmost first, `path` last; without the root or where the login begins.
pub(super) fn ancestors(path: &str) -> Vec<&str> {
    let root = if path.starts_with("./") { 2 } else { 1 };
    let ends = path.char_indices().skip(root).filter(|(_, c)| *c == '/');
    let mut all: Vec<&str> = ends.filter_map(|(at, _)| path.get(..at)).collect();
    if path.len() > root {
        all.push(path);
    }
    all
}

/// `name`, `name-2`, …: what a dump's directory may be called.
pub(super) fn twins(name: &str) -> impl Iterator<Item = String> + '_ {
    /// Directories of the same second and boot that are tried.
    const MAX_TWINS: u32 = 999;
    (1..=MAX_TWINS).map(move |n| {
        if n == 1 {
            name.to_owned()
        } else {
            format!("{name}-{n}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_begin_at_the_login() {
        for (url, server) in [
            ("/var/crash", "/var/crash"),
            ("/", "/"),
            ("/./dumps//a/", "./dumps/a"),
            ("/~/dumps", "./dumps"),
            ("/.", "./"),
            ("/-rf", "/-rf"),
            ("/./-rf", "./-rf"),
        ] {
            assert_eq!(on_server(url), server, "{url}");
            assert_eq!(on_server(&in_url(server)), server, "{server}");
        }
    }

    #[test]
    fn directories_on_the_way() {
        assert_eq!(
            ancestors("/var/crash/a"),
            ["/var", "/var/crash", "/var/crash/a"]
        );
        assert_eq!(ancestors("./dumps/a"), ["./dumps", "./dumps/a"]);
        assert!(ancestors("/").is_empty() && ancestors("./").is_empty());
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("./", "a"), "./a");
        assert_eq!(twins("a").take(3).collect::<Vec<_>>(), ["a", "a-2", "a-3"]);
    }
}
