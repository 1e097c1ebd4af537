//! The kernel's own tables of names and types: BTF and kallsyms, in memory that is nothing but the input.

use baredump::addr::{PhysAddr, VirtAddr};
use baredump::arch::{Mapping, PageTables, TranslateError};
use baredump::kernel::btf::Btf;
use baredump::kernel::kallsyms;
use baredump::kernel::virt::VirtMem;
use baredump::vmcore::{PhysMem, ReadError, ReadFault, VmcoreInfo};

/// Where the input is.
const BASE: u64 = 0xffff_ffff_8100_0000;
const WANTED: &[&str] = &[
    "page",
    "flags",
    "_mapcount",
    "private",
    "pageflags",
    "PG_lru",
    "mem_section",
];

struct Flat<'a>(&'a [u8]);

impl PhysMem for Flat<'_> {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let (from, len) = (addr.raw() as usize, buf.len());
        let bytes = from.checked_add(len).and_then(|end| self.0.get(from..end));
        buf.copy_from_slice(bytes.ok_or(ReadError {
            addr,
            len,
            why: ReadFault::Hole,
        })?);
        Ok(())
    }
}

impl PageTables for Flat<'_> {
    fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let at = addr.raw().wrapping_sub(BASE);
        if at >= self.0.len() as u64 {
            return Err(TranslateError::NotMapped {
                addr,
                level: "flat",
                entry: 0,
            });
        }
        Ok(Mapping {
            phys: PhysAddr::new(at),
            start: VirtAddr::new(BASE),
            size: (self.0.len() as u64).next_power_of_two(),
        })
    }

    fn kernel_base(&self) -> VirtAddr {
        VirtAddr::new(BASE)
    }
}

/// BTF: every kind of question about what may be in it.
pub(super) fn btf(data: &[u8]) {
    let flat = Flat(data);
    let mem = VirtMem::new(&flat, &flat);
    let Ok(mut btf) = Btf::read(&mem, BASE, WANTED) else {
        return;
    };
    let _ = (btf.size("page"), btf.size("mem_section"));
    for member in ["flags", "_mapcount", "private"] {
        let _ = (btf.offset("page", member), btf.length("page", member));
    }
    let _ = btf.enumerator("pageflags", "PG_lru");
}

/// A struct with an anonymous union, an enum, an array.
pub(super) fn btf_seeds() -> Vec<Vec<u8>> {
    let mut strings = vec![0u8];
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.as_bytes());
        strings.push(0);
        at
    };
    let mut types: Vec<u32> = Vec::new();
    let kind = |kind: u32, vlen: u32| kind << 24 | vlen;
    types.extend([name("long"), kind(1, 0), 8, 64]);
    types.extend([0, kind(3, 0), 0, 1, 1, 4]);
    types.extend([
        0,
        kind(5, 2),
        8,
        name("private"),
        1,
        0,
        name("_mapcount"),
        1,
        0,
    ]);
    types.extend([
        name("page"),
        kind(4, 3),
        64,
        name("flags"),
        1,
        0,
        0,
        3,
        64,
        name("mapping"),
        2,
        128,
    ]);
    types.extend([
        name("pageflags"),
        kind(6, 2),
        4,
        name("PG_locked"),
        0,
        name("PG_lru"),
        5,
    ]);
    types.extend([
        name("mem_section"),
        kind(4, 1),
        16,
        name("section_mem_map"),
        1,
        0,
    ]);
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut blob = vec![0x9f, 0xeb, 1, 0];
    for word in [
        24,
        0,
        types.len() as u32,
        types.len() as u32,
        strings.len() as u32,
    ] {
        blob.extend(word.to_le_bytes());
    }
    blob.extend(&types);
    blob.extend(&strings);
    vec![blob]
}

/// kallsyms: the input begins with where each table is.
pub(super) fn kallsyms(data: &[u8]) {
    let Some((places, memory)) = data.split_at_checked(10) else {
        return;
    };
    let place = |n: usize| BASE + u64::from(u16::from_le_bytes([places[2 * n], places[2 * n + 1]]));
    let text = format!(
        "SYMBOL(kallsyms_names)={:x}\nSYMBOL(kallsyms_num_syms)={:x}\nSYMBOL(kallsyms_token_table)={:x}\nSYMBOL(kallsyms_token_index)={:x}\n\
         SYMBOL(kallsyms_offsets)={:x}\nSYMBOL(_stext)={BASE:x}\n",
        place(0),
        place(1),
        place(2),
        place(3),
        place(4)
    );
    let info = VmcoreInfo::parse(text.as_bytes());
    let flat = Flat(memory);
    let _ = kallsyms::find(
        &VirtMem::new(&flat, &flat),
        &info,
        &["__start_BTF", "mem_section", "prb"],
    );
}

/// Two symbols, every token a letter.
pub(super) fn kallsyms_seeds() -> Vec<Vec<u8>> {
    let symbols = ["T_stext", "D__start_BTF"];
    let mut memory: Vec<u8> = Vec::new();
    let mut places: Vec<u8> = Vec::new();
    let mut place = |memory: &Vec<u8>| places.extend((memory.len() as u16).to_le_bytes());
    place(&memory);
    for symbol in symbols {
        memory.push(symbol.len() as u8);
        memory.extend(symbol.as_bytes());
    }
    memory.resize(memory.len().next_multiple_of(4), 0);
    place(&memory);
    memory.extend((symbols.len() as u32).to_le_bytes());
    place(&memory);
    let mut index = Vec::new();
    let table = memory.len();
    for token in 0..=255u8 {
        index.extend(((memory.len() - table) as u16).to_le_bytes());
        memory.extend([
            if token.is_ascii_graphic() {
                token
            } else {
                b'?'
            },
            0,
        ]);
    }
    place(&memory);
    memory.extend(&index);
    place(&memory);
    let here = memory.len() as u32;
    for (number, target) in [0u32, 0x40].into_iter().enumerate() {
        let offset = target.wrapping_sub(here + 4 * number as u32);
        memory.extend(offset.to_le_bytes());
    }
    vec![[places, memory].concat()]
}
