//! A ring made by hand.

use super::*;
use crate::addr::PhysAddr;
use crate::arch::{Mapping, PageTables, TranslateError};
use crate::vmcore::{PhysMem, ReadError, ReadFault};
use std::cell::Cell;

/// 64 KiB that repeat up to physical `end`.
struct Repeated {
    bytes: Vec<u8>,
    end: u64,
    refused: Cell<u64>,
}

impl PhysMem for Repeated {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        if addr.raw() >= self.end {
            self.refused.set(self.refused.get() + 1);
            let (len, why) = (buf.len(), ReadFault::Hole);
            return Err(ReadError { addr, len, why });
        }
        for (byte, at) in buf.iter_mut().zip(addr.raw()..) {
            *byte = self.bytes[usize::try_from(at & 0xffff).unwrap()];
        }
        Ok(())
    }
}

impl PageTables for Repeated {
    fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let start = VirtAddr::new(addr.raw() & !0xffff);
        let phys = PhysAddr::new(addr.raw());
        let size = 0x10000;
        Ok(Mapping { phys, start, size })
    }
    fn kernel_base(&self) -> VirtAddr {
        VirtAddr::new(0)
    }
}

/// A ring of 2^20 records, 100 of them real, with its descriptors from 0x11000 on.
fn ring(text_len: u16, end: u64) -> (Repeated, VmcoreInfo) {
    let mut keys = String::from("SYMBOL(prb)=100\nSIZE(prb_desc)=24\nSIZE(printk_info)=24\n");
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
        ("printk_info.ts_nsec", 0),
        ("printk_info.text_len", 16),
    ] {
        keys += &format!("OFFSET({name})={value}\n");
    }
    let mut bytes = vec![0; 0x10000];
    let mut put = |at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    put(0x100, 0x200);
    for (at, value) in [(0, 20), (8, 1 << 40), (24, 0x1_1000), (32, 0x4000)] {
        put(0x200 + at, value);
    }
    put(0x240, 15);
    put(0x248, 0x8000);
    for record in 0..100 {
        put(0x1000 + 24 * record, (2 << 62) | record as u64);
        put(0x1000 + 24 * record + 16, 0x7ff8);
        put(0x4000 + 24 * record + 16, text_len.into());
    }
    let memory = Repeated {
        bytes,
        end,
        refused: Cell::new(0),
    };
    (memory, VmcoreInfo::parse(keys.as_bytes()))
}

#[test]
fn a_ring_of_lies_has_an_end() {
    let (memory, info) = ring(0x3000, u64::MAX);
    let mut out = Vec::new();
    let summary = write(&VirtMem::new(&memory, &memory), &info, &mut out).unwrap();
    assert_eq!(
        summary.records, 2,
        "no more text than the ring has room for"
    );
    let (memory, info) = ring(8, 0x1_0000);
    let nothing = write(&VirtMem::new(&memory, &memory), &info, &mut out);
    assert!(matches!(nothing, Err(LogError::NotFound(_))));
    assert!(memory.refused.get() < 10_000, "{}", memory.refused.get());
}

#[test]
fn lines_as_the_kernel_shows_them() {
    let mut line = Vec::new();
    format_record(1_234_567_890, b"one\ntwo\x01 \xff\xc3\xa9", &mut line);
    assert_eq!(
        line,
        "[    1.234567] one\n               two\\x01 \\xff\u{e9}\n".as_bytes()
    );
}

#[test]
fn blocks_normal_wrapped_and_at_the_end() {
    let layout = Layout {
        desc_size: 24,
        state: 0,
        begin: 8,
        next: 16,
        info_size: 88,
        ts_nsec: 8,
        text_len: 16,
    };
    let zero = VirtAddr::new(0);
    let ring = Ring {
        count: 4,
        size: 1024,
        head: 0,
        tail: 0,
        descs: zero,
        infos: zero,
        data: zero,
        layout,
    };
    assert_eq!(ring.block(64, 128), Some((72, 56)));
    assert_eq!(ring.block(1024 + 1000, 2048 + 64), Some((8, 56)));
    assert_eq!(ring.block(1000, 1024), Some((1008, 16)));
    assert_eq!(ring.block(64, 64), None);
    assert_eq!(ring.block(3, 64), None);
}

#[test]
fn the_panic_line_is_the_panic_not_the_bug_before() {
    let mut summary = Summary::default();
    note_panic(
        b"BUG: kernel NULL pointer dereference, address: 0",
        &mut summary,
    );
    note_panic(
        b"Kernel panic - not syncing: Fatal exception\nmore",
        &mut summary,
    );
    note_panic(b"BUG: later", &mut summary);
    assert_eq!(
        summary.panic_line.as_deref(),
        Some("Kernel panic - not syncing: Fatal exception")
    );
}
