//! Identities: the private keys in a file as age-keygen writes it.

use super::recipient::decode;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// An identity file is smaller.
const MAX_FILE: u64 = 64 << 10;
/// Keys of a file.
const MAX: usize = 64;

/// Why a file is no identity file. No text of it is repeated.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// Something else.
    #[error("no private key in it: it must have a line AGE-SECRET-KEY-1…, as age-keygen writes it")]
    None,
    /// Larger than any.
    #[error(
        "too large for an identity file, which has a line for each of at most {MAX} private keys"
    )]
    TooLarge,
    /// A line with a typing error, or something else.
    #[error("line {0} is neither a comment nor a private key AGE-SECRET-KEY-1…")]
    Bad(usize),
    /// A plugin's.
    #[error(
        "line {0} belongs to an age plugin: decrypt with 'age -d', then use 'baredump rearrange'"
    )]
    Plugin(usize),
    /// An SSH key.
    #[error("an SSH key: dumps are encrypted to age keys, name the file that age-keygen wrote")]
    Ssh,
    /// Encrypted itself.
    #[error("it is encrypted itself: decrypt it first, with 'age -d'")]
    Encrypted,
}

/// At least one private key.
pub struct Identities(Vec<[u8; 32]>);

impl Identities {
    /// Reads an identity file.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let mut text = Vec::new();
        File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
        if text.len() as u64 == MAX_FILE {
            return Err(IdentityError::TooLarge);
        }
        Self::parse(&text)
    }

    /// Parses the text of an identity file.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn parse(text: &[u8]) -> Result<Self, IdentityError> {
        if text.starts_with(b"age-encryption.org/") || text.starts_with(b"-----BEGIN AGE") {
            return Err(IdentityError::Encrypted);
        }
        if text.starts_with(b"-----BEGIN") {
            return Err(IdentityError::Ssh);
        }
        let mut keys = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if line.starts_with(b"AGE-PLUGIN-") {
                return Err(IdentityError::Plugin(index + 1));
            }
            let word = str::from_utf8(line).ok();
            let key = word.and_then(|word| decode("AGE-SECRET-KEY-", word));
            keys.push(key.ok_or(IdentityError::Bad(index + 1))?);
            if keys.len() > MAX {
                return Err(IdentityError::TooLarge);
            }
        }
        if keys.is_empty() {
            return Err(IdentityError::None);
        }
        Ok(Self(keys))
    }

    /// The private keys.
    pub(super) fn keys(&self) -> &[[u8; 32]] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

    #[test]
    fn files_of_age_keygen_are_read() {
        let text = format!("# created: 2026-01-01\n# public key: age1…\r\n{KEY}\r\n\n{KEY}");
        assert_eq!(Identities::parse(text.as_bytes()).unwrap().keys().len(), 2);
    }

    #[test]
    fn other_files_are_refused_and_not_repeated() {
        let bad = |text: &str| Identities::parse(text.as_bytes()).err().unwrap();
        assert!(matches!(bad("# nothing\n"), IdentityError::None));
        assert!(matches!(
            bad("age-encryption.org/v1\n"),
            IdentityError::Encrypted
        ));
        assert!(matches!(
            bad("-----BEGIN OPENSSH PRIVATE KEY-----"),
            IdentityError::Ssh
        ));
        assert!(matches!(
            bad("\nAGE-PLUGIN-YUBIKEY-1Q"),
            IdentityError::Plugin(2)
        ));
        assert!(matches!(
            bad(&format!("{KEY}\n").repeat(65)),
            IdentityError::TooLarge
        ));
        for text in [
            KEY.replace("EGT", "EGU"),
            KEY.to_lowercase(),
            "secret".into(),
        ] {
            let error = bad(&format!("#\n{text}"));
            assert!(matches!(error, IdentityError::Bad(2)), "{error}");
        }
    }
}
