//! The walk over one window by several threads.
//!
//! The window is cut into parts that begin where sections and the largest free blocks and huge pages do, and each part is judged by
//! itself. Should something that was dropped reach out of a part all the same, what follows in the window is judged in order: the
//! result is the same for any number of threads.

use super::{Bitmap, Scan};
use crate::kernel::virt::VirtMem;
use std::ops::Range;
use std::thread::{self, Builder};

/// Pages in the smallest part: 1 GiB in pages of 4 KiB.
const SMALLEST: u64 = 1 << 18;
/// Pages in the largest part, whose bitmap takes 128 KiB.
const LARGEST: u64 = 1 << 20;

/// A part that was judged: its pages that are kept, and where the walk is.
type Part = (Bitmap, super::scan::State);

/// How a window is judged by several threads.
#[derive(Clone, Copy, Debug)]
pub struct Lanes {
    /// Threads at a time.
    pub threads: usize,
    /// Pages of a part, a multiple of [`GROUP`](crate::kernel::page::GROUP).
    pub part: u64,
    /// Whether each thread maps the vmcore.
    pub mmap: bool,
}

impl Lanes {
    /// Parts as large as `threads` share `window` well.
    #[must_use]
    pub fn new(threads: usize, mmap: bool, window: &Range<u64>) -> Self {
        let pages = window.end.saturating_sub(window.start);
        let share = pages / (threads as u64).max(1);
        let part = share.next_multiple_of(SMALLEST).clamp(SMALLEST, LARGEST);
        Self {
            threads,
            part,
            mmap,
        }
    }
}

impl Scan<'_> {
    /// [`Scan::window`], by several threads with views of the vmcore of their own.
    pub fn window_in(
        &mut self,
        lanes: Lanes,
        window: Range<u64>,
        kept: &mut Bitmap,
        progress: &mut dyn FnMut(u64),
    ) {
        let size = lanes.part;
        let is_one = window.end.saturating_sub(window.start) <= size;
        if lanes.threads < 2 || size == 0 || is_one {
            return self.window(window, kept, progress);
        }
        let mut start = window.start;
        while start < window.end {
            let parts: Vec<Range<u64>> = (0..lanes.threads as u64)
                .map(|number| start.saturating_add(number.saturating_mul(size)))
                .take_while(|start| *start < window.end)
                .map(|start| start..start.saturating_add(size).min(window.end))
                .collect();
            let judged = self.judge_parts(&parts, lanes.mmap, kept);
            for (range, part) in parts.iter().zip(judged) {
                match part {
                    Some((part, state)) if self.is_within() => {
                        kept.paste(&part);
                        self.follow(state);
                    }
                    _ => self.window(range.clone(), kept, &mut |_| {}),
                }
            }
            start = parts.last().map_or(window.end, |last| last.end);
            progress(start);
        }
    }

    /// Judges each part by a thread; `None` for those that the system has no thread or memory for.
    fn judge_parts(&self, parts: &[Range<u64>], mmap: bool, kept: &Bitmap) -> Vec<Option<Part>> {
        let views = self.views();
        thread::scope(|scope| {
            let spawn = |range: &Range<u64>| {
                let range = range.clone();
                let judge = move || {
                    let reader = views.core.reader(mmap);
                    let mem = VirtMem::new(&reader, views.tables);
                    let mut part = Bitmap::new(range.end - range.start)?;
                    part.move_to(range.start, range.end);
                    part.copy_from(kept);
                    let mut scan = Scan::new(views.core, &mem, views.map, views.rules, views.page);
                    scan.window(range, &mut part, &mut |_| {});
                    Some((part, scan.into_state()))
                };
                Builder::new().spawn_scoped(scope, judge).ok()
            };
            let threads: Vec<_> = parts.iter().map(spawn).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().ok().flatten();
            threads.into_iter().map(|t| t.and_then(join)).collect()
        })
    }
}
