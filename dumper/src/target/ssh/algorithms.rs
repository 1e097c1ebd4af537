//! What is offered to a server: no SHA-1, no CBC, no compression, and the cipher that this processor does faster first.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

const KEXES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];
const AES_FIRST: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
];
const CHACHA_FIRST: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
];
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM];

/// Every kind of host key, in the order of OpenSSH.
pub(super) const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// What is offered where keys of the kinds `pinned` are known, and certificates are when `certified`. The kinds that are
/// not known come last: only to say what the server has instead.
pub(super) fn offered(pinned: &[Algorithm], certified: bool) -> Preferred {
    let mut keys = HOST_KEYS.to_vec();
    let known = |key: &Algorithm| match key {
        Algorithm::Rsa { .. } => pinned
            .iter()
            .any(|kind| matches!(kind, Algorithm::Rsa { .. })),
        other => pinned.contains(other),
    };
    keys.sort_by_key(|key| !known(key));
    Preferred {
        kex: Cow::Borrowed(KEXES),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Borrowed(if certified { HOST_KEYS } else { &[] }),
        cipher: Cow::Borrowed(ciphers(crate::target::cipher::aes_is_faster())),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

fn ciphers(aes: bool) -> &'static [cipher::Name] {
    if aes { AES_FIRST } else { CHACHA_FIRST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_kinds_of_keys_are_asked_for_first() {
        let rsa = Algorithm::Rsa { hash: None };
        let offered = offered(&[rsa], false);
        let is_rsa = |key: &Algorithm| matches!(key, Algorithm::Rsa { .. });
        assert!(offered.key[..2].iter().all(is_rsa));
        assert_eq!(offered.key[2], Algorithm::Ed25519);
        assert_eq!(offered.key.len(), HOST_KEYS.len());
        assert!(offered.host_key_certificates.is_empty());
        assert!(!offered.key.contains(&Algorithm::Rsa { hash: None }));
    }

    #[test]
    fn the_faster_cipher_is_first_and_nothing_is_weak() {
        assert_eq!(ciphers(true)[0], cipher::AES_128_GCM);
        assert_eq!(ciphers(false)[0], cipher::CHACHA20_POLY1305);
        let all = ciphers(true).iter().chain(ciphers(false));
        assert!(all.map(AsRef::as_ref).all(|name| !name.contains("cbc")));
    }
}
