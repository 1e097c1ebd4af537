//! Encryption to age recipients: streams that only who has the private key can read, with any age program.
//!
//! Upstream: the file format `age-encryption.org/v1` (C2SP age.md), of which this is the X25519 recipient:
//!
//! ```text
//! header   "age-encryption.org/v1\n", a stanza for each recipient, "--- " and the header's MAC
//! stanza   "-> X25519 SHARE\n", BODY "\n": the file key, encrypted with what X25519 of an ephemeral key and the recipient's gives
//! nonce    16 bytes
//! payload  chunks of 64 KiB and a tag of 16 bytes each: ChaCha20-Poly1305, nonce = counter and whether it is the last one
//! ```
//!
//! Keys are derived with HKDF-SHA256: for the body of a stanza from the shared secret, for the MAC (HMAC-SHA256) and the payload from
//! the file key of 16 random bytes. Base64 has no padding, lines have 64 columns.
//!
//! It is our own writer and reader because the crate `age` brings 126 crates and more than 100 kB; the cryptography is that of `ring`
//! and `curve25519-dalek`, which SSH needs anyhow. Other recipients (passphrases, SSH keys, plugins) are refused with a sentence.

mod header;
mod identity;
mod opener;
mod recipient;
mod sealer;
mod stream;
mod x25519;

pub use header::OpenError;
pub use identity::{Identities, IdentityError};
pub use opener::Opener;
pub use recipient::{RecipientError, Recipients};
pub use sealer::Sealer;

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

/// What encrypted files are called beyond their name.
pub const SUFFIX: &str = ".age";

/// The key of one file.
type FileKey = [u8; 16];

/// A key of 32 bytes derived from `secret`. `None` never happens: the lengths are right.
fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Option<[u8; 32]> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = [0; 32];
    let prk = Salt::new(HKDF_SHA256, salt).extract(secret);
    prk.expand(&[info], Length).ok()?.fill(&mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::{Recipients, Sealer};
    use std::io::Write;

    pub(super) const IDENTITY: &str =
        "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
    pub(super) const RECIPIENT: &str =
        "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";

    pub(super) fn sealed(text: &[u8]) -> Vec<u8> {
        let recipients = Recipients::parse(&[RECIPIENT]).unwrap();
        let mut sealer = Sealer::new(Vec::new(), &recipients).unwrap();
        sealer.write_all(text).unwrap();
        sealer.finish().unwrap()
    }
}
