//! The printk_ringbuffer.

use super::super::ring::{Layout, Ring};
use super::*;

const DESCS: usize = 0x1000;
const INFOS: usize = 0x2000;
const TEXT: usize = 0x4000;
const CLEAR: usize = 0x300;
const RING: usize = 0x200;
const COUNT: u64 = 8;
const SIZE: u64 = 256;
const ID: u64 = u64::MAX >> 2;

/// 8 records, 256 bytes of text; `struct printk_info` with an execution context.
pub(super) fn empty() -> Memory {
    let mut keys = String::from(
        "SYMBOL(prb)=100\nSYMBOL(clear_seq)=300\nSIZE(prb_desc)=24\nSIZE(printk_info)=112\nOFFSET(latched_seq.val)=8\n\
         LENGTH(printk_info_subsystem)=16\nLENGTH(printk_info_device)=48\n",
    );
    for (name, value) in [
        ("printk_ringbuffer.desc_ring", 0),
        ("printk_ringbuffer.text_data_ring", 64),
        ("prb_desc_ring.count_bits", 0),
        ("prb_desc_ring.head_id", 8),
        ("prb_desc_ring.tail_id", 16),
        ("prb_desc_ring.descs", 24),
        ("prb_desc_ring.infos", 32),
        ("prb_data_ring.size_bits", 0),
        ("prb_data_ring.data", 8),
        ("prb_desc.state_var", 0),
        ("prb_desc.text_blk_lpos", 8),
        ("prb_data_blk_lpos.begin", 0),
        ("prb_data_blk_lpos.next", 8),
        ("printk_info.seq", 0),
        ("printk_info.ts_nsec", 8),
        ("printk_info.text_len", 16),
        ("printk_info.caller_id", 20),
        ("printk_info.dev_info", 44),
        ("dev_printk_info.subsystem", 0),
        ("dev_printk_info.device", 16),
    ] {
        keys += &format!("OFFSET({name})={value}\n");
    }
    let mut memory = Memory::new(&keys);
    memory.word(0x100, RING as u64);
    memory.word(RING, 3);
    memory.word(RING + 24, DESCS as u64);
    memory.word(RING + 32, INFOS as u64);
    memory.word(RING + 64, 8);
    memory.word(RING + 72, TEXT as u64);
    memory
}

fn ends(memory: &mut Memory, tail: u64, head: u64) {
    memory.word(RING + 8, head & ID);
    memory.word(RING + 16, tail & ID);
}

/// A record in `state` whose block is `begin..next`.
fn record(memory: &mut Memory, id: u64, state: u64, begin: u64, next: u64, text: &str) {
    let index = usize::try_from(id % COUNT).unwrap();
    let desc = DESCS + 24 * index;
    memory.word(desc, state << 62 | id & ID);
    memory.word(desc + 8, begin);
    memory.word(desc + 16, next);
    let info = INFOS + 112 * index;
    memory.word(info, 100 + id);
    memory.word(info + 8, 5_000_000_000);
    memory.half(info + 16, u32::try_from(text.len()).unwrap() | 0xc1 << 24);
    memory.half(info + 20, 42);
    memory.half(info + 24, 1 << 31 | 3);
    memory.put(info + 28, b"kworker\0");
    memory.put(info + 44, b"pci\0");
    memory.put(info + 60, b"+pci:0000:00:01.0\0");
    if begin & 1 != 0 {
        return;
    }
    let (from, to) = (begin % SIZE, next % SIZE);
    let at = if from > to && to != 0 { 0 } else { from };
    let at = TEXT + usize::try_from(at).unwrap();
    memory.word(at, id & ID);
    memory.put(at + 8, text.as_bytes());
}

#[test]
fn records_wrapped_at_the_end_and_without_text() {
    let mut memory = empty();
    record(&mut memory, 0, 2, 0, 24, "normal");
    record(&mut memory, 1, 2, 256 + 232, 512 + 24, "wrapped");
    record(
        &mut memory,
        2,
        2,
        512 + 224,
        512 + 256,
        "ends with the ring",
    );
    record(&mut memory, 3, 2, 3, 3, "");
    record(&mut memory, 4, 2, 1, 1, "lost");
    record(&mut memory, 5, 1, 40, 64, "committed");
    record(&mut memory, 6, 0, 64, 88, "reserved");
    // The head is not yet the id of its descriptor.
    record(&mut memory, 7, 3, 88, 112, "reusable");
    // The wrapped block has taken the place of the first one.
    ends(&mut memory, 1, 7);
    let (texts, summary) = memory.texts();
    assert_eq!(texts, ["wrapped", "ends with the ring", "", "committed"]);
    assert_eq!(
        (summary.records, summary.textless, summary.unfinished),
        (4, 1, 1)
    );
    assert_eq!(summary.damaged, 0);
    assert_eq!(summary.warnings().len(), 2);
    record(&mut memory, 7, 3, 88, 112, "not yet reserved");
    ends(&mut memory, 8, 15);
    record(&mut memory, 15, 2, 88, 112, "newer");
    let (texts, summary) = memory.texts();
    assert_eq!(texts, ["newer"], "older ids are no records of this round");
    assert_eq!((summary.damaged, summary.unfinished), (7, 0));
}

#[test]
fn the_first_use_of_a_descriptor_is_no_damage() {
    let mut memory = empty();
    let first = ID - 7;
    record(&mut memory, first, 2, 0, 16, "first");
    // The head is moved on, the descriptor not yet written.
    ends(&mut memory, first, first + 1);
    let (texts, summary) = memory.texts();
    assert_eq!(texts, ["first"]);
    assert_eq!((summary.unfinished, summary.damaged), (1, 0));
}

#[test]
fn everything_is_in_json() {
    let mut memory = empty();
    record(&mut memory, 0, 2, 0, 24, "text");
    ends(&mut memory, 0, 0);
    let (log, _) = memory.log(JSON).unwrap();
    assert_eq!(
        log,
        "{\"seq\":100,\"time_ns\":5000000000,\"level\":6,\"facility\":0,\"caller\":\"T42\",\"pid\":42,\"cpu\":3,\"task\":\"kworker\",\
         \"subsystem\":\"pci\",\"device\":\"+pci:0000:00:01.0\",\"text\":\"text\"}\n"
    );
    memory.keys = memory.keys.replace("dev_info)=44", "dev_info)=24");
    let (log, _) = memory.log(JSON).unwrap();
    assert!(!log.contains("task") && !log.contains("cpu"), "{log}");
}

#[test]
fn counters_run_over() {
    let mut memory = empty();
    let first = ID - 2;
    let lpos = 0_u64.wrapping_sub(64);
    for (n, text) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        let begin = lpos.wrapping_add(16 * n as u64);
        let id = first.wrapping_add(n as u64) & ID;
        record(&mut memory, id, 2, begin, begin.wrapping_add(16), text);
    }
    ends(&mut memory, first, first.wrapping_add(4));
    assert_eq!(memory.texts().0, ["a", "b", "c", "d", "e"]);
    // The same without any use of the ring's own ends.
    for (tail, head) in [(9, 9), (0, ID), (ID, ID - 1), (77, 3)] {
        ends(&mut memory, tail, head);
        let (texts, summary) = memory.texts();
        assert_eq!(texts, ["a", "b", "c", "d", "e"], "{tail:x} {head:x}");
        assert_eq!(summary.notes.len(), 1);
    }
}

#[test]
fn what_was_cleared_is_left_out() {
    let mut memory = empty();
    for id in 0..4 {
        record(&mut memory, id, 2, 16 * id, 16 * id + 16, &id.to_string());
    }
    ends(&mut memory, 0, 3);
    for (counter, values, expected) in [
        (0, [102, 0], 2),
        (1, [0, 103], 3),
        (0, [0, 104], 0),
        (1, [0, 104], 4),
    ] {
        memory.word(CLEAR, counter);
        memory.word(CLEAR + 8, values[0]);
        memory.word(CLEAR + 16, values[1]);
        let (log, summary) = memory.log(SINCE_CLEAR).unwrap();
        assert_eq!(log.lines().count() as u64, 4 - expected, "{values:?}");
        assert_eq!(summary.cleared, expected);
    }
}

#[test]
fn sizes_that_make_no_sense_are_named() {
    for (at, what) in [(RING, "count_bits"), (RING + 64, "size_bits")] {
        for bits in [40, u32::MAX] {
            let mut memory = empty();
            memory.half(at, bits);
            let error = memory.log(Style::default()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
    let mut memory = empty();
    memory.keys = memory.keys.replace("text_len)=16", "text_len)=111");
    assert!(memory.log(Style::default()).is_err());
}

#[test]
fn blocks_normal_wrapped_and_at_the_end() {
    let zero = VirtAddr::new(0);
    let ring = Ring {
        count: 4,
        size: 1024,
        head: 0,
        tail: 0,
        descs: zero,
        infos: zero,
        data: zero,
        layout: Layout::default(),
    };
    assert_eq!(ring.block(64, 128), Some((72, 56)));
    assert_eq!(ring.block(1024 + 1000, 2048 + 64), Some((8, 56)));
    assert_eq!(ring.block(1000, 1024), Some((1008, 16)));
    assert_eq!(ring.block(64, 64), None);
    assert_eq!(ring.block(3, 64), None);
}
