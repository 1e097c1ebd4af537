//! Memory full of lies: no panic, no endless walk, no output without a bound.

use super::*;

#[test]
fn a_ring_of_lies_has_an_end() {
    let lying = |end: u64, text_len: u32| {
        let mut memory = super::ring::empty();
        memory.end = end;
        for (at, value) in [(0, 20), (8, (1 << 20) - 1), (24, 0x1_1000), (32, 0x8000)] {
            memory.word(0x200 + at, value);
        }
        memory.word(0x240, 15);
        for record in 0..100 {
            memory.word(0x1000 + 24 * record, (2 << 62) | record as u64);
            memory.word(0x1000 + 24 * record + 16, 0x7ff8);
            memory.half(0x8000 + 112 * record + 16, text_len);
        }
        memory
    };
    let (_, summary) = lying(u64::MAX, 0x3000).log(Style::default()).unwrap();
    assert_eq!(
        summary.records, 2,
        "no more text than the ring has room for"
    );
    let memory = lying(0x1_0000, 8);
    assert!(memory.log(Style::default()).is_err());
    assert!(
        memory.refused.load(Ordering::Relaxed) < 20_000,
        "{}",
        memory.refused.load(Ordering::Relaxed)
    );
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[test]
fn random_bytes_anywhere() {
    let kernels = [
        super::ring::empty,
        super::variable::empty,
        super::byte_ring::empty,
    ];
    let forms = [Form::Text, Form::Raw, Form::Json];
    let mut printed = 0;
    for seed in 0..600 {
        let mut state = seed;
        let mut memory = kernels[usize::try_from(seed % 3).unwrap()]();
        let (from, to) = match seed / 3 % 3 {
            // The log's arrays; its variables; both.
            0 => (0x1000, 0x10000),
            1 => (0x200, 0x320),
            _ => (0x208, 0x10000),
        };
        for byte in &mut memory.bytes[from..to] {
            *byte = random(&mut state).to_le_bytes()[0];
        }
        if seed % 2 == 0 {
            // Small numbers and flags are likelier to be believed.
            for word in memory.bytes[from..to].chunks_mut(8) {
                word[2..].fill(0);
            }
        }
        let style = Style {
            form: forms[usize::try_from(random(&mut state) % 3).unwrap()],
            callers: seed % 5 != 0,
            since_clear: seed % 7 == 0,
        };
        if let Ok((log, _)) = memory.log(style) {
            printed += usize::from(!log.is_empty());
            assert!(log.len() < 4 << 20, "seed {seed}: {} bytes", log.len());
            if style.form == Form::Json {
                for line in log.lines() {
                    serde_json::from_str::<serde_json::Value>(line).unwrap();
                }
            }
        }
    }
    assert!(printed > 20, "only {printed} logs");
}
