//! The struct pages of a vmcore, found as makedumpfile finds them. Only the page tables are the product's.

use super::layout::Info;
use super::reference::Arch;
use anyhow::{Context, Result, ensure};
use baredump::addr::VirtAddr;
use baredump::dump::DeadKernel;
use baredump::kernel::virt::VirtMem;
use std::path::Path;

/// Bit 0 of `section_mem_map`: the section is there.
const PRESENT: u64 = 1;

/// A vmcore and what it says of itself.
pub(super) struct Memory {
    kernel: DeadKernel,
    /// VMCOREINFO.
    pub(super) info: Info,
    /// Bytes of a page.
    pub(super) page_size: u64,
    /// SIZE(page).
    pub(super) struct_size: usize,
    /// Ranges of pfns whose first byte is in the file, ascending.
    segments: Vec<(u64, u64)>,
}

/// A section that has struct pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) start: u64,
    pub(super) end: u64,
    mem_map: u64,
}

impl Memory {
    /// Opens a vmcore.
    ///
    /// # Errors
    /// When it has no VMCOREINFO.
    pub(super) fn open(vmcore: &Path) -> Result<Self> {
        let kernel = DeadKernel::open(vmcore, false)?;
        let notes = kernel.core().notes().vmcoreinfo.as_ref();
        let (_, text) = notes.context("the vmcore has no VMCOREINFO note")?;
        let info = Info::parse(&String::from_utf8_lossy(text));
        let page_size = info.text("PAGESIZE").and_then(|text| text.parse().ok());
        let page_size: u64 = page_size.context("VMCOREINFO has no PAGESIZE")?;
        ensure!(page_size.is_power_of_two(), "PAGESIZE={page_size}");
        let struct_size = info.size("SIZE", "page").context("no SIZE(page)")?;
        let mut segments: Vec<_> = kernel
            .core()
            .segments()
            .iter()
            .map(|s| (s.start.raw(), s.start.raw() + s.file_size))
            .map(|(start, end)| (start.div_ceil(page_size), end.div_ceil(page_size)))
            .collect();
        segments.sort_unstable();
        Ok(Self {
            kernel,
            info,
            page_size,
            struct_size,
            segments,
        })
    }

    /// Which kernel reads it.
    pub(super) fn arch(&self) -> Option<Arch> {
        Arch::of_machine(self.kernel.core().machine())
    }

    /// Kernel, architecture and configuration in words.
    pub(super) fn machine(&self) -> String {
        let release = self.info.text("OSRELEASE").unwrap_or("unknown kernel");
        let arch = self.arch().map_or("unknown", Arch::name);
        let is = |name| self.info.number(name).unwrap_or(0);
        let paging = match self.arch() {
            Some(Arch::Arm64) => format!("{}-bit addresses", self.address_bits()),
            _ if is("pgtable_l5_enabled") != 0 => "5 levels".into(),
            _ => "4 levels".into(),
        };
        let moved = self
            .info
            .text("KERNELOFFSET")
            .is_some_and(|text| text != "0");
        let kaslr = if moved { "KASLR" } else { "no KASLR" };
        let end = self.segments.iter().map(|(_, end)| end).max().unwrap_or(&0);
        format!(
            "{release}, {arch}, {} KiB pages, {paging}, {kaslr}, {} segments to {} MiB",
            self.page_size >> 10,
            self.segments.len(),
            (end * self.page_size) >> 20
        )
    }

    /// Bits of a virtual address on arm64.
    fn address_bits(&self) -> i64 {
        let unused = self.info.number("TCR_EL1_T1SZ");
        unused.map_or_else(
            || self.info.number("VA_BITS").unwrap_or(48),
            |unused| 64 - unused,
        )
    }

    /// Whether this is an arm64 kernel with pages below 64 KiB that was built for addresses of 52 bits.
    pub(super) fn is_va52(&self) -> bool {
        let small = self.arch() == Some(Arch::Arm64) && self.page_size < 1 << 16;
        small && self.info.number("VA_BITS") == Some(52)
    }

    /// Whether it also has them.
    pub(super) fn is_lpa2(&self) -> bool {
        self.is_va52() && self.address_bits() == 52
    }

    /// Whether a page's first byte is in the vmcore file: only then it is judged.
    pub(super) fn has_data(&self, pfn: u64) -> bool {
        let before = self.segments.partition_point(|(start, _)| *start <= pfn);
        self.segments[..before].iter().any(|(_, end)| pfn < *end)
    }

    /// The sections that have struct pages; `flags` low bits of their pointers are flags.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) fn sections(&self, flags: u32, max_mapnr: u64) -> Result<Vec<Section>> {
        let need = |what: Option<usize>, name: &str| {
            what.map(|value| value as u64)
                .with_context(|| format!("VMCOREINFO lacks {name}"))
        };
        let info = &self.info;
        let root = info.symbol("mem_section").context("no mem_section")?;
        let size = need(info.size("SIZE", "mem_section"), "SIZE(mem_section)")?;
        let field = need(
            info.offset("mem_section.section_mem_map"),
            "section_mem_map",
        )?;
        let (section_bits, phys_bits) = self.geometry();
        let pages = (1 << section_bits) / self.page_size;
        let per_root = self.page_size / size;
        let roots = (1u64 << (phys_bits - section_bits)).div_ceil(per_root);
        let length = info.size("LENGTH", "mem_section");
        let extreme = length.is_none_or(|length| length as u64 == roots);
        let reader = self.kernel.core().reader(false);
        let virt = self.virt(&reader)?;
        let mut found = Vec::new();
        for number in 0..max_mapnr.div_ceil(pages) {
            let array = if extreme {
                let at = VirtAddr::new(root + number / per_root * 8);
                let array = virt.read_u64(at)?;
                if array == 0 {
                    continue;
                }
                array + number % per_root * size
            } else {
                root + number * size
            };
            let coded = virt.read_u64(VirtAddr::new(array + field))?;
            if coded & PRESENT != 0 {
                let start = number * pages;
                found.push(Section {
                    start,
                    end: (start + pages).min(max_mapnr),
                    mem_map: (coded >> flags << flags)
                        .wrapping_add(start.wrapping_mul(self.struct_size as u64)),
                });
            }
        }
        Ok(found)
    }

    /// SECTION_SIZE_BITS and MAX_PHYSMEM_BITS: exported since 5.14; older kernels have the constants of their architecture.
    fn geometry(&self) -> (u32, u32) {
        let exported = |name| self.info.number(name).and_then(|n| u32::try_from(n).ok());
        let five_levels = self.info.number("pgtable_l5_enabled").unwrap_or(0) != 0;
        let (section, phys) = match self.arch() {
            Some(Arch::Arm64) => (30, 48),
            _ => (27, if five_levels { 52 } else { 46 }),
        };
        (
            exported("SECTION_SIZE_BITS").unwrap_or(section),
            exported("MAX_PHYSMEM_BITS").unwrap_or(phys),
        )
    }

    /// The struct pages of a section, one after the other.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn struct_pages(&self, section: Section) -> Result<Vec<u8>> {
        let count = usize::try_from(section.end - section.start)?;
        let mut bytes = vec![0; count * self.struct_size];
        let reader = self.kernel.core().reader(false);
        let virt = self.virt(&reader)?;
        virt.read(VirtAddr::new(section.mem_map), &mut bytes)
            .with_context(|| format!("struct pages of section {:#x}", section.start))?;
        Ok(bytes)
    }

    fn virt<'a>(&'a self, reader: &'a dyn baredump::vmcore::PhysMem) -> Result<VirtMem<'a>> {
        self.kernel.virt(reader).map_err(anyhow::Error::msg)
    }
}
