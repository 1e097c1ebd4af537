//! The walk over all struct pages.

use super::{Bitmap, is_judged};
use crate::addr::{PageSize, Pfn, PhysAddr, VirtAddr};
use crate::arch::PageTables;
use crate::kernel::memmap::{MemMap, Section};
use crate::kernel::page::{Class, Drop, GROUP, PageRules};
use crate::kernel::virt::VirtMem;
use crate::vmcore::Vmcore;
use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, Range};

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

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.cache += other.cache;
        self.cache_private += other.cache_private;
        self.user += other.user;
        self.free += other.free;
        self.hwpoison += other.hwpoison;
        self.offline += other.offline;
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

/// What a walk reads and goes by.
#[derive(Clone, Copy)]
pub(super) struct Views<'a> {
    pub(super) core: &'a Vmcore,
    pub(super) tables: &'a dyn PageTables,
    pub(super) map: &'a MemMap,
    pub(super) rules: &'a PageRules,
    pub(super) page: PageSize,
}

/// Where a walk is.
#[derive(Default)]
pub(super) struct State {
    /// In the section that was looked at last, pages below this went with the head or free block before them.
    skip: u64,
    /// Ranges that begin in earlier windows and do not end in them: where they end, in the order in which they were found.
    beyond: Vec<(u64, Class)>,
    scanned: Scanned,
}

/// The walk over all struct pages, as a whole or in windows of pfns that follow each other: the result is the same.
pub struct Scan<'a> {
    core: &'a Vmcore,
    mem: &'a VirtMem<'a>,
    map: &'a MemMap,
    rules: &'a PageRules,
    page: PageSize,
    group: Group,
    state: State,
}

impl<'a> Scan<'a> {
    /// A walk that has not begun.
    #[must_use]
    pub fn new(
        core: &'a Vmcore,
        mem: &'a VirtMem<'a>,
        map: &'a MemMap,
        rules: &'a PageRules,
        page: PageSize,
    ) -> Self {
        Self {
            core,
            mem,
            map,
            rules,
            page,
            group: Group::new(rules.size),
            state: State::default(),
        }
    }

    /// Removes from `kept` every page of `window` that the rules drop; other pages are neither judged nor removed. The first window
    /// begins at 0, every other where the one before it ended, at a multiple of [`GROUP`]. `progress` hears the pfn reached, a section
    /// at a time.
    pub fn window(&mut self, window: Range<u64>, kept: &mut Bitmap, progress: &mut dyn FnMut(u64)) {
        self.carry_over(&window, kept);
        let map = self.map;
        for section in map.sections(window.start) {
            if section.start >= window.end {
                break;
            }
            self.section(&section, &window, kept);
            progress(section.end.min(window.end));
        }
    }

    /// What the walk did so far.
    #[must_use]
    pub fn scanned(&self) -> Scanned {
        self.state.scanned
    }

    /// What it reads and goes by.
    pub(super) fn views(&self) -> Views<'a> {
        Views {
            core: self.core,
            tables: self.mem.tables(),
            map: self.map,
            rules: self.rules,
            page: self.page,
        }
    }

    /// Whether nothing that was dropped so far reaches into the next window.
    pub(super) fn is_within(&self) -> bool {
        self.state.beyond.is_empty()
    }

    /// Where it is.
    pub(super) fn into_state(self) -> State {
        self.state
    }

    /// Goes on from where another walk, over the next window, has come to.
    pub(super) fn follow(&mut self, other: State) {
        let mut scanned = self.state.scanned;
        scanned.unjudged += other.scanned.unjudged;
        scanned.dropped += other.scanned.dropped;
        self.state = State { scanned, ..other };
    }

    /// Removes what earlier windows began to remove.
    fn carry_over(&mut self, window: &Range<u64>, kept: &mut Bitmap) {
        let dropped = &mut self.state.scanned.dropped;
        let mut from = window.start;
        self.state.beyond.retain(|(end, class)| {
            let stop = window.end.min(*end);
            if from < stop {
                dropped.add(*class, kept.clear_range(from, stop));
                from = stop;
            }
            *end > window.end
        });
    }

    fn section(&mut self, section: &Section, window: &Range<u64>, kept: &mut Bitmap) {
        let end = section.end.min(kept.len()).min(window.end);
        let is_new = section.start >= window.start;
        let mut base = section.start.max(window.start);
        if is_new {
            self.state.skip = section.start;
        }
        while base < end {
            let group_end = ((base / GROUP + 1) * GROUP).min(end);
            let start = base.max(self.state.skip);
            base = group_end;
            let Some(start) = first_in_memory(self.core, self.page, start, group_end) else {
                continue;
            };
            if self.read_group(section, start, group_end) {
                self.state.skip = self.judge_group(start..group_end, window.end, kept);
            }
        }
    }

    /// Reads the struct pages of `start..end`; `false` when they have no address.
    fn read_group(&mut self, section: &Section, start: u64, end: u64) -> bool {
        let first = slot_of(start);
        let at = start
            .checked_sub(section.start)
            .and_then(|n| n.checked_mul(self.rules.size as u64))
            .and_then(|at| section.mem_map.checked_add(at));
        let Some(mem_map) = at else {
            return false;
        };
        let count = slot_of(end - 1) + 1 - first;
        self.group.read(self.mem, mem_map, first, count, self.page);
        true
    }

    /// Judges the pages of one group and returns the first pfn behind what was dropped or judged.
    fn judge_group(&mut self, pages: Range<u64>, window_end: u64, kept: &mut Bitmap) -> u64 {
        let mut pfn = pages.start;
        while pfn < pages.end {
            let Some(dropped) = self.judge(pfn, kept) else {
                pfn += 1;
                continue;
            };
            let stop = pfn.saturating_add(dropped.pages);
            let cleared = kept.clear_range(pfn, stop.min(window_end));
            self.state.scanned.dropped.add(dropped.class, cleared);
            if stop > window_end {
                self.state.beyond.push((stop, dropped.class));
            }
            pfn = stop;
        }
        pfn
    }

    fn judge(&mut self, pfn: u64, kept: &Bitmap) -> Option<Drop> {
        let slot = slot_of(pfn);
        let Some(bytes) = self.group.page(slot) else {
            let matters = kept.get(pfn) && is_judged(self.core, self.page, pfn);
            self.state.scanned.unjudged += u64::from(matters);
            return None;
        };
        let verdict = self.rules.judge(pfn, bytes, self.group.page(slot + 1))?;
        is_judged(self.core, self.page, pfn).then_some(verdict)
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
    let mut scan = Scan::new(core, mem, map, rules, page);
    scan.window(0..kept.len(), kept, progress);
    scan.scanned()
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
