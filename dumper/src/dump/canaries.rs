//! Pages that no rule may drop: those that were read to understand the kernel, its text, its log, the stacks of its CPUs.
//!
//! A kernel whose struct pages were overwritten still has page tables and sections that are sound, and rules that know its fields:
//! only what they drop is wrong. That one of these pages would go proves it.

use super::DeadKernel;
use super::select::Judging;
use crate::addr::{PageSize, PhysAddr, VirtAddr};
use crate::filter::{self, Bitmap, Scan};
use crate::kernel::printk;
use crate::kernel::virt::VirtMem;
use crate::vmcore::{PhysMem, ReadError};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Pages that are remembered at most.
const MOST: usize = 2048;
/// Bytes of the kernel's text: no kernel is as small.
const TEXT: u64 = 1 << 20;
/// Pages of one array.
const OF_ARRAY: u64 = 64;
/// So many poisoned pages of an area are believed: memory fails under the kernel too, and such a page must not be read.
const FEW: u64 = 8;
/// Pages that are judged around each: what begins further away is not seen here.
const AREA: u64 = 1 << 15;

/// The first page that the kernel needs and the rules drop.
pub(super) fn dropped(
    kernel: &DeadKernel,
    judging: &Judging<'_>,
    mem: &dyn PhysMem,
    max_mapnr: u64,
) -> Option<u64> {
    let page = kernel.page_size();
    let pages = collect(kernel, judging, mem);
    let (virt, map, rules) = judging;
    let mut kept = Bitmap::new(AREA.min(max_mapnr))?;
    let mut pages = pages.range(..max_mapnr).copied().peekable();
    while let Some(first) = pages.peek().copied() {
        let start = first - first % AREA;
        let end = start.saturating_add(AREA).min(max_mapnr);
        kept.move_to(start, end);
        filter::set_dumpable(kernel.core(), page, &mut kept);
        let mut here = Vec::new();
        while let Some(pfn) = pages.next_if(|pfn| *pfn < end) {
            here.push(pfn);
        }
        here.retain(|pfn| kept.get(*pfn));
        let mut scan = Scan::new(kernel.core(), virt, map, rules, page);
        scan.window(start..end, &mut kept, &mut |_| ());
        let poisoned = scan.scanned().dropped.hwpoison;
        let spared = if poisoned > FEW { 0 } else { poisoned };
        let mut gone = here.iter().filter(|pfn| !kept.get(**pfn));
        if let Some(pfn) = gone.nth(usize::try_from(spared).unwrap_or(0)) {
            return Some(*pfn);
        }
    }
    None
}

/// Finds them. What cannot be read is none.
fn collect(kernel: &DeadKernel, judging: &Judging<'_>, mem: &dyn PhysMem) -> BTreeSet<u64> {
    let (page, info) = (kernel.page_size(), kernel.info());
    let (virt, map, _) = judging;
    let recorder = Recorder {
        mem,
        page,
        pages: RefCell::default(),
    };
    let recorded = VirtMem::new(&recorder, virt.tables());
    let step = page.bytes() as u64;
    let look = |start: u64, len: u64| {
        for at in (0..len).step_by(page.bytes()) {
            let _ = recorded.read_u64(VirtAddr::new(start.wrapping_add(at) & !7));
        }
    };
    for name in ["init_uts_ns", "mem_section", "prb", "log_buf"] {
        look(info.symbol(name).unwrap_or_default(), step);
    }
    for section in map.sections(0).take(usize::try_from(OF_ARRAY).unwrap_or(0)) {
        look(section.mem_map.raw(), step);
    }
    for (start, len) in printk::arrays(virt, info) {
        look(start.raw(), len.min(OF_ARRAY * step));
    }
    let base = virt.tables().kernel_base();
    for stack in kernel.stacks().filter(|at| *at >= base) {
        look(stack.raw(), step);
    }
    look(info.symbol("_stext").unwrap_or_default(), TEXT);
    recorder.pages.into_inner()
}

/// Physical memory that remembers which of its pages were read.
struct Recorder<'a> {
    mem: &'a dyn PhysMem,
    page: PageSize,
    pages: RefCell<BTreeSet<u64>>,
}

impl PhysMem for Recorder<'_> {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.mem.read(addr, buf)?;
        let mut pages = self.pages.borrow_mut();
        if pages.len() < MOST {
            pages.insert(self.page.pfn(addr).raw());
        }
        Ok(())
    }
}
