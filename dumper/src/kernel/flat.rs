//! Virtual memory for unit tests: one run of bytes at a virtual address.

use super::virt::VirtMem;
use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{Mapping, PageTables, TranslateError};
use crate::vmcore::{PhysMem, ReadError, ReadFault};

/// Where [`Flat`] begins.
pub(super) const BASE: u64 = 0xffff_ffff_8100_0000;

/// The bytes from [`BASE`] on; nothing else is mapped.
pub(super) struct Flat(pub(super) Vec<u8>);

impl Flat {
    pub(super) fn mem(&self) -> VirtMem<'_> {
        VirtMem::new(self, self)
    }
}

impl PhysMem for Flat {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let from = usize::try_from(addr.raw()).unwrap();
        let len = buf.len();
        let why = ReadFault::Hole;
        let bytes = self.0.get(from..from + len);
        buf.copy_from_slice(bytes.ok_or(ReadError { addr, len, why })?);
        Ok(())
    }
}

impl PageTables for Flat {
    fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let at = addr.raw().wrapping_sub(BASE) & !0xfff;
        let end = self.0.len().next_multiple_of(4096) as u64;
        if at >= end {
            let (level, entry) = ("flat", 0);
            return Err(TranslateError::NotMapped { addr, level, entry });
        }
        Ok(Mapping {
            phys: PhysAddr::new(addr.raw() - BASE),
            start: VirtAddr::new(at + BASE),
            size: 4096,
        })
    }
    fn kernel_base(&self) -> VirtAddr {
        VirtAddr::new(BASE)
    }
}
