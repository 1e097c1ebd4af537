//! A log whose records claim more text than any kernel holds: a vmcore of 4 MiB whose page tables show one page of line feeds as a
//! ring of 2 GiB, and one page of records as 65,536 of them. Believed, that is 116 GB of text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use baredump::dump::DeadKernel;
use baredump::kernel::printk::{Form, Style};
use std::io;
use std::path::PathBuf;
use tests::fake_kernel::elf;

const MEMORY: usize = 4 << 20;
/// Where the kernel's image and its direct map begin.
const IMAGE: u64 = 0xffff_ffff_8000_0000;
const DIRECT: u64 = 0xffff_8880_0000_0000;
/// No kernel's log is longer, in any form.
const BOUND: u64 = 256 << 20;

/// Physical memory, by what lies where.
struct Memory(Vec<u8>);

impl Memory {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn word(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// Entries of a page table that all lead to the same page.
    fn repeat(&mut self, table: usize, count: usize, entry: u64) {
        (0..count).for_each(|i| self.word(table + i * 8, entry));
    }
}

const TABLE: u64 = 3;
const LARGE: u64 = 0x83;
const LINE_FEEDS: usize = 0x8000;
const INFOS: usize = 0x9000;
const PRB: usize = 0xc000;
const RING: usize = 0xd000;
const DESCS: usize = 0x20_0000;

fn memory() -> Memory {
    let mut m = Memory(vec![0; MEMORY]);
    // The image, one to one.
    m.word(0x1000 + 511 * 8, 0x2000 | TABLE);
    m.word(0x2000 + 510 * 8, 0x3000 | TABLE);
    m.word(0x3000, LARGE);
    m.word(0x3008, 2 << 20 | LARGE);
    // 4 GiB of line feeds, then 1 GiB of the same 64 records' infos.
    m.word(0x1000 + 273 * 8, 0x5000 | TABLE);
    m.repeat(0x5000, 4, 0x6000 | TABLE);
    m.repeat(0x6000, 512, 0x7000 | TABLE);
    m.repeat(0x7000, 512, LINE_FEEDS as u64 | TABLE);
    m.word(0x5000 + 4 * 8, 0xa000 | TABLE);
    m.repeat(0xa000, 512, 0xb000 | TABLE);
    m.repeat(0xb000, 512, INFOS as u64 | TABLE);
    m.put(LINE_FEEDS, &[b'\n'; 4096]);
    for info in 0..64 {
        m.put(INFOS + info * 64 + 16, &u16::MAX.to_le_bytes());
    }
    m.word(PRB, IMAGE + RING as u64);
    m.put(RING, &16_u32.to_le_bytes());
    m.word(RING + 8, IMAGE + DESCS as u64);
    m.word(RING + 16, DIRECT + (4 << 30));
    m.word(RING + 24, 65535);
    m.put(RING + 64, &31_u32.to_le_bytes());
    m.word(RING + 72, DIRECT);
    for id in 0..65536 {
        m.word(DESCS + id * 24, id as u64 | 1 << 62);
        m.word(DESCS + id * 24 + 16, 65544);
    }
    m
}

fn vmcoreinfo() -> String {
    let (tables, prb) = (IMAGE + 0x1000, IMAGE + PRB as u64);
    let offsets = [
        ("printk_ringbuffer.desc_ring", 0),
        ("printk_ringbuffer.text_data_ring", 64),
        ("prb_desc_ring.count_bits", 0),
        ("prb_desc_ring.descs", 8),
        ("prb_desc_ring.infos", 16),
        ("prb_desc_ring.head_id", 24),
        ("prb_desc_ring.tail_id", 32),
        ("prb_desc.state_var", 0),
        ("prb_desc.text_blk_lpos", 8),
        ("prb_data_blk_lpos.begin", 0),
        ("prb_data_blk_lpos.next", 8),
        ("printk_info.seq", 0),
        ("printk_info.ts_nsec", 8),
        ("printk_info.text_len", 16),
        ("printk_info.caller_id", 20),
        ("prb_data_ring.size_bits", 0),
        ("prb_data_ring.data", 8),
        ("atomic_long_t.counter", 0),
    ];
    let offsets = offsets.map(|(name, at)| format!("OFFSET({name})={at}\n"));
    format!(
        "OSRELEASE=6.1.0\nPAGESIZE=4096\nNUMBER(phys_base)=0\nSYMBOL(init_top_pgt)={tables:x}\nSYMBOL(prb)={prb:x}\n\
         SIZE(prb_desc)=24\nSIZE(printk_info)=64\n{}",
        offsets.concat()
    )
}

/// The vmcore as a file.
fn vmcore(dir: &tempfile::TempDir) -> PathBuf {
    let note = elf::note(b"VMCOREINFO\0", 0, vmcoreinfo().as_bytes());
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [4_u16, 62, 1, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [0_u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    for half in [0_u16, 0, 64, 56, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let (notes, memory) = (note.len() as u64, MEMORY as u64);
    for header in [
        [4, 64 + 112, 0, 0, notes, notes, 0],
        [1, 4096, DIRECT, 0, memory, memory, 0],
    ] {
        file.extend(header.iter().flat_map(|word| u64::to_le_bytes(*word)));
    }
    file.extend(note);
    file.resize(4096, 0);
    file.extend(self::memory().0);
    let path = dir.path().join("vmcore");
    std::fs::write(&path, file).unwrap();
    path
}

/// A disk that is full after what no log can have.
struct Disk(u64);

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.0.checked_sub(bytes.len() as u64);
        self.0 = room.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn its_text_has_an_end_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = DeadKernel::open(&vmcore(&dir), true).unwrap();
    for form in [Form::Text, Form::Raw, Form::Json] {
        let style = Style {
            form,
            ..Style::default()
        };
        let mut disk = Disk(BOUND);
        let summary = kernel.dmesg_as(style, &mut disk).unwrap();
        assert!(summary.records > 0, "{form:?}");
        assert!(
            summary.warnings().iter().any(|w| w.contains("left out")),
            "{form:?}: {:?}",
            summary.warnings()
        );
    }
}
