//! arm64. Its vmcores are recognised; their page tables are not walked yet, so such a dump is unfiltered.

use super::{Arch, PageTables};
use crate::vmcore::Segment;
use crate::vmcore::VmcoreInfo;

/// EM_AARCH64.
const ELF_MACHINE: u16 = 183;

pub(super) struct Aarch64;

impl Arch for Aarch64 {
    fn name(&self) -> &'static str {
        "aarch64"
    }

    fn elf_machine(&self) -> u16 {
        ELF_MACHINE
    }

    fn section_size_bits(&self) -> u32 {
        27
    }

    fn max_physmem_bits(&self, _info: &VmcoreInfo) -> u32 {
        48
    }

    fn phys_base(&self, _info: &VmcoreInfo, _segments: &[Segment]) -> u64 {
        0
    }

    fn page_tables(
        &self,
        _info: &VmcoreInfo,
        _segments: &[Segment],
    ) -> Result<Box<dyn PageTables>, String> {
        Err("the page tables of arm64 kernels are not read by this version".into())
    }
}
