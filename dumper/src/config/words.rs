//! The words of the kernel command line that concern us. What PID 1 uses, [`value`] and [`seconds`], allocates nothing.

/// Key and value of every word `baredump.KEY=VALUE`, without the prefix, in order. A word without `=` has an empty value; quotes
/// around a value (`baredump.x="a b"`, or around the whole word, as the kernel prints it) are taken off. Words after a lone `--`
/// belong to init all the same.
pub fn words(cmdline: &str) -> impl Iterator<Item = (&str, &str)> {
    split(cmdline).filter_map(|word| {
        let word = word.trim_matches('"').strip_prefix("baredump.")?;
        Some(
            word.split_once('=')
                .map_or((word, ""), |(key, value)| (key, value.trim_matches('"'))),
        )
    })
}

/// The last value of one word.
pub fn value<'a>(cmdline: &'a str, key: &str) -> Option<&'a str> {
    words(cmdline)
        .filter(|(k, _)| *k == key)
        .last()
        .map(|(_, v)| v)
}

/// A time: `90`, `90s`, `15m` or `1h`, at least one second and at most a week, in seconds.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=7 * 24 * 3600).contains(&seconds).then_some(seconds)
}

/// Parameters that the command line has for module `name`, as `NAME.PARAM[=VALUE]`; `-` and `_` mean the same in a name. The kernel
/// itself gives them only to what is built in; for a module, whoever loads it does.
pub fn module_parameters<'a>(cmdline: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    let same = |a: &str| a.replace('-', "_") == name.replace('-', "_");
    split(cmdline).filter_map(move |word| {
        let quote = if word.starts_with('"') { "\"" } else { "" };
        let (module, parameter) = word.trim_start_matches('"').split_once('.')?;
        same(module).then(|| format!("{quote}{parameter}"))
    })
}

/// Words between white space that is not inside double quotes, as the kernel splits them.
fn split(cmdline: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    cmdline
        .split(move |c: char| {
            quoted ^= c == '"';
            !quoted && c.is_ascii_whitespace()
        })
        .filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_and_without_quotes() {
        let line = "BOOT=/vm ro baredump.a=1 \"baredump.b=x y\" baredump.c=\"p q\" baredump.init baredumpx.d=1 -- baredump.a=2=3\n";
        let all: Vec<_> = words(line).collect();
        assert_eq!(
            all,
            [
                ("a", "1"),
                ("b", "x y"),
                ("c", "p q"),
                ("init", ""),
                ("a", "2=3")
            ]
        );
        assert_eq!(value(line, "a"), Some("2=3"));
        assert_eq!(value(line, "zz"), None);
    }

    #[test]
    fn parameters_of_modules() {
        let line = "quiet nvme-core.io_timeout=5 nvme.x=1 root=nvme_core.y \"nvme_core.z=a b\" nvme_core.w=\"c d\" nvme_core.v\n";
        let all: Vec<_> = module_parameters(line, "nvme_core").collect();
        assert_eq!(all, ["io_timeout=5", "\"z=a b\"", "w=\"c d\"", "v"]);
        assert_eq!(module_parameters(line, "core").count(), 0);
    }

    #[test]
    fn times() {
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("2m"), Some(120));
        assert_eq!(seconds("1h"), Some(3600));
        for bad in [
            "",
            "0",
            "s",
            "-1",
            "1d",
            "1.5",
            "99999999999999999999",
            "9000h",
            "5 m",
            "2é",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
