//! x86-64 with 4 and 5 levels of page tables.
//!
//! Upstream: `arch/x86/kernel/vmcore_info_64.c` (`crash_core_64.c`, `machine_kexec_64.c` before) exports `phys_base`, `init_top_pgt`,
//! `pgtable_l5_enabled`, `sme_mask`; `arch/x86/include/asm/pgtable_64_types.h` has the geometry. Holds for: Linux 4.13 and later.

use super::{Arch, Evidence, Mapping, PageTables, TranslateError};
use crate::addr::{PageSize, PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;
use crate::vmcore::{PhysMem, Segment};

/// EM_X86_64.
const ELF_MACHINE: u16 = 62;
/// Where the kernel image is linked: `__START_KERNEL_map`.
const KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;
/// The direct map's lowest base without KASLR, 4 and 5 levels, in any version.
const PAGE_OFFSET_4: u64 = 0xffff_8800_0000_0000;
const PAGE_OFFSET_5: u64 = 0xff10_0000_0000_0000;

const PRESENT: u64 = 1;
const PSE: u64 = 1 << 7;
const ENTRY_ADDR: u64 = 0x000f_ffff_ffff_f000;
const LEVELS: [(&str, u32); 5] = [
    ("pgd", 48),
    ("p4d", 39),
    ("pud", 30),
    ("pmd", 21),
    ("pte", 12),
];

pub(super) struct X86_64;

impl Arch for X86_64 {
    fn name(&self) -> &'static str {
        "x86_64"
    }

    fn elf_machine(&self) -> u16 {
        ELF_MACHINE
    }

    fn own_key(&self) -> &'static str {
        "NUMBER(phys_base)"
    }
    fn stack_in_status(&self) -> u64 {
        // pr_reg, in it user_regs_struct.sp.
        112 + 19 * 8
    }

    fn section_size_bits(&self, _info: &VmcoreInfo, _page_size: PageSize) -> &'static [u32] {
        &[27]
    }

    fn max_physmem_bits(&self, info: &VmcoreInfo) -> u32 {
        if five_levels(info) { 52 } else { 46 }
    }

    fn phys_base(&self, info: &VmcoreInfo, segments: &[Segment]) -> u64 {
        if let Some(base) = info.number("phys_base") {
            return base.cast_unsigned();
        }
        let text = segments.iter().find(|s| s.virt >= KERNEL_MAP);
        text.map_or(0, |s| s.start.raw().wrapping_sub(s.virt - KERNEL_MAP))
    }

    fn page_tables(
        &self,
        dead: &Evidence<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Box<dyn PageTables>, String> {
        let info = dead.info;
        let root = info
            .symbol("init_level4_pgt")
            .or_else(|| info.symbol("init_top_pgt"))
            .or_else(|| info.symbol("swapper_pg_dir"))
            .ok_or("VMCOREINFO lacks SYMBOL(init_top_pgt), so the kernel's page tables cannot be found")?;
        if root < KERNEL_MAP {
            return Err(format!(
                "SYMBOL(init_top_pgt)={root:x} is not in the kernel image"
            ));
        }
        let tables = |root: u64, five: bool| Tables {
            root: PhysAddr::new(root & ENTRY_ADDR),
            five,
            encryption: info.number("sme_mask").unwrap_or(0).cast_unsigned(),
            kernel_base: kernel_base(five, dead.segments),
        };
        let by_key = (root - KERNEL_MAP).wrapping_add(self.phys_base(info, dead.segments));
        let said = tables(by_key, five_levels(info));
        if dead.is_proved(&said) {
            return Ok(Box::new(said));
        }
        for root in [Some(by_key), dead.in_segment(root)].into_iter().flatten() {
            for guess in [false, true].map(|five| tables(root, five)) {
                if dead.is_proved(&guess) {
                    warnings.push(format!(
                        "VMCOREINFO's phys_base or pgtable_l5_enabled is missing or wrong; tables of {} levels at physical {} were found by trying",
                        if guess.five { 5 } else { 4 },
                        guess.root
                    ));
                    return Ok(Box::new(guess));
                }
            }
        }
        Ok(Box::new(said))
    }
}

fn five_levels(info: &VmcoreInfo) -> bool {
    info.number("pgtable_l5_enabled").is_some_and(|v| v != 0)
}

/// The direct map's base from the segments of RAM that have a direct-map address: with KASLR only the ELF headers know it. QEMU
/// can write a segment for every mapping there is; all others lie above the direct map.
fn kernel_base(five: bool, segments: &[Segment]) -> VirtAddr {
    let from_headers = segments
        .iter()
        .filter(|s| s.virt < KERNEL_MAP && s.virt >= 1 << 63)
        .filter_map(|s| s.virt.checked_sub(s.start.raw()))
        .filter(|base| *base >= 1 << 63)
        .min();
    VirtAddr::new(from_headers.unwrap_or(if five { PAGE_OFFSET_5 } else { PAGE_OFFSET_4 }))
}

struct Tables {
    root: PhysAddr,
    five: bool,
    encryption: u64,
    kernel_base: VirtAddr,
}

impl PageTables for Tables {
    fn translate(&self, mem: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let mut table = self.root;
        for (level, shift) in LEVELS.into_iter().skip(usize::from(!self.five)) {
            let index = addr.raw() >> shift & 511;
            let slot = PhysAddr::new(table.raw() + index * 8);
            let entry = mem
                .read_u64(slot)
                .map_err(|source| TranslateError::Table { addr, source })?;
            if entry & PRESENT == 0 {
                return Err(TranslateError::NotMapped { addr, level, entry });
            }
            let next = entry & ENTRY_ADDR & !self.encryption;
            let leaf = shift == 12 || (entry & PSE != 0 && (shift == 21 || shift == 30));
            if leaf {
                let size = 1u64 << shift;
                let (base, within) = (next & !(size - 1), addr.raw() & (size - 1));
                let start = VirtAddr::new(addr.raw() - within);
                return Ok(Mapping {
                    phys: PhysAddr::new(base | within),
                    start,
                    size,
                });
            }
            table = PhysAddr::new(next);
        }
        Err(TranslateError::NotMapped {
            addr,
            level: "pte",
            entry: 0,
        })
    }

    fn kernel_base(&self) -> VirtAddr {
        self.kernel_base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmcore::{ReadError, ReadFault};
    use std::collections::HashMap;

    struct Words(HashMap<u64, u64>);

    impl PhysMem for Words {
        fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
            let word = self.0.get(&addr.raw()).copied();
            let word = word.ok_or(ReadError {
                addr,
                len: buf.len(),
                why: ReadFault::Hole,
            })?;
            buf.copy_from_slice(&word.to_le_bytes()[..buf.len()]);
            Ok(())
        }
    }

    fn tables(five: bool, encryption: u64) -> Tables {
        Tables {
            root: PhysAddr::new(0x1000),
            five,
            encryption,
            kernel_base: VirtAddr::new(PAGE_OFFSET_4),
        }
    }

    const ADDR: u64 = 0xffff_ea00_0123_4567;

    #[test]
    fn four_levels_to_a_2m_page() {
        let (pgd, pud, pmd) = (ADDR >> 39 & 511, ADDR >> 30 & 511, ADDR >> 21 & 511);
        let enc = 1 << 47;
        let mem = Words(HashMap::from([
            (0x1000 + pgd * 8, 0x2063 | enc),
            (0x2000 + pud * 8, 0x3063 | enc),
            (0x3000 + pmd * 8, 0x8000_0000_4020_00e3 | enc),
        ]));
        let got = tables(false, enc)
            .translate(&mem, VirtAddr::new(ADDR))
            .unwrap();
        assert_eq!(got.phys, PhysAddr::new(0x4020_0000 | (ADDR & 0x1f_ffff)));
        assert_eq!((got.start.raw(), got.size), (ADDR & !0x1f_ffff, 2 << 20));
        let other = VirtAddr::new(ADDR + (2 << 20));
        assert!(matches!(
            tables(false, enc).translate(&mem, other),
            Err(TranslateError::Table { .. })
        ));
    }

    #[test]
    fn five_levels_to_a_4k_page_and_absent_entries() {
        let index = |shift: u32| (ADDR >> shift & 511) * 8;
        let mut words = HashMap::from([
            (0x1000 + index(48), 0x2063),
            (0x2000 + index(39), 0x3063),
            (0x3000 + index(30), 0x4063),
            (0x4000 + index(21), 0x5063),
            (0x5000 + index(12), 0x77_7063),
        ]);
        let got = tables(true, 0)
            .translate(&Words(words.clone()), VirtAddr::new(ADDR))
            .unwrap();
        assert_eq!(got.phys, PhysAddr::new(0x77_7567));
        words.insert(0x4000 + index(21), 0x5062);
        let err = tables(true, 0)
            .translate(&Words(words), VirtAddr::new(ADDR))
            .unwrap_err();
        assert!(
            matches!(err, TranslateError::NotMapped { level: "pmd", .. }),
            "{err}"
        );
    }
}
