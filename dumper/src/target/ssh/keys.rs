//! What proves us to a server, and the server to us. Nothing of a private key is ever shown.

use super::fault::Fault;
use crate::target::TargetError;
use russh::keys::{Certificate, PrivateKey};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// A private key, a certificate for it, and the host keys that are pinned.
#[derive(Clone)]
pub struct Keys {
    /// The private key as `ssh-keygen` writes it, without a passphrase.
    pub key: Vec<u8>,
    /// Its certificate, as in `KEY-cert.pub`.
    pub cert: Option<String>,
    /// The text of a `known_hosts` file.
    pub known_hosts: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads them from files.
    ///
    /// # Errors
    /// When one cannot be read, or is far too large for what it should be.
    pub fn read(key: &Path, cert: Option<&Path>, known_hosts: &Path) -> Result<Self, TargetError> {
        Ok(Self {
            key: read(key)?,
            cert: cert.map(read).transpose()?.map(text),
            known_hosts: text(read(known_hosts)?),
        })
    }

    /// Whether the key can be used, and the certificate is one for it; so that an image is not built with others.
    ///
    /// # Errors
    /// A sentence that says what is wrong with which of them.
    pub fn check(&self) -> Result<(), String> {
        let key = self.private().map_err(|fault| fault.why)?;
        let cert = self.certificate().map_err(|fault| fault.why)?;
        if cert.is_some_and(|cert| cert.public_key() != key.public_key().key_data()) {
            return Err("the SSH certificate is for another key than the one given".into());
        }
        Ok(())
    }

    pub(super) fn private(&self) -> Result<PrivateKey, Fault> {
        if let Ok(key) = PrivateKey::from_openssh(&self.key) {
            return if key.is_encrypted() {
                Err(unusable(
                    "has a passphrase, which nobody can type at a crash: take a key of its own without one",
                ))
            } else {
                Ok(key)
            };
        }
        let has = |text: &str| self.key.windows(text.len()).any(|w| w == text.as_bytes());
        Err(unusable(if has("-----BEGIN OPENSSH PRIVATE KEY-----") {
            "is damaged or of a kind that is not known: use an ed25519, ECDSA or RSA key"
        } else if has("PRIVATE KEY-----") {
            "is in a PEM format: rewrite it with ssh-keygen -p -N '' -f KEY"
        } else {
            "is not in OpenSSH's format: make one with ssh-keygen -t ed25519"
        }))
    }

    pub(super) fn certificate(&self) -> Result<Option<Certificate>, Fault> {
        let Some(text) = &self.cert else {
            return Ok(None);
        };
        let line = text.lines().find(|line| !line.trim().is_empty());
        let cert = Certificate::from_openssh(line.unwrap_or_default().trim());
        cert.map(Some).map_err(|_| {
            let why =
                "the SSH certificate is damaged: it is what ssh-keygen -s writes to KEY-cert.pub";
            Fault::new(io::ErrorKind::InvalidInput, why)
        })
    }
}

fn unusable(why: &str) -> Fault {
    Fault::new(
        io::ErrorKind::InvalidInput,
        format!("the SSH private key {why}"),
    )
}

fn read(path: &Path) -> Result<Vec<u8>, TargetError> {
    /// More than any of these files has.
    const MAX: u64 = 1 << 20;
    let len = fs::metadata(path).map(|m| m.len());
    let bytes = match len {
        Ok(len) if len > MAX => Err(io::ErrorKind::FileTooLarge.into()),
        _ => fs::read(path),
    };
    bytes.map_err(|source| TargetError::Path {
        action: "read",
        path: path.into(),
        source,
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
