//! The X25519 recipient: a file key wrapped for one public key.

use super::{FileKey, derive};
use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::constants::X25519_BASEPOINT;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const INFO: &[u8] = b"age-encryption.org/v1/X25519";
/// Bytes of a wrapped file key: the key and a tag.
pub(super) const WRAPPED: usize = 32;

/// Why a file key is not unwrapped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwrap {
    /// It is for somebody else.
    NoMatch,
    /// The share has a small order: nobody honest sends it.
    LowOrder,
}

/// The public key of `secret`.
pub(super) fn public(secret: &[u8; 32]) -> [u8; 32] {
    X25519_BASEPOINT.mul_clamped(*secret).to_bytes()
}

/// Wraps `file_key` for `recipient` with the `ephemeral` secret: the share and the body. `None` for a recipient of small order.
pub(super) fn wrap(
    file_key: &FileKey,
    recipient: &[u8; 32],
    ephemeral: &[u8; 32],
) -> Option<([u8; 32], [u8; WRAPPED])> {
    let share = public(ephemeral);
    let secret = agree(ephemeral, recipient)?;
    let mut body = [0; WRAPPED];
    let (key, rest) = body.split_at_mut(file_key.len());
    key.copy_from_slice(file_key);
    let tag = wrap_key(&secret, &share, recipient)?
        .seal_in_place_separate_tag(zero(), Aad::empty(), key)
        .ok()?;
    rest.copy_from_slice(tag.as_ref());
    Some((share, body))
}

/// The file key in `body`, when it was wrapped for the public key of `secret`.
pub(super) fn unwrap(
    share: &[u8; 32],
    body: &[u8; WRAPPED],
    secret: &[u8; 32],
) -> Result<FileKey, Unwrap> {
    let shared = agree(secret, share).ok_or(Unwrap::LowOrder)?;
    let key = wrap_key(&shared, share, &public(secret)).ok_or(Unwrap::NoMatch)?;
    let mut body = *body;
    let opened = key.open_in_place(zero(), Aad::empty(), &mut body);
    opened
        .ok()
        .and_then(|key| FileKey::try_from(&*key).ok())
        .ok_or(Unwrap::NoMatch)
}

/// X25519, unless the result tells nothing of the secret.
fn agree(secret: &[u8; 32], public: &[u8; 32]) -> Option<[u8; 32]> {
    let shared = MontgomeryPoint(*public).mul_clamped(*secret).to_bytes();
    (shared != [0; 32]).then_some(shared)
}

fn wrap_key(shared: &[u8; 32], share: &[u8; 32], recipient: &[u8; 32]) -> Option<LessSafeKey> {
    let key = derive(shared, &[*share, *recipient].concat(), INFO)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
    Some(LessSafeKey::new(key))
}

/// Each wrapping key is used once.
fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_unwraps() {
        let (secret, other, ephemeral) = ([1; 32], [2; 32], [3; 32]);
        let (share, mut body) = wrap(&[7; 16], &public(&secret), &ephemeral).unwrap();
        assert_eq!(unwrap(&share, &body, &secret), Ok([7; 16]));
        assert_eq!(unwrap(&share, &body, &other), Err(Unwrap::NoMatch));
        assert_eq!(unwrap(&[0; 32], &body, &secret), Err(Unwrap::LowOrder));
        assert!(wrap(&[7; 16], &[0; 32], &ephemeral).is_none());
        body[31] ^= 1;
        assert_eq!(unwrap(&share, &body, &secret), Err(Unwrap::NoMatch));
    }

    /// RFC 7748, 6.1.
    #[test]
    fn agrees_as_others_do() {
        let hex = |text: &str| -> [u8; 32] {
            std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        };
        let alice = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        assert_eq!(
            public(&bob),
            hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
        assert_eq!(
            agree(&bob, &alice),
            Some(hex(
                "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
            ))
        );
    }
}
