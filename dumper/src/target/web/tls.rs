//! TLS with pinned certificates: only what `ca.pem` holds is trusted.
//!
//! A certificate is judged at the later of our clock and the time at which the image was built: a clock that was reset must not
//! lose the dump, and no image was built in the future.

use super::clock;
use super::failure::Failure;
use crate::target::utc;
use rustls::client::ClientConnection;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, Error, RootCertStore};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The certificates that are trusted.
const CA: &str = "ca.pem";

/// How a server is spoken to whose certificate one in `secrets` has signed.
pub(super) fn config(secrets: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let pem = fs::read(secrets.join(CA)).map_err(|e| {
        Failure::Tls(format!(
            "there is no {CA} to know the server by ({e}): name one with `ca` and build the image anew"
        ))
    })?;
    let times = Times {
        built: clock::built(secrets),
    };
    let config = ClientConfig::builder_with_details(provider().into(), Arc::new(times))
        .with_safe_default_protocol_versions()
        .map_err(|e| Failure::Tls(e.to_string()))?
        .with_root_certificates(roots(&pem)?)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A connection's state for the server `name`.
pub(super) fn client(config: &Arc<ClientConfig>, name: &str) -> Result<ClientConnection, Failure> {
    let server = ServerName::try_from(name.to_owned())
        .map_err(|_| Failure::Tls(format!("{name} is no name that a certificate can have")))?;
    ClientConnection::new(config.clone(), server).map_err(|e| refused(&e))
}

/// The certificates of a PEM file.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.ok().and_then(|der| roots.add(der).ok());
        added.ok_or_else(|| {
            Failure::Tls(format!(
                "{CA} holds what is no certificate: name another with `ca`"
            ))
        })?;
    }
    if roots.is_empty() {
        return Err(Failure::Tls(format!(
            "{CA} holds no certificate: name a PEM file with `ca`"
        )));
    }
    Ok(roots)
}

/// ring's ciphers, the one first that this processor does faster.
fn provider() -> rustls::crypto::CryptoProvider {
    let mut provider = ring::default_provider();
    if !crate::target::cipher::aes_is_faster() {
        let chacha = |suite: &rustls::SupportedCipherSuite| {
            !format!("{:?}", suite.suite()).contains("CHACHA20")
        };
        provider.cipher_suites.sort_by_key(chacha);
    }
    provider
}

/// The later of our clock and the image's.
#[derive(Debug)]
struct Times {
    built: i64,
}

impl TimeProvider for Times {
    fn current_time(&self) -> Option<UnixTime> {
        let later = u64::try_from(clock::own().max(self.built)).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(later)))
    }
}

/// One sentence of what TLS did not like.
pub(super) fn refused(error: &Error) -> Failure {
    let date = |time: UnixTime| utc(i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 2));
    let why = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate is not signed by one of `ca`: name the certificate that signs it, and see who else answers at this address".into()
        }
        Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => format!(
            "the server's certificate ended {}, and it is {} here: renew it, or set this machine's clock",
            date(*not_after),
            date(*time)
        ),
        Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => format!(
            "the server's certificate begins {}, and it is {} here: set this machine's clock, or build the image anew",
            date(*not_before),
            date(*time)
        ),
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name: name the server as its certificate does".into(),
        other => format!("no TLS with the server: {other}: see whether it speaks TLS 1.2 or 1.3 at this port"),
    };
    Failure::Tls(why)
}
