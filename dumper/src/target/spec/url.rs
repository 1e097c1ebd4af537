//! The parts of a target's URL: percent-encoding, `user@host:port`, options.
//!
//! RFC 3986 as far as a target needs it: what is not allowed in a part can be written as `%HH`, and only there.

use std::fmt::Write;

/// Options in the order in which they are written, decoded.
pub(super) type Pairs = Vec<(String, String)>;

/// What comes before the first `?`, and the options after it, decoded.
pub(super) fn split_options(text: &str) -> Result<(&str, Pairs), &'static str> {
    let Some((front, query)) = text.split_once('?') else {
        return Ok((text, Vec::new()));
    };
    let mut options = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        options.push((decode(key)?, decode(value)?));
    }
    Ok((front, options))
}

/// `//user@host:port/path` in its parts; the path begins with `/` or is empty.
pub(in crate::target) fn authority(text: &str) -> Result<Authority, &'static str> {
    let rest = text
        .strip_prefix("//")
        .ok_or("`//` and the server must follow the scheme")?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, authority),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err("a password cannot be part of a target: name a key file in the configuration");
    }
    let (host, port) = host_port(server)?;
    Ok(Authority {
        user: user.map(decode).transpose()?,
        host,
        port,
        path: decode(path)?,
    })
}

/// A server, and where on it.
pub(in crate::target) struct Authority {
    pub(in crate::target) user: Option<String>,
    /// Name or address, without brackets.
    pub(in crate::target) host: String,
    pub(in crate::target) port: Option<u16>,
    pub(in crate::target) path: String,
}

fn host_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or("an IPv6 address must end with `]`")?;
            if !matches!(host.parse(), Ok(std::net::IpAddr::V6(_))) {
                return Err("only an IPv6 address can be in brackets");
            }
            (host, after)
        }
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    if host.is_empty() || host.len() > 253 {
        return Err("the server's name is missing or longer than 253 bytes");
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(good) {
        return Err(
            "the server must be a name or an address; an IPv6 address is written in brackets",
        );
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(
            digits
                .parse::<u16>()
                .ok()
                .filter(|&port| port > 0)
                .ok_or("the port must be a number from 1 to 65535")?,
        ),
        None if port.is_empty() => None,
        None => return Err("an IPv6 address is written in brackets, the port follows a colon"),
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// `host:port` as it is written in a URL.
pub(super) fn server(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// Takes `%HH` back.
pub(super) fn decode(text: &str) -> Result<String, &'static str> {
    const BAD: &str = "`%` must be followed by two hex digits; write a percent sign as %25";
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        (bytes, rest) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                let hex = [*high, *low];
                let value = std::str::from_utf8(&hex)
                    .ok()
                    .filter(|_| high.is_ascii_hexdigit())
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                    .ok_or(BAD)?;
                bytes.push(value);
                (bytes, after)
            }
            (b'%', _) => return Err(BAD),
            _ => {
                bytes.push(byte);
                (bytes, after)
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| "the decoded text is not UTF-8")
}

/// Writes what has a meaning in a URL as `%HH`; `more` are characters with a meaning in this part.
pub(super) fn encode(text: &str, more: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '?') || more.contains(&c) {
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let a = authority("//core@Dump.example:2022/a%20b").unwrap();
        assert_eq!(
            (a.user.as_deref(), &*a.host, a.port, &*a.path),
            (Some("core"), "dump.example", Some(2022), "/a b")
        );
        let a = authority("//[fd00::5]:22/x").unwrap();
        assert_eq!((&*a.host, a.port), ("fd00::5", Some(22)));
        assert_eq!(server(&a.host, a.port), "[fd00::5]:22");
        for bad in [
            "/a",
            "//",
            "///x",
            "//u:p@h/x",
            "//fd00::5/x",
            "//h:0/",
            "//h:x/",
            "//[h]/",
            "//[::1/",
            "//h%20/",
        ] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn encoding_round_trip() {
        for text in ["", "a b", "50%", "what?", "ä&=%41"] {
            assert_eq!(decode(&encode(text, &['&', '='])).unwrap(), text);
        }
        for bad in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
