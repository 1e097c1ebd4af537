//! Section tables made by hand.

use super::*;
use crate::addr::PageSize;
use crate::arch::{self, Mapping, PageTables, TranslateError};
use crate::vmcore::{PhysMem, ReadError, ReadFault, Segment};
use std::collections::HashMap;

const BASE: u64 = 0xffff_8000_0000_0000;

/// Virtual memory is physical memory from `BASE` on, in pages of 4 KiB; only the words given are not zero.
struct Memory {
    words: HashMap<u64, u64>,
    absent: u64,
}

impl PhysMem for Memory {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        if addr.raw() & !0xfff == self.absent {
            return Err(ReadError {
                addr,
                len: buf.len(),
                why: ReadFault::Hole,
            });
        }
        for (word, at) in buf.chunks_mut(8).zip((addr.raw()..).step_by(8)) {
            let value = self.words.get(&at).copied().unwrap_or(0);
            word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
        }
        Ok(())
    }
}

struct Linear;

impl PageTables for Linear {
    fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        Ok(Mapping {
            phys: PhysAddr::new(addr.raw() & 0xffff_ffff),
            start: VirtAddr::new(addr.raw() & !0xfff),
            size: 4096,
        })
    }
    fn kernel_base(&self) -> VirtAddr {
        VirtAddr::new(BASE)
    }
}

fn read(memory: &Memory, keys: &str, segments: &[Segment]) -> Result<MemMap, String> {
    let info = VmcoreInfo::parse(
        format!(
            "SYMBOL(mem_section)={:x}\nSIZE(mem_section)=16\nOFFSET(mem_section.section_mem_map)=0\nSIZE(page)=64\n{keys}",
            BASE + 0x10000
        )
        .as_bytes(),
    );
    let basics = Basics {
        arch: arch::by_elf_machine(62).unwrap(),
        page_size: PageSize::K4,
        kernel_base: VirtAddr::new(BASE),
    };
    let extents = Extents::new(segments);
    let virt = VirtMem::new(memory, &Linear);
    MemMap::read(
        &virt,
        &basics,
        &info,
        &extents,
        extents.end().div_ceil(4096),
    )
}

fn segment(start: u64, file_size: u64, mem_size: u64) -> Segment {
    Segment {
        start: PhysAddr::new(start),
        virt: 0,
        offset: 4096,
        file_size,
        mem_size,
    }
}

/// Root 0 holds section 0; root 1 begins with section 256, which is at 32 GiB.
fn two_roots(second: u64) -> Memory {
    Memory {
        words: HashMap::from([
            (0x10000, BASE + 0x20000),
            (0x10008, second),
            (0x20000, BASE + 0x10_0000 + 3),
        ]),
        absent: 0x30000,
    }
}

#[test]
fn memory_whose_sections_are_in_doubt_is_not_cut_off() {
    let ram = [
        segment(0, 1 << 20, 1 << 20),
        segment(32 << 30, 1 << 20, 1 << 20),
    ];
    for (second, end) in [
        (0, 1 << 15),
        (BASE + 0x30000, (32 << 18) + 256),
        (0x1234, (32 << 18) + 256),
    ] {
        let map = read(&two_roots(second), "", &ram).unwrap();
        assert_eq!(map.end, Some(end), "{second:#x}");
        assert_eq!(map.sections(0).count(), 1);
        assert_eq!(map.nonsense == 0, second == 0);
    }
}

#[test]
fn sections_without_data_and_tiny_ones_cost_nothing() {
    let root = BASE + 0x20000;
    let mut words: HashMap<u64, u64> = (0..4096).map(|i| (0x10000 + i * 8, root)).collect();
    words.extend((0..256).map(|i| (0x20000 + i * 16, BASE + 3)));
    let memory = Memory { words, absent: 1 };
    let huge = [segment(0, 4096, 1 << 45)];
    let map = read(&memory, "", &huge).unwrap();
    assert_eq!(map.sections(0).count(), 1);
    assert_eq!(map.end, Some(1 << 33));
    let tiny = read(&memory, "NUMBER(SECTION_SIZE_BITS)=13\n", &huge);
    assert!(tiny.unwrap_err().contains("SECTION_SIZE_BITS 13"));
}

#[test]
fn a_number_of_address_bits_that_is_too_small_cuts_no_memory_off() {
    let ram = [
        segment(0, 1 << 20, 1 << 20),
        segment(32 << 30, 1 << 20, 1 << 20),
    ];
    let mut memory = two_roots(BASE + 0x40000);
    memory.words.insert(0x40000, BASE + 0x10_0000 + 3);
    for keys in ["", "NUMBER(MAX_PHYSMEM_BITS)=34\n"] {
        let map = read(&memory, keys, &ram).unwrap();
        assert_eq!(map.sections(0).count(), 2, "{keys}");
        assert_eq!(map.end, Some((32 << 18) + 256), "{keys}");
    }
    let many = "NUMBER(MAX_PHYSMEM_BITS)=52\nNUMBER(SECTION_SIZE_BITS)=24\n";
    assert!(
        read(&memory, many, &ram)
            .unwrap_err()
            .contains("contradicts")
    );
}

#[test]
fn sections_that_follow_each_other_take_the_room_of_one() {
    // As the kernel codes it: the address of the struct page that pfn 0 would have.
    let vmemmap = BASE + 0x1000_0000;
    let mut words = HashMap::from([(0x10000, BASE + 0x20000)]);
    words.extend((0..6).map(|i| (0x20000 + i * 16, vmemmap + 3)));
    words.insert(0x20000 + 4 * 16, BASE + 0x2000_0000 + 3);
    let memory = Memory { words, absent: 1 };
    let ram = [segment(0, 6 << 27, 6 << 27)];
    let map = read(&memory, "", &ram).unwrap();
    assert_eq!(map.runs.len(), 3);
    let at = |pfn: u64, base: u64| Section {
        start: pfn,
        end: pfn + (1 << 15),
        mem_map: VirtAddr::new(base + pfn * 64),
    };
    let all: Vec<_> = (0..6u64)
        .map(|i| at(i << 15, if i == 4 { BASE + 0x2000_0000 } else { vmemmap }))
        .collect();
    assert_eq!(map.sections(0).collect::<Vec<_>>(), all);
    assert_eq!(map.sections((2 << 15) + 1).collect::<Vec<_>>(), all[2..]);
    assert_eq!(map.sections(3 << 15).collect::<Vec<_>>(), all[3..]);
    assert_eq!(map.sections(6 << 15).count(), 0);
}
