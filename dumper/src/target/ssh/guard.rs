//! Judges the key that a server shows, and keeps why the connection ended.

use super::fault::{Fault, clean};
use super::known_hosts::Pinned;
use russh::client::{DisconnectReason, Handler};
use russh::keys::{Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why the connection ended, once it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending(Arc<Mutex<Option<String>>>);

impl Ending {
    pub(super) fn why(&self) -> Option<String> {
        let why = self.0.lock();
        why.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first reason stays.
    pub(super) fn set(&self, why: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert(why);
    }
}

/// What russh asks.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) pinned: Pinned,
    /// No time before it is believed, in seconds since 1970.
    pub(super) built: u64,
    pub(super) ending: Ending,
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        let common = |list: &[String]| clean(list.join(", ").as_bytes());
        match error {
            russh::Error::IO(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                Self::lost("the server closed the connection")
            }
            russh::Error::IO(source) => Self::new(source.kind(), source.to_string()),
            russh::Error::NoCommonAlgo { kind, theirs, .. } => Self::lost(format!(
                "nothing that it offers for {kind:?} is safe enough ({}): update or reconfigure the server",
                common(&theirs)
            )),
            russh::Error::Disconnect | russh::Error::HUP => {
                Self::lost("the server closed the connection")
            }
            russh::Error::KeepaliveTimeout => Self::lost("the server no longer answers"),
            other => Self::lost(format!(
                "SSH failed: {}",
                clean(other.to_string().as_bytes())
            )),
        }
    }
}

impl Handler for Guard {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.judge(key),
            PublicKeyOrCertificate::Certificate(cert) => self.judge_certificate(cert),
        }
        .map(|()| true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        self.ending.set(match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let message = clean(info.message.as_bytes());
                format!("the server ended the connection: {message}")
            }
            DisconnectReason::Error(fault) => fault.why,
        });
        Ok(())
    }
}

impl Guard {
    fn judge(&self, key: &PublicKey) -> Result<(), Fault> {
        if self.pinned.is_revoked(key) {
            return Err(refused(format!(
                "its host key {} is marked @revoked in known_hosts",
                fingerprint(key)
            )));
        }
        if self.pinned.holds(key) {
            return Ok(());
        }
        let expected: Vec<String> = self.pinned.keys().map(fingerprint).collect();
        let expected = match (expected.is_empty(), self.pinned.has_authorities()) {
            (false, _) => format!("known_hosts has {}", expected.join(", ")),
            (true, true) => "known_hosts has only authorities, and it shows no certificate".into(),
            (true, false) => format!("known_hosts has none for {}", self.pinned.names()),
        };
        Err(refused(format!(
            "its host key {} is not known, {expected}: somebody else answers, or the key was changed and known_hosts must be too",
            fingerprint(key)
        )))
    }

    /// A certificate that an authority in known_hosts signed for this name. One that begins in the future is taken: the clock
    /// of a capture kernel may be that of an empty battery; one that has ended is not, be it by the time when the image was built.
    fn judge_certificate(&self, cert: &Certificate) -> Result<(), Fault> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = clock.map_or(0, |d| d.as_secs());
        let now = judged_at(clock, self.built, cert.valid_after());
        let signer = PublicKey::new(cert.signature_key().clone(), "");
        let key = PublicKey::new(cert.public_key().clone(), "");
        let shown = format!("its host certificate, signed by {},", fingerprint(&signer));
        if self.pinned.is_revoked(&signer) || self.pinned.is_revoked(&key) {
            return Err(refused(format!(
                "{shown} is marked @revoked in known_hosts"
            )));
        }
        if !self.pinned.trusts(&signer) {
            return Err(refused(format!(
                "{shown} is of an authority that is not in known_hosts"
            )));
        }
        if !cert.cert_type().is_host() || !cert.critical_options().is_empty() {
            return Err(refused(format!("{shown} is not one for hosts")));
        }
        if !self.pinned.is_named(cert.valid_principals()) {
            return Err(refused(format!(
                "{shown} is for other names than {}",
                self.pinned.names()
            )));
        }
        let authority = signer.fingerprint(HashAlg::Sha256);
        cert.validate_at(now, [&authority])
            .map_err(|_| refused(format!("{shown} has ended or is damaged")))
    }
}

/// `SHA256:… (ssh-ed25519)`.
fn fingerprint(key: &PublicKey) -> String {
    format!("{} ({})", key.fingerprint(HashAlg::Sha256), key.algorithm())
}

fn refused(why: String) -> Fault {
    Fault::new(io::ErrorKind::PermissionDenied, why)
}

/// The time at which a certificate is judged.
fn judged_at(clock: u64, built: u64, valid_after: u64) -> u64 {
    clock.max(built).max(valid_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_reset_makes_no_ended_certificate_good() {
        let (from, to) = (1_000, 2_000);
        // The clock of an empty battery, and an image that was built after the end.
        assert!(judged_at(7, 3_000, from) > to);
        assert_eq!(judged_at(7, 1_500, from), 1_500);
        assert_eq!(judged_at(2_500, 1_500, from), 2_500);
        assert_eq!(judged_at(7, 0, from), from);
    }
}
