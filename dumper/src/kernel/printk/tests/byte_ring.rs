//! The ring of bytes.

use super::*;

const BUFFER: usize = 0x4000;
const LEN: usize = 64;

pub(super) fn empty() -> Memory {
    let mut memory =
        Memory::new("SYMBOL(log_buf)=200\nSYMBOL(log_buf_len)=208\nSYMBOL(log_end)=210\n");
    memory.word(0x200, BUFFER as u64);
    memory.half(0x208, LEN as u32);
    memory
}

/// The ring after `log` was written to it from counter value `from` on.
fn written(from: u32, log: &[u8]) -> Memory {
    let mut memory = empty();
    let mut end = from;
    for byte in log {
        memory.bytes[BUFFER + end as usize % LEN] = *byte;
        end = end.wrapping_add(1);
    }
    memory.half(0x210, end);
    memory
}

#[test]
fn bytes_as_they_are_wrapped_or_not() {
    let short = b"<6>one\n<4>[    1.000000] two\xff\n";
    let (log, summary) = written(0, short).log(Style::default()).unwrap();
    assert_eq!(log, String::from_utf8_lossy(short));
    assert_eq!(summary.records, 2);
    let long: Vec<u8> = (0..200).map(|n| b'a' + n % 26).collect();
    let kept = String::from_utf8_lossy(&long[200 - LEN..]).into_owned();
    for from in [0, 1 << 31, u32::MAX - 100, u32::MAX - 199] {
        let (log, _) = written(from, &long).log(Style::default()).unwrap();
        assert_eq!(log, kept, "from {from}");
    }
}

#[test]
fn lines_as_json() {
    let memory = written(0, b"<6>one\n\n<4>[    1.000001] two\n<2>Kernel panic");
    let (log, summary) = memory.log(JSON).unwrap();
    assert_eq!(
        log,
        "{\"level\":6,\"facility\":0,\"text\":\"one\"}\n\
         {\"time_ns\":1000001000,\"level\":4,\"facility\":0,\"text\":\"two\"}\n\
         {\"level\":2,\"facility\":0,\"text\":\"Kernel panic\"}\n"
    );
    assert_eq!(summary.records, 3);
    let memory = written(0, b"<0>Kernel panic - not syncing: x\n");
    let (_, summary) = memory.log(Style::default()).unwrap();
    assert_eq!(
        summary.panic_line.as_deref(),
        Some("Kernel panic - not syncing: x")
    );
}

#[test]
fn an_empty_or_impossible_ring_is_no_log() {
    assert!(empty().log(Style::default()).is_err());
    for len in [0, u32::MAX] {
        let mut memory = written(0, b"<6>x\n");
        memory.half(0x208, len);
        assert!(memory.log(Style::default()).is_err());
    }
}
