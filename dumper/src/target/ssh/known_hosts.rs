//! The host keys that are pinned: text as OpenSSH keeps it in `known_hosts` (sshd(8), OpenSSH 9.2): patterns, hashed names,
//! `[host]:port`, `@cert-authority` and `@revoked`.

use base64ct::{Base64, Encoding};
use ring::hmac;
use russh::keys::{Algorithm, PublicKey};
use std::net::IpAddr;

/// Lines that are longer are none.
const MAX_LINE: usize = 16 << 10;
/// Keys of one host that are looked at.
const MAX_KEYS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Key,
    Authority,
    Revoked,
}

/// The keys of one server.
#[derive(Clone, Debug, Default)]
pub struct Pinned {
    keys: Vec<(Mark, PublicKey)>,
    names: Vec<String>,
    host: String,
}

impl Pinned {
    /// The keys that `text` has for `host`, as the target's URL names it. Lines that are not understood are none. An address counts
    /// only when the target names it: what a name means may come from DNS, which anybody on the way can answer.
    pub fn find(text: &str, host: &str, port: u16) -> Self {
        let mut names = vec![host.to_ascii_lowercase()];
        // An IPv6 address can be written in several ways.
        let address = host.parse::<IpAddr>().map(|address| address.to_string());
        names.extend(address.ok().filter(|address| *address != names[0]));
        let on_port: Vec<String> = names
            .iter()
            .map(|name| format!("[{name}]:{port}"))
            .collect();
        let lines = || text.lines().filter(|line| line.len() <= MAX_LINE);
        let find = |names: &[String]| -> Vec<(Mark, PublicKey)> {
            lines()
                .filter_map(|line| entry(line, names))
                .take(MAX_KEYS)
                .collect()
        };
        let plain = find(&names);
        let mut keys = if port == 22 {
            Vec::new()
        } else {
            find(&on_port)
        };
        // Another port may have another server, but as with ssh a key without a port is good for any that has none of its own.
        let own = keys.iter().any(|(mark, _)| *mark == Mark::Key);
        keys.extend(
            plain
                .into_iter()
                .filter(|(mark, _)| !own || *mark == Mark::Revoked),
        );
        Self {
            keys,
            names: if port == 22 { names } else { on_port },
            host: host.to_ascii_lowercase(),
        }
    }

    /// Whether it has none at all: then no server can be reached.
    pub fn is_empty(&self) -> bool {
        !self.keys.iter().any(|(mark, _)| *mark != Mark::Revoked)
    }

    /// The names that were looked for.
    pub fn names(&self) -> String {
        self.names.join(" or ")
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.marked(Mark::Key)
    }

    pub(super) fn kinds(&self) -> Vec<Algorithm> {
        self.keys().map(PublicKey::algorithm).collect()
    }

    pub(super) fn has_authorities(&self) -> bool {
        self.marked(Mark::Authority).next().is_some()
    }

    pub(super) fn holds(&self, key: &PublicKey) -> bool {
        self.keys()
            .any(|pinned| pinned.key_data() == key.key_data())
    }

    pub(super) fn trusts(&self, key: &PublicKey) -> bool {
        let mut authorities = self.marked(Mark::Authority);
        authorities.any(|pinned| pinned.key_data() == key.key_data())
    }

    pub(super) fn is_revoked(&self, key: &PublicKey) -> bool {
        let mut revoked = self.marked(Mark::Revoked);
        revoked.any(|pinned| pinned.key_data() == key.key_data())
    }

    /// Whether one of a certificate's names is that in the target's URL.
    pub(super) fn is_named(&self, principals: &[String]) -> bool {
        let mut principals = principals.iter();
        principals.any(|pattern| matches(pattern.as_bytes(), self.host.as_bytes()))
    }

    fn marked(&self, mark: Mark) -> impl Iterator<Item = &PublicKey> {
        let of = move |(is, key)| (is == mark).then_some(key);
        self.keys
            .iter()
            .map(|(mark, key)| (*mark, key))
            .filter_map(of)
    }
}

/// The key of a line that is for one of `names`.
fn entry(line: &str, names: &[String]) -> Option<(Mark, PublicKey)> {
    let mut fields = line.split_ascii_whitespace().peekable();
    let mark = match *fields.peek()? {
        "@cert-authority" => Mark::Authority,
        "@revoked" => Mark::Revoked,
        other if other.starts_with(['@', '#']) => return None,
        _ => Mark::Key,
    };
    if mark != Mark::Key {
        fields.next();
    }
    let hosts = fields.next()?;
    if !names.iter().any(|name| names_host(hosts, name)) {
        return None;
    }
    let (kind, key) = (fields.next()?, fields.next()?);
    let key = PublicKey::from_openssh(&format!("{kind} {key}")).ok()?;
    Some((mark, key))
}

/// Whether the first field of a line names `name`.
fn names_host(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return is_hash_of(hashed, name).unwrap_or(false);
    }
    let mut named = false;
    for pattern in hosts.split(',') {
        let (pattern, is_not) = match pattern.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        if matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) {
            if is_not {
                return false;
            }
            named = true;
        }
    }
    named
}

/// `SALT|HASH`, of twenty bytes each.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (mut salt_bytes, mut hash_bytes) = ([0; 32], [0; 32]);
    let salt = Base64::decode(salt, &mut salt_bytes).ok()?;
    let hash = Base64::decode(hash, &mut hash_bytes).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    Some(hmac::sign(&key, name.as_bytes()).as_ref() == hash)
}

/// `*` and `?` as in a shell, without going back more than once for each byte.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else {
                    return false;
                };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn find(text: &str, host: &str, port: u16) -> Pinned {
        Pinned::find(text, host, port)
    }

    #[test]
    fn names_addresses_and_patterns() {
        for (hosts, found) in [
            ("vault", true),
            ("other,vault", true),
            ("VAULT", true),
            ("v?u*", true),
            ("10.0.2.2", false),
            ("*,!vault", false),
            ("vaul", false),
            ("[vault]:2222", false),
        ] {
            let pinned = find(&format!("# c\n\n{hosts} {A} comment\n"), "vault", 22);
            assert_eq!(pinned.holds(&key(A)), found, "{hosts}");
            assert!(!pinned.holds(&key(B)));
        }
    }

    #[test]
    fn an_address_is_no_proof_of_a_name() {
        let text = format!("vault {A}\n10.0.0.66 {B}\nfd00::2 {B}\n10.0.0.* {B}\n");
        assert!(!find(&text, "vault", 22).holds(&key(B)));
        assert!(find(&text, "10.0.0.66", 22).holds(&key(B)));
        assert!(find(&text, "fd00:0::2", 22).holds(&key(B)));
        assert!(find(&format!("*,!vault {A}"), "vault", 22).is_empty());
        assert!(find(&format!("*,![vault]:2222 {A}"), "vault", 2222).holds(&key(A)));
    }

    #[test]
    fn hashed_names() {
        let key_of = |name: &str| {
            let salt = [7; 20];
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
            let encode = |bytes: &[u8]| {
                let mut text = [0; 64];
                Base64::encode(bytes, &mut text).unwrap().to_owned()
            };
            let hash = hmac::sign(&key, name.as_bytes());
            format!("|1|{}|{} {A}", encode(&salt), encode(hash.as_ref()))
        };
        assert!(find(&key_of("vault"), "vault", 22).holds(&key(A)));
        assert!(find(&key_of("[vault]:2222"), "vault", 2222).holds(&key(A)));
        assert!(!find(&key_of("other"), "vault", 22).holds(&key(A)));
        // What ssh-keygen -H of OpenSSH 9.2 writes for `vault`.
        let theirs = "|1|4kLCYebXxjMoy3KkQQyw7h7Zx/I=|0ltOIftCL6AYgeW6+1qdwgqKJqc=";
        assert!(find(&format!("{theirs} {A}"), "vault", 22).holds(&key(A)));
        assert!(find(&format!("|1|x|y {A}"), "vault", 22).is_empty());
    }

    #[test]
    fn a_port_of_its_own_comes_first() {
        let text = format!("vault {A}\n[vault]:2222 {B}\n");
        assert!(find(&text, "vault", 2222).holds(&key(B)));
        assert!(!find(&text, "vault", 2222).holds(&key(A)));
        assert!(find(&text, "vault", 2200).holds(&key(A)));
    }

    #[test]
    fn marks_mean_something_else() {
        let pinned = find(&format!("@revoked * {A}\nvault {A}"), "vault", 22);
        assert!(pinned.is_revoked(&key(A)) && !pinned.is_empty());
        let pinned = find(&format!("@cert-authority *.lab,vault {A}"), "vault", 22);
        assert!(pinned.trusts(&key(A)) && !pinned.holds(&key(A)) && pinned.has_authorities());
        assert!(pinned.is_named(&["vault".into()]) && !pinned.is_named(&["lab".into()]));
        assert!(find(&format!("@other vault {A}"), "vault", 22).is_empty());
    }

    #[test]
    fn wildcards_end() {
        assert!(matches(b"a*b*c", b"axxbxxc") && !matches(b"a*b*c", b"axxbxx"));
        assert!(!matches(&b"*a".repeat(2000), &[b'a'; 1999]));
    }
}
