//! Why something at a server failed: a sentence without the server's name, which is put before it where the error leaves this folder.

use crate::target::TargetError;
use std::io;

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Fault {
    /// The nearest kind of an input or output error.
    pub(super) kind: io::ErrorKind,
    /// What failed, what was found, and what to do.
    pub(super) why: String,
}

impl Fault {
    pub(super) fn new(kind: io::ErrorKind, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { kind, why }
    }

    /// The server or the way to it is gone.
    pub(super) fn lost(why: impl Into<String>) -> Self {
        Self::new(io::ErrorKind::ConnectionAborted, why)
    }

    /// The server answered what no server may.
    pub(super) fn absurd(why: impl Into<String>) -> Self {
        Self::new(io::ErrorKind::InvalidData, why)
    }

    /// For who writes a file at `place`.
    pub(super) fn into_io(self, place: &str) -> io::Error {
        io::Error::new(self.kind, format!("{place}: {}", self.why))
    }

    /// For who uses the target `place`.
    pub(super) fn at(self, place: &str) -> TargetError {
        TargetError::Remote {
            place: place.into(),
            why: self.why,
        }
    }
}

/// A server's text in one line of printable characters, at most 200 of them.
pub(super) fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(200).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_text_is_one_short_line() {
        assert_eq!(clean(b" no\nspace\x1b[31m \n"), "no space [31m");
        assert_eq!(clean(&[b'a'; 5000]).len(), 200);
    }
}
