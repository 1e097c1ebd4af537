//! Which of the two ciphers of SSH and TLS this processor does faster.

use ring::aead::{AES_128_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::time::{Duration, Instant};

/// Tried out, a few milliseconds: what a processor has instructions for does not say how fast they are, least of all in a virtual machine.
pub(super) fn aes_is_faster() -> bool {
    takes(&AES_128_GCM) <= takes(&CHACHA20_POLY1305)
}

/// The shortest time for one large packet.
fn takes(algorithm: &'static Algorithm) -> Duration {
    const KEY: [u8; 32] = [0; 32];
    let key = KEY.get(..algorithm.key_len()).unwrap_or(&KEY);
    let Ok(key) = UnboundKey::new(algorithm, key) else {
        return Duration::MAX;
    };
    let (key, mut packet) = (LessSafeKey::new(key), vec![0; 32 << 10]);
    let one = |_| {
        let start = Instant::now();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut packet);
        sealed.map_or(Duration::MAX, |_| start.elapsed())
    };
    (0..3).map(one).min().unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ciphers_can_be_timed() {
        for algorithm in [&AES_128_GCM, &CHACHA20_POLY1305] {
            assert!(takes(algorithm) < Duration::from_secs(5));
        }
    }
}
