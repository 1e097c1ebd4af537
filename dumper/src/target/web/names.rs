//! Names of objects and files in URLs.

use std::fmt::Write;

/// Directories of the same second and boot that are tried.
pub(super) const MAX_TWINS: u32 = 99;

/// Everything but RFC 3986's unreserved characters as `%HH`: what a signature wants too. Slashes stay when `slashes`.
pub(super) fn encode(text: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || slashes && byte == b'/';
        if plain {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// `NAME`, `NAME-2`, ….
pub(super) fn twin(name: &str, number: u32) -> String {
    match number {
        1 => name.to_owned(),
        _ => format!("{name}-{number}"),
    }
}

/// The name of a file's object from its number, 1 for the first; cat(1) joins them.
pub(super) fn numbered(name: &str, number: u32) -> String {
    match number {
        1 => name.to_owned(),
        _ => format!("{name}.{number}"),
    }
}

/// Two names joined, one of which may be empty.
pub(super) fn join(front: &str, name: &str) -> String {
    match front.trim_end_matches('/') {
        "" => name.to_owned(),
        front => format!("{front}/{name}"),
    }
}

/// `host`, or `host:port`, as a request names it.
pub(super) fn authority(host: &str, port: u16, tls: bool) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    match port == if tls { 443 } else { 80 } {
        true => host,
        false => format!("{host}:{port}"),
    }
}
