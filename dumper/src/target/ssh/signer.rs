//! Signs for a certificate: russh itself would sign with SHA-1 where its key is RSA.

use super::fault::Fault;
use russh::Signer;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey};
use std::sync::Arc;

/// The key of a certificate.
pub(super) struct CertificateKey(pub(super) Arc<PrivateKey>);

impl From<russh::SendError> for Fault {
    fn from(_: russh::SendError) -> Self {
        Self::lost("the server closed the connection")
    }
}

impl Signer for CertificateKey {
    type Error = Fault;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, Fault> {
        let damaged = || Fault::lost("the SSH key cannot sign: it is damaged");
        let signature = match self.0.key_data() {
            KeypairData::Rsa(key) => (key, hash).try_sign(&data),
            key => key.try_sign(&data),
        };
        let signature = signature.map_err(|_| damaged())?;
        let encoded: Vec<u8> = signature.try_into().map_err(|_| damaged())?;
        encoded.encode(&mut data).map_err(|_| damaged())?;
        Ok(data)
    }
}
