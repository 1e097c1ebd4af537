//! Architectures of dead kernels. All of them compile everywhere: any host reads any vmcore.

mod aarch64;
mod x86_64;

use crate::addr::{PhysAddr, VirtAddr};
use crate::vmcore::VmcoreInfo;
use crate::vmcore::{PhysMem, ReadError, Segment};

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
pub trait PageTables {
    /// Walks the tables for `addr`.
    ///
    /// # Errors
    /// When an entry is not present or a table cannot be read.
    fn translate(&self, mem: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError>;

    /// The lowest address that a kernel pointer to data can have.
    fn kernel_base(&self) -> VirtAddr;
}

/// What differs between architectures.
pub trait Arch: Sync {
    /// `utsname.machine`.
    fn name(&self) -> &'static str;
    /// `e_machine` of its vmcores.
    fn elf_machine(&self) -> u16;
    /// SECTION_SIZE_BITS where VMCOREINFO does not say.
    fn section_size_bits(&self) -> u32;
    /// MAX_PHYSMEM_BITS where VMCOREINFO does not say.
    fn max_physmem_bits(&self, info: &VmcoreInfo) -> u32;
    /// `phys_base` for the dump's header.
    fn phys_base(&self, info: &VmcoreInfo, segments: &[Segment]) -> u64;
    /// Finds the kernel's page tables.
    ///
    /// # Errors
    /// A sentence that names what is missing.
    fn page_tables(
        &self,
        info: &VmcoreInfo,
        segments: &[Segment],
    ) -> Result<Box<dyn PageTables>, String>;
}

static ARCHES: &[&dyn Arch] = &[&x86_64::X86_64, &aarch64::Aarch64];

/// The architecture with this `e_machine`.
#[must_use]
pub fn by_elf_machine(machine: u16) -> Option<&'static dyn Arch> {
    ARCHES.iter().find(|a| a.elf_machine() == machine).copied()
}
