//! What proves us to a server, and the server to us. Nothing of a private key is ever shown.

use super::fault::Fault;
use super::known_hosts::Pinned;
use crate::target::{TargetError, TargetSpec};
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
    /// When they were put together, in seconds since 1970, where that is known: the clock of a capture kernel may be wrong.
    pub built: u64,
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
            built: 0,
        })
    }

    /// Whether `spec` can be reached with them, as far as that can be told before: an image with others would be of no use.
    ///
    /// # Errors
    /// A sentence that says what is wrong with which of them.
    pub fn check(&self, spec: &TargetSpec) -> Result<(), TargetError> {
        let place = spec.to_string();
        let key = self.private().map_err(|fault| fault.at(&place))?;
        let cert = self.certificate().map_err(|fault| fault.at(&place))?;
        if cert.is_some_and(|cert| cert.public_key() != key.public_key().key_data()) {
            let why = "the SSH certificate is for another key than the one given";
            return Err(Fault::new(io::ErrorKind::InvalidInput, why).at(&place));
        }
        let Some((host, port)) = spec.server() else {
            return Ok(());
        };
        self.pinned(&host, port)
            .map(|_| ())
            .map_err(|fault| fault.at(&place))
    }

    /// The host keys of a server; that there are none is an error.
    pub(super) fn pinned(&self, host: &str, port: u16) -> Result<Pinned, Fault> {
        let pinned = Pinned::find(&self.known_hosts, host, port);
        if !pinned.is_empty() {
            return Ok(pinned);
        }
        Err(Fault::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "known_hosts has no key for {}, and none is accepted blindly: add what ssh-keyscan shows, after a look at it",
                pinned.names()
            ),
        ))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a pair that was made for this test only.
    const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACDBErJeT46sVtTxHzeTO8bVhb7QRvt1ZG8sIPbnt+FPRQAAAIhVvHuBVbx7\ngQAAAAtzc2gtZWQyNTUxOQAAACDBErJeT46sVtTxHzeTO8bVhb7QRvt1ZG8sIPbnt+FPRQ\nAAAEDhEZM7t2IzuSAAgC9KIGiQVUA6h7YYIhz79HavKhy8q8ESsl5PjqxW1PEfN5M7xtWF\nvtBG+3Vkbywg9ue34U9FAAAABHRlc3QB\n-----END OPENSSH PRIVATE KEY-----";
    const LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABD2cqLL9a\n+4ilcys8rRGzkTAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAILoTDEnNWK/yVQL6\nVmrKqlQIOayDVq5os9AeRGurGjgnAAAAkERBLzaGquz0zZTXbAPd3e79VYVTA5IvK1L/2r\no3Q1EhuGiUtOb9nPB2Iw+CZNLNPTmgnOZxb4VONdyowIGPmuwjTmKzXLXRsOb6XUzfXLve\ng0zkIvs/89CU+wnAAffgzaaG0gJwFvcNgGDjbfy1snQZHg/krLBxNJ4NjbouBj5VrSSPld\nbSohp5OhAcS0nqig==\n-----END OPENSSH PRIVATE KEY-----";

    fn keys(key: &str, known_hosts: &str) -> Keys {
        Keys {
            key: key.into(),
            cert: None,
            known_hosts: known_hosts.into(),
            built: 0,
        }
    }

    fn error(keys: &Keys) -> String {
        let spec = "sftp://u@vault:2222/d".parse().unwrap();
        keys.check(&spec)
            .err()
            .map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_bytes() {
        let host = "[vault]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        assert_eq!(error(&keys(KEY, host)), "");
        assert!(error(&keys(KEY, "other ssh-ed25519 AAAA")).contains("no key for [vault]:2222"));
        assert!(error(&keys(LOCKED, host)).contains("passphrase"));
        assert!(error(&keys("-----BEGIN RSA PRIVATE KEY-----\nMII", host)).contains("PEM"));
        assert!(error(&keys("ssh-ed25519 AAAA", host)).contains("ssh-keygen -t ed25519"));
        assert!(error(&keys(&KEY.replacen("AAAA", "BBBB", 1), host)).contains("damaged"));
        let cert = Keys {
            cert: Some("x".into()),
            ..keys(KEY, host)
        };
        assert!(error(&cert).contains("certificate is damaged"));
        assert!(!format!("{cert:?}").contains("BEGIN"));
    }
}
