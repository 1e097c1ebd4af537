//! Deciding which pages are kept, with as much of the level as the kernel can be understood for, in windows of pfns.

use super::{DeadKernel, DumpError, Observer, Options, canaries};
use crate::addr::PageSize;
use crate::filter::{self, Bitmap, DumpLevel, Lanes, Scan, Scanned};
use crate::kernel::memmap::MemMap;
use crate::kernel::page::PageRules;
use crate::kernel::virt::VirtMem;
use crate::vmcore::{PhysMem, Vmcore};

/// Memory from here on is not dumped: no machine has it, a hostile header may say so.
const MOST: u64 = 64 << 40;

/// What judging needs: virtual memory, the section table, the rules.
pub(super) type Judging<'a> = (VirtMem<'a>, MemMap, PageRules);

/// The decision that comes before the first page.
pub(super) struct Selector<'a> {
    core: &'a Vmcore,
    page: PageSize,
    judging: Option<Judging<'a>>,
    /// Threads that judge, and whether they map the vmcore.
    pub(super) threads: usize,
    mmap: bool,
    /// One past the highest pfn.
    pub(super) max_mapnr: u64,
    /// The level in force.
    pub(super) level: DumpLevel,
    /// Memory that had to be left out, as a sentence.
    pub(super) left_out: Option<String>,
    /// What was not as it should be, a sentence each.
    pub(super) warnings: Vec<String>,
}

impl<'a> Selector<'a> {
    /// Understands the kernel as far as it can be, for no more than `limit` pages.
    pub(super) fn new(
        kernel: &'a DeadKernel,
        options: &Options,
        reader: &'a dyn PhysMem,
        limit: u64,
    ) -> Self {
        let (page, core) = (kernel.page_size(), kernel.core());
        let mut max_mapnr = filter::max_mapnr(core, page);
        let mut warnings = Vec::new();
        // What the dump that is read was written without stays out.
        let before = core.origin().map_or(DumpLevel::NONE, |o| {
            DumpLevel::new(o.level).unwrap_or(DumpLevel::NONE)
        });
        let asked = options.level.with(before);
        // A dump from which nothing more is asked to be left out stays as it is: its pages were judged when more was known of them.
        let judged = core.origin().is_some() && options.level == DumpLevel::NONE;
        let judging = (!judged).then(|| kernel.judging(reader, asked, options.strict, max_mapnr));
        let judging = judging
            .transpose()
            .map_err(|why| {
                if options.level.bits() > 1 {
                    let what = if core.origin().is_some() {
                        " of the dump"
                    } else {
                        ""
                    };
                    warnings.push(format!("all pages{what} are kept: {why}"));
                }
            })
            .ok()
            .flatten();
        let mut judging = judging;
        let end = judging.as_ref().and_then(|(_, map, _)| map.end);
        if let Some(end) = end.filter(|end| *end < max_mapnr) {
            warnings.push(format!(
                "memory from page {end:#x} on is not dumped: the kernel has no struct pages for it"
            ));
            max_mapnr = end;
        }
        let mut left_out = None;
        let limit = limit.min(MOST / page.bytes() as u64);
        if max_mapnr > limit {
            max_mapnr = filter::max_mapnr_below(core, page, limit);
            left_out = Some(format!(
                "memory from page {max_mapnr:#x} on is left out: its bitmaps do not fit"
            ));
        }
        let scanned = judging.as_ref().filter(|(_, _, rules)| rules.need_scan());
        if let Some(pfn) = scanned.and_then(|j| canaries::dropped(kernel, j, reader, max_mapnr)) {
            warnings.push(format!(
                "all pages are kept: the struct pages are not to be trusted, by them page {pfn:#x} that the kernel itself needs would be dropped"
            ));
            judging = None;
        }
        let added = kernel.added(reader);
        if added != 0 {
            left_out = Some(format!(
                "{} MiB of memory are missing: they were added after the capture kernel was armed; arm it again whenever memory is added",
                added >> 20
            ));
            warnings.extend(left_out.clone());
        }
        let mut level = asked.zero_only();
        if let Some((_, map, rules)) = &judging {
            level = rules.level();
            warnings.extend(rules.warnings.iter().cloned());
            if map.nonsense != 0 {
                warnings.push(format!(
                    "{} memory sections have nonsense addresses; their pages are kept",
                    map.nonsense
                ));
            }
        }
        Self {
            core,
            page,
            judging,
            threads: 0,
            mmap: options.mmap,
            max_mapnr,
            level: level.with(before),
            left_out,
            warnings,
        }
    }

    /// Fills a window of the first bitmap.
    pub(super) fn exists(&self, map: &mut Bitmap) {
        filter::set_existing(self.core, self.page, map);
    }

    /// A walk over the struct pages.
    pub(super) fn walk(&self) -> Walk<'_> {
        let judging = self.judging.as_ref().filter(|(_, _, r)| r.need_scan());
        let scan =
            judging.map(|(virt, map, rules)| Scan::new(self.core, virt, map, rules, self.page));
        Walk {
            selector: self,
            scan,
        }
    }
}

/// A walk that fills one window of the second bitmap after the other.
pub(super) struct Walk<'a> {
    selector: &'a Selector<'a>,
    scan: Option<Scan<'a>>,
}

impl Walk<'_> {
    /// Fills the next window; the first one begins at 0.
    pub(super) fn window(
        &mut self,
        kept: &mut Bitmap,
        phase: &'static str,
        observer: &mut dyn Observer,
    ) {
        let Selector {
            core,
            page,
            max_mapnr,
            threads,
            mmap,
            ..
        } = self.selector;
        filter::set_dumpable(core, *page, kept);
        if let Some(scan) = &mut self.scan {
            let window = kept.start()..kept.len();
            let lanes = Lanes::new(*threads, *mmap, &window);
            scan.window_in(lanes, window, kept, &mut |pfn| {
                observer.progress(phase, pfn.min(*max_mapnr), *max_mapnr);
            });
        }
    }

    /// What the walk did so far.
    pub(super) fn scanned(&self) -> Scanned {
        self.scan.as_ref().map(Scan::scanned).unwrap_or_default()
    }
}

/// Which pages are kept, as a whole.
pub(super) struct Selection {
    /// How many pages exist.
    pub(super) exist: u64,
    pub(super) kept: Bitmap,
    pub(super) scanned: Scanned,
}

impl Selection {
    /// Makes the decision for all pages at once.
    pub(super) fn whole(
        selector: &Selector<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Self, DumpError> {
        let memory = || DumpError::Memory("the bitmaps");
        let mut kept = Bitmap::new(selector.max_mapnr).ok_or_else(memory)?;
        selector.exists(&mut kept);
        let exist = kept.count();
        kept.move_to(0, selector.max_mapnr);
        let mut walk = selector.walk();
        walk.window(&mut kept, "scan", observer);
        Ok(Self {
            exist,
            scanned: walk.scanned(),
            kept,
        })
    }
}

/// The warning that some pages could not be judged.
pub(super) fn unjudged(scanned: Scanned) -> Option<String> {
    (scanned.unjudged != 0).then(|| {
        format!(
            "{} pages are kept because their struct pages cannot be read",
            scanned.unjudged
        )
    })
}

/// Bitmaps of an ELF dump larger than this are not made, whatever memory there is: 16 TiB of 4 KiB pages.
const MAX_BITMAP: u64 = 1 << 29;

/// The number of pages whose bitmap fits into half of the memory that is available: segments at absurd addresses must not
/// end the capture by the OOM killer.
pub(super) fn affordable() -> u64 {
    let bytes = available().map_or(MAX_BITMAP, |bytes| (bytes / 2).min(MAX_BITMAP));
    bytes * 8
}

/// Bytes of memory that are available.
pub(super) fn available() -> Option<u64> {
    let (_, available) = crate::procfs::memory_kb()?;
    Some(available.saturating_mul(1024))
}
