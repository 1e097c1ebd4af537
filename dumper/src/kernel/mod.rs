//! What is known of the dead kernel: VMCOREINFO, virtual memory, mem_section, struct page, the log.

pub mod btf;
#[cfg(test)]
mod flat;
pub mod kallsyms;
pub mod layout;
pub mod memmap;
pub mod page;
pub mod printk;
pub mod utsname;
pub mod virt;

use crate::addr::{PageSize, VirtAddr};
use crate::arch::Arch;

/// The facts that every other question about the kernel needs.
#[derive(Clone, Copy)]
pub struct Basics {
    /// Its architecture.
    pub arch: &'static dyn Arch,
    /// Its page size.
    pub page_size: PageSize,
    /// The lowest address that a pointer to data can have.
    pub kernel_base: VirtAddr,
}

impl Basics {
    /// A pointer read from the kernel's memory, without its tag; `None` when it cannot be one.
    #[must_use]
    pub fn pointer(&self, raw: u64) -> Option<VirtAddr> {
        let addr = VirtAddr::new(self.arch.untag(raw));
        (addr >= self.kernel_base).then_some(addr)
    }
}
