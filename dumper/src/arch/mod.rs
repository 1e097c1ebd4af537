//! Architectures of dead kernels. All of them compile everywhere: any host reads any vmcore.

mod aarch64;
mod x86_64;

use crate::addr::{PageSize, PhysAddr, VirtAddr};
use crate::kernel::utsname::Utsname;
use crate::kernel::virt::VirtMem;
use crate::vmcore::{PhysMem, ReadError, Segment, VmcoreInfo};

/// A run of virtual memory that is contiguous in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Physical address of the address asked for.
    pub phys: PhysAddr,
    /// Virtual address at which the mapping page begins.
    pub start: VirtAddr,
    /// Size of the mapping page in bytes.
    pub size: u64,
}

/// Why a virtual address has no physical one.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// A table entry on the way is not present.
    #[error("virtual {addr} is not mapped: the {level} entry is {entry:#x}")]
    NotMapped {
        /// The address asked for.
        addr: VirtAddr,
        /// Name of the table level.
        level: &'static str,
        /// The entry found.
        entry: u64,
    },
    /// A table could not be read.
    #[error("virtual {addr}: the page table entry cannot be read: {source}")]
    Table {
        /// The address asked for.
        addr: VirtAddr,
        /// What the reader said.
        source: ReadError,
    },
}

/// The page tables of one dead kernel.
pub trait PageTables: Sync {
    /// Walks the tables for `addr`.
    ///
    /// # Errors
    /// When an entry is not present or a table cannot be read.
    fn translate(&self, mem: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError>;

    /// The lowest address that a kernel pointer to data can have.
    fn kernel_base(&self) -> VirtAddr;
}

/// What there is to find page tables by.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// What the kernel says of itself.
    pub info: &'a VmcoreInfo,
    /// The segments of the vmcore.
    pub segments: &'a [Segment],
    /// The kernel's page size.
    pub page_size: PageSize,
    /// Its physical memory: guesses are tried on it.
    pub mem: &'a dyn PhysMem,
}

impl Evidence<'_> {
    /// Whether `tables` lead to the kernel's utsname: the proof of a guess.
    fn is_proved(&self, tables: &dyn PageTables) -> bool {
        Utsname::read(&VirtMem::new(self.mem, tables), self.info).is_ok()
    }

    /// The physical address of `virt` in the first segment that holds it by its virtual address.
    fn in_segment(&self, virt: u64) -> Option<u64> {
        self.segments.iter().filter(|s| s.virt != 0).find_map(|s| {
            let within = virt.checked_sub(s.virt).filter(|w| *w < s.mem_size)?;
            s.start.raw().checked_add(within)
        })
    }
}

/// What differs between architectures.
pub trait Arch: Sync {
    /// `utsname.machine`.
    fn name(&self) -> &'static str;
    /// `e_machine` of its vmcores.
    fn elf_machine(&self) -> u16;
    /// A VMCOREINFO key that no other architecture has.
    fn own_key(&self) -> &'static str;
    /// Where the stack pointer is in `struct elf_prstatus`.
    fn stack_in_status(&self) -> u64;
    /// The sizes that its pages can have, the most probable first.
    fn page_sizes(&self) -> &'static [PageSize] {
        &[PageSize::K4]
    }
    /// SECTION_SIZE_BITS where VMCOREINFO does not say: what it can be, the most probable first.
    fn section_size_bits(&self, info: &VmcoreInfo, page_size: PageSize) -> &'static [u32];
    /// MAX_PHYSMEM_BITS where VMCOREINFO does not say.
    fn max_physmem_bits(&self, info: &VmcoreInfo) -> u32;
    /// `phys_base` for the dump's header.
    fn phys_base(&self, info: &VmcoreInfo, segments: &[Segment]) -> u64;
    /// A kernel pointer without the tag that the hardware ignores in it.
    fn untag(&self, pointer: u64) -> u64 {
        pointer
    }
    /// Finds the kernel's page tables. What was guessed is said in `warnings`.
    ///
    /// # Errors
    /// A sentence that names what is missing.
    fn page_tables(
        &self,
        dead: &Evidence<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Box<dyn PageTables>, String>;
}

static ARCHES: &[&dyn Arch] = &[&x86_64::X86_64, &aarch64::Aarch64];

/// All architectures, the one with this `e_machine` first.
pub fn all_from(machine: u16) -> impl Iterator<Item = &'static dyn Arch> {
    let others = ARCHES.iter().filter(move |a| a.elf_machine() != machine);
    by_elf_machine(machine).into_iter().chain(others.copied())
}

/// Names of 64-bit little-endian machines, as `utsname.machine` has them, by `e_machine`.
const NAMES: &[(u16, &str)] = &[
    (8, "mips64"),
    (21, "ppc64le"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
    (258, "loongarch64"),
];

/// `utsname.machine` of this `e_machine`.
#[must_use]
pub fn name_of(machine: u16) -> Option<&'static str> {
    let found = NAMES.iter().find(|(number, _)| *number == machine);
    found.map(|(_, name)| *name)
}

/// `e_machine` of this `utsname.machine`, 0 when it is not known. QEMU cuts the name off after 6 bytes.
#[must_use]
pub fn number_of(name: &str) -> u16 {
    let whole = NAMES.iter().find(|(_, n)| *n == name);
    let cut = |(_, n): &&(u16, &str)| name.len() == 6 && n.starts_with(name);
    let found = whole.or_else(|| NAMES.iter().find(cut));
    found.map_or(0, |(number, _)| *number)
}

/// The architecture with this `e_machine`.
#[must_use]
pub fn by_elf_machine(machine: u16) -> Option<&'static dyn Arch> {
    ARCHES.iter().find(|a| a.elf_machine() == machine).copied()
}
