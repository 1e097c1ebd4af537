//! The walk over all struct pages.

use super::{Bitmap, is_judged};
use crate::addr::{PageSize, Pfn, PhysAddr, VirtAddr};
use crate::kernel::memmap::{MemMap, Section};
use crate::kernel::page::{Class, Drop, GROUP, PageRules};
use crate::kernel::virt::VirtMem;
use crate::vmcore::Vmcore;
use serde::{Deserialize, Serialize};

/// Pages that were dropped, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Non-private page cache.
    pub cache: u64,
    /// Private page cache.
    pub cache_private: u64,
    /// User pages: anonymous and hugetlb.
    pub user: u64,
    /// Free pages.
    pub free: u64,
    /// Hardware-poisoned pages.
    pub hwpoison: u64,
    /// Logically offline pages: ballooned, unplugged.
    pub offline: u64,
}

/// What a scan did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Pages it dropped.
    pub dropped: Dropped,
    /// Pages it kept because their struct page could not be read.
    pub unjudged: u64,
}

impl Dropped {
    fn add(&mut self, class: Class, pages: u64) {
        *match class {
            Class::Cache => &mut self.cache,
            Class::CachePrivate => &mut self.cache_private,
            Class::User => &mut self.user,
            Class::Free => &mut self.free,
            Class::Hwpoison => &mut self.hwpoison,
            Class::Offline => &mut self.offline,
        } += pages;
    }
}

/// The struct pages of one group of pfns, and which of them could be read.
struct Group {
    bytes: Vec<u8>,
    size: usize,
    readable: Vec<bool>,
}

impl Group {
    fn new(size: usize) -> Self {
        let count = usize::try_from(GROUP).unwrap_or(0);
        Self {
            bytes: vec![0; size * count],
            size,
            readable: vec![false; count],
        }
    }

    /// Reads the struct pages `first..first + count` of the group from `mem_map`, in one go, or page by page when that fails.
    fn read(
        &mut self,
        mem: &VirtMem<'_>,
        mem_map: VirtAddr,
        first: usize,
        count: usize,
        page: PageSize,
    ) {
        self.readable.fill(false);
        let range = first * self.size..(first + count) * self.size;
        if mem.read(mem_map, &mut self.bytes[range.clone()]).is_ok() {
            self.readable[first..first + count].fill(true);
            return;
        }
        let mut at = range.start;
        let mut failed = Vec::new();
        while at < range.end {
            let Some(addr) = mem_map.checked_add((at - range.start) as u64) else {
                return;
            };
            let to_page_end =
                page.bytes() - usize::try_from(addr.raw() % page.bytes() as u64).unwrap_or(0);
            let end = (at + to_page_end).min(range.end);
            if mem.read(addr, &mut self.bytes[at..end]).is_err() {
                failed.push(at..end);
            }
            at = end;
        }
        for slot in first..first + count {
            let (start, end) = (slot * self.size, (slot + 1) * self.size);
            self.readable[slot] = !failed.iter().any(|f| f.start < end && start < f.end);
        }
    }

    fn page(&self, slot: usize) -> Option<&[u8]> {
        self.readable
            .get(slot)?
            .then(|| &self.bytes[slot * self.size..(slot + 1) * self.size])
    }
}

/// Removes from `kept` every page that `rules` drop. `progress` hears the pfn reached, a section at a time.
pub fn scan(
    core: &Vmcore,
    mem: &VirtMem<'_>,
    map: &MemMap,
    rules: &PageRules,
    page: PageSize,
    kept: &mut Bitmap,
    progress: &mut dyn FnMut(u64),
) -> Scanned {
    let mut scanned = Scanned::default();
    let mut group = Group::new(rules.size);
    for section in &map.sections {
        scan_section(
            core,
            mem,
            section,
            rules,
            page,
            kept,
            &mut group,
            &mut scanned,
        );
        progress(section.end);
    }
    scanned
}

#[expect(
    clippy::too_many_arguments,
    reason = "the loop's state; a struct of borrowed parts would say the same"
)]
fn scan_section(
    core: &Vmcore,
    mem: &VirtMem<'_>,
    section: &Section,
    rules: &PageRules,
    page: PageSize,
    kept: &mut Bitmap,
    group: &mut Group,
    scanned: &mut Scanned,
) {
    let end = section.end.min(kept.len());
    // Pages below `skip` went with the head or buddy block before them.
    let mut skip = section.start;
    let mut base = section.start;
    while base < end {
        let group_end = ((base / GROUP + 1) * GROUP).min(end);
        let start = base.max(skip);
        base = group_end;
        let Some(start) = first_in_memory(core, page, start, group_end) else {
            continue;
        };
        let first = slot_of(start);
        let Some(at) = start
            .checked_sub(section.start)
            .and_then(|n| n.checked_mul(rules.size as u64))
        else {
            continue;
        };
        let Some(mem_map) = section.mem_map.checked_add(at) else {
            continue;
        };
        group.read(
            mem,
            mem_map,
            first,
            slot_of(group_end - 1) + 1 - first,
            page,
        );
        let mut pfn = start;
        while pfn < group_end {
            let Some(dropped) = judge(core, rules, page, group, pfn, kept, scanned) else {
                pfn += 1;
                continue;
            };
            let stop = pfn.saturating_add(dropped.pages);
            scanned
                .dropped
                .add(dropped.class, kept.clear_range(pfn, stop));
            pfn = stop;
        }
        skip = pfn;
    }
}

fn judge(
    core: &Vmcore,
    rules: &PageRules,
    page: PageSize,
    group: &Group,
    pfn: u64,
    kept: &Bitmap,
    scanned: &mut Scanned,
) -> Option<Drop> {
    let slot = slot_of(pfn);
    let Some(bytes) = group.page(slot) else {
        scanned.unjudged += u64::from(kept.get(pfn) && is_judged(core, page, pfn));
        return None;
    };
    let verdict = rules.judge(pfn, bytes, group.page(slot + 1))?;
    is_judged(core, page, pfn).then_some(verdict)
}

/// The first pfn of `start..end` that any segment touches.
fn first_in_memory(core: &Vmcore, page: PageSize, start: u64, end: u64) -> Option<u64> {
    if let Some(pages) = core.pages() {
        return pages.exists().next(start).filter(|pfn| *pfn < end);
    }
    let extent = core.extents().at_or_after(page.phys(Pfn::new(start))?)?;
    let first = page.pfn(PhysAddr::new(extent.start)).raw().max(start);
    (first < end).then_some(first)
}

fn slot_of(pfn: u64) -> usize {
    usize::try_from(pfn % GROUP).unwrap_or(0)
}
