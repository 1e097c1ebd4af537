//! Records of variable length.

use super::*;

const BUFFER: usize = 0x4000;
const LEN: usize = 512;
const FIRST: usize = 0x210;
const NEXT: usize = 0x214;
const CLEAR: usize = 0x218;

pub(super) fn empty() -> Memory {
    let mut memory = Memory::new(
        "SYMBOL(log_buf)=200\nSYMBOL(log_buf_len)=208\nSYMBOL(log_first_idx)=210\nSYMBOL(log_next_idx)=214\n\
         SYMBOL(clear_idx)=218\nSIZE(printk_log)=20\nOFFSET(printk_log.ts_nsec)=0\nOFFSET(printk_log.len)=8\n\
         OFFSET(printk_log.text_len)=10\nOFFSET(printk_log.dict_len)=12\nOFFSET(printk_log.caller_id)=16\n",
    );
    memory.word(0x200, BUFFER as u64);
    memory.half(0x208, LEN as u32);
    memory
}

/// Writes a record and returns where the next one goes.
fn record(memory: &mut Memory, at: usize, text: &str, dict: &str) -> usize {
    let len = (20 + text.len() + dict.len()).next_multiple_of(8);
    let to = BUFFER + at;
    memory.word(to, 2_000_000_000);
    memory.half(to + 8, (len | text.len() << 16) as u32);
    memory.half(to + 12, (dict.len() | 3 << 16 | 0xc1 << 24) as u32);
    memory.half(to + 16, 1 << 31);
    memory.put(to + 20, text.as_bytes());
    memory.put(to + 20 + text.len(), dict.as_bytes());
    at + len
}

/// Records until the buffer is full, the last ones at its start. Returns the indexes.
fn wrapped(memory: &mut Memory) -> Vec<usize> {
    let (mut at, mut indexes) = (96, vec![]);
    while at + 20 + 40 <= LEN {
        indexes.push(at);
        at = record(memory, at, &format!("old {at}"), "");
    }
    memory.put(BUFFER + at, &[0; 20]);
    indexes.push(0);
    let next = record(memory, 0, "new 0", "");
    memory.half(FIRST, 96);
    memory.half(NEXT, next as u32);
    indexes
}

#[test]
fn records_in_a_row_with_all_they_have() {
    let mut memory = empty();
    let next = record(
        &mut memory,
        0,
        "one\ntwo",
        "SUBSYSTEM=acpi\0DEVICE=+acpi:PNP0A08:00",
    );
    let next = record(&mut memory, next, "", "");
    memory.half(NEXT, next as u32);
    let (log, summary) = memory.log(Style::default()).unwrap();
    let prefix = "[    2.000000] [      C0] ";
    let indent = " ".repeat(prefix.len());
    assert_eq!(log, format!("{prefix}one\n{indent}two\n{prefix}\n"));
    assert_eq!(summary.warnings(), [""; 0]);
    let (log, _) = memory.log(JSON).unwrap();
    assert_eq!(
        log.lines().next().unwrap(),
        "{\"time_ns\":2000000000,\"level\":6,\"facility\":3,\"caller\":\"C0\",\"subsystem\":\"acpi\",\"device\":\"+acpi:PNP0A08:00\",\
         \"text\":\"one\\ntwo\"}"
    );
    // Linux 3.5 to 3.10.
    memory.keys = memory.keys.replace("printk_log", "log");
    memory.keys = memory.keys.replace("OFFSET(log.dict_len)=12\n", "");
    assert_eq!(memory.texts().0.len(), 3);
}

#[test]
fn a_wrapped_log_and_a_cleared_one() {
    let mut memory = empty();
    let indexes = wrapped(&mut memory);
    let (texts, _) = memory.texts();
    assert_eq!(texts.len(), indexes.len());
    assert_eq!(
        (texts[0].as_str(), texts.last().unwrap().as_str()),
        ("old 96", "new 0")
    );
    let next = u32::from_le_bytes(memory.bytes[NEXT..NEXT + 4].try_into().unwrap());
    for (clear, expected) in [
        (0, texts.len()),
        (indexes[3] as u32, texts.len() - 3),
        (next, 0),
        // Overwritten since.
        (44, texts.len()),
        (u32::MAX, texts.len()),
    ] {
        memory.half(CLEAR, clear);
        let (log, summary) = memory.log(SINCE_CLEAR).unwrap();
        assert_eq!(log.lines().count(), expected, "{clear}");
        assert_eq!(summary.cleared, (texts.len() - expected) as u64);
    }
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let mut memory = empty();
    let indexes = wrapped(&mut memory);
    let (all, _) = memory.texts();
    for (field, value) in [(8, [0xff; 2]), (8, [0; 2]), (8, [4, 0]), (10, [0xff; 2])] {
        let mut memory = empty();
        wrapped(&mut memory);
        memory.put(BUFFER + indexes[4] + field, &value);
        let (texts, summary) = memory.texts();
        let mut expected = all.clone();
        expected.remove(4);
        assert_eq!(texts, expected);
        assert_eq!(summary.damaged, 1);
    }
}

#[test]
fn zeros_in_a_log_that_is_not_wrapped_print_nothing_twice() {
    let mut memory = empty();
    let mut indexes = vec![0];
    for text in ["a", "b", "c", "d"] {
        indexes.push(record(&mut memory, indexes[indexes.len() - 1], text, ""));
    }
    memory.half(NEXT, indexes[4] as u32);
    memory.put(BUFFER + indexes[1], &[0; 20]);
    let (texts, summary) = memory.texts();
    assert_eq!(texts, ["a", "c", "d"]);
    assert_eq!(summary.damaged, 1);
}

#[test]
fn indexes_that_make_no_sense_have_an_end() {
    for (first, next) in [
        (u32::MAX, u32::MAX - 1),
        (96, u32::MAX),
        (LEN as u32, 0),
        (97, 40),
        (96, 100),
        (0, 511),
    ] {
        let mut memory = empty();
        let count = wrapped(&mut memory).len();
        memory.half(FIRST, first);
        memory.half(NEXT, next);
        if let Ok((log, summary)) = memory.log(Style::default()) {
            assert!(log.lines().count() <= 2 * count, "{first} {next}: {log}");
            assert!(!summary.warnings().is_empty(), "{first} {next}: {log}");
        }
    }
    let mut memory = empty();
    wrapped(&mut memory);
    memory.put(BUFFER, &[0xff; LEN]);
    assert!(memory.log(Style::default()).is_err());
    memory.put(BUFFER, &[0; LEN]);
    assert!(memory.log(Style::default()).is_err());
}
