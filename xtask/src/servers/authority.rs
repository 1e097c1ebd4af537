//! A certificate authority that only this lab knows, and the certificate of a server under the addresses that guests have for it.

use super::{HOST4, HOST6};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a TLS server needs, and what its clients pin.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The authority's certificate.
    pub(crate) ca: PathBuf,
    /// The server's certificate.
    pub(crate) certificate: PathBuf,
    /// The server's key.
    pub(crate) key: PathBuf,
}

impl Identity {
    /// Makes both.
    ///
    /// # Errors
    /// When openssl is missing or refuses.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let config = dir.join("openssl.conf");
        fs::write(&config, configuration()).context("cannot write the configuration of openssl")?;
        let (ca, ca_key) = (dir.join("ca.pem"), dir.join("ca.key"));
        let (certificate, key) = (dir.join("server.pem"), dir.join("server.key"));
        let request = |name: &str, extensions: &str| {
            let mut command = Command::new("openssl");
            command.args(["req", "-x509", "-nodes", "-days", "30", "-newkey", "ec"]);
            command.args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", name]);
            command
                .args(["-extensions", extensions, "-config"])
                .arg(&config);
            command
        };
        let mut own = request("/CN=lab", "authority");
        own.arg("-keyout").arg(&ca_key).arg("-out").arg(&ca);
        qemu::run_tool(&mut own, &[0])?;
        let mut signed = request("/CN=server", "server");
        signed.arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key);
        signed
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        qemu::run_tool(&mut signed, &[0])?;
        Ok(Self {
            ca,
            certificate,
            key,
        })
    }
}

fn configuration() -> String {
    format!(
        "[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1,IP:{HOST4},IP:{HOST6}
"
    )
}
