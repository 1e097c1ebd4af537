//! The copy: chunks of kept pages are read, compressed and appended, by this thread or by workers.
//!
//! A chunk is a run of kept pages that is compressed on its own. Chunks are appended in pfn order whoever compressed them, so the
//! file is the same for any number of threads. Memory is one buffer per chunk under way, and their number is fixed.

use super::windows::Windows;
use super::{DumpError, Observer, Options};
use crate::addr::{PageSize, Pfn};
use crate::compress::{self, Codec, Compression};
use crate::filter::{Bitmap, DumpLevel};
use crate::format::kdump::{PageDesc, Place, Writer};
use crate::vmcore::{ReadFault, Reader, Vmcore};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// Uncompressed bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Bytes that are read at once: a run of kept pages, and no more than stays in the cache until it is compressed.
const BATCH: usize = 64 << 10;
/// Buffers per worker: one being filled, one waiting to be written.
const BUFFERS: usize = 2;
/// More threads than this never pay.
const MAX_THREADS: usize = 64;

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// Pages whose descriptors were written.
    pub(super) pages: u64,
    /// Pages of zeros among them.
    pub(super) zero: u64,
    /// Pages that could not be read.
    pub(super) unreadable: u64,
    /// The output failed here.
    pub(super) failed: Option<io::Error>,
}

/// A chunk on its way: pages as they will be in the file.
struct Chunk {
    number: u64,
    places: Vec<Place>,
    data: Vec<u8>,
    used: usize,
    zero: u64,
    unreadable: u64,
}

/// Hands out runs of kept pages.
struct Runs<'a> {
    kept: &'a Bitmap,
    next: u64,
    /// Pages from here on are another part's.
    end: u64,
    number: u64,
    per_chunk: u64,
}

impl Runs<'_> {
    /// Number of the chunk and its first pfn; `None` after the last.
    fn take(&mut self) -> Option<(u64, u64)> {
        let next = |pfn| self.kept.next(pfn).filter(|pfn| *pfn < self.end);
        let first = next(self.next)?;
        let mut pfn = first;
        for _ in 1..self.per_chunk {
            match next(pfn + 1) {
                Some(next) => pfn = next,
                None => break,
            }
        }
        self.next = pfn + 1;
        self.number += 1;
        Some((self.number - 1, first))
    }
}

/// One thread's tools.
struct Worker<'a> {
    reader: Reader<'a>,
    page_size: PageSize,
    codec: Option<Box<dyn Codec>>,
    flag: u32,
    share_zero: bool,
    /// A page of zeros, compressed: most of what is free.
    zeros: Vec<u8>,
    per_chunk: usize,
    /// Pages from here on are another part's.
    end: u64,
    /// Room for [`BATCH`], at least for a page.
    pages: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(job: &Job<'a>) -> Result<Self, DumpError> {
        let (options, page_size) = (job.options, job.page_size);
        let bytes = page_size.bytes();
        let mut codec = compress::codec(options.compression, bytes);
        if codec.is_none() && options.compression != Compression::None {
            return Err(DumpError::Memory("the compressor"));
        }
        // Room to read pages into holds only zeros yet.
        let pages = vec![0; BATCH.max(bytes)];
        let share_zero = job.level.shares_zero_pages();
        let unshared = codec.as_mut().filter(|_| !share_zero);
        let zeros = unshared.map_or_else(Vec::new, |codec| {
            let mut room = vec![0; codec.bound(bytes)];
            let len = codec.compress(&pages[..bytes], &mut room).unwrap_or(0);
            room[..len].to_vec()
        });
        Ok(Self {
            reader: job.core.reader(options.mmap),
            page_size,
            codec,
            flag: options.compression.flag(),
            share_zero,
            zeros,
            per_chunk: CHUNK / bytes,
            end: job.pfns.end,
            pages,
        })
    }

    fn buffer(&self) -> Result<Chunk, DumpError> {
        let bytes = self.page_size.bytes();
        let spare = self.codec.as_ref().map_or(bytes, |c| c.bound(bytes));
        let memory = |_| DumpError::Memory("the page buffers");
        let mut data = Vec::new();
        data.try_reserve_exact(CHUNK + spare).map_err(memory)?;
        data.resize(CHUNK + spare, 0);
        let mut places = Vec::new();
        places.try_reserve_exact(self.per_chunk).map_err(memory)?;
        Ok(Chunk {
            number: 0,
            places,
            data,
            used: 0,
            zero: 0,
            unreadable: 0,
        })
    }

    /// Fills `chunk` with the run of kept pages that begins at `first`.
    fn fill(&mut self, kept: &Bitmap, first: u64, chunk: &mut Chunk) {
        chunk.places.clear();
        (chunk.used, chunk.zero, chunk.unreadable) = (0, 0, 0);
        let size = self.page_size.bytes();
        let mut pages = std::mem::take(&mut self.pages);
        let mut pfn = Some(first);
        while let Some(this) = pfn.filter(|pfn| *pfn < self.end) {
            let room = (pages.len() / size).min(self.per_chunk - chunk.places.len());
            if room == 0 {
                break;
            }
            let end = this.saturating_add(room as u64).min(self.end);
            let end = kept.next_clear_below(this, end);
            let count = usize::try_from(end - this).unwrap_or(1);
            let run = &mut pages[..count * size];
            let whole = self.reader.read_run(Pfn::new(this), self.page_size, run);
            for (page, pfn) in run.chunks_exact_mut(size).zip(this..) {
                let place = if whole || self.read_page(pfn, page) {
                    self.place(page, chunk)
                } else {
                    chunk.unreadable += 1;
                    Place::Lost
                };
                chunk.places.push(place);
            }
            pfn = kept.next(end);
        }
        self.pages = pages;
    }

    /// `false` when the page is lost.
    fn read_page(&self, pfn: u64, page: &mut [u8]) -> bool {
        let read = self.reader.read_page(Pfn::new(pfn), self.page_size, page);
        // A page that is in no segment cannot be in the bitmap; anything else is a page that is lost.
        debug_assert!(!matches!(&read, Err(e) if matches!(e.why, ReadFault::Hole)));
        read.is_ok()
    }

    fn place(&mut self, page: &[u8], chunk: &mut Chunk) -> Place {
        let zero = is_zero(page);
        if self.share_zero && zero {
            chunk.zero += 1;
            return Place::Zero;
        }
        let start = chunk.used;
        let room = &mut chunk.data[start..];
        let compressed = match &mut self.codec {
            Some(_) if zero && !self.zeros.is_empty() => {
                room[..self.zeros.len()].copy_from_slice(&self.zeros);
                Some(self.zeros.len())
            }
            Some(codec) => codec.compress(page, room),
            None => None,
        };
        let (size, flags) = match compressed {
            Some(size) => (size, self.flag),
            None => {
                room[..page.len()].copy_from_slice(page);
                (page.len(), 0)
            }
        };
        chunk.used += size;
        let fits = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place::Data {
            offset: fits(start),
            size: fits(size),
            flags,
        }
    }
}

/// Whether every byte is zero; most pages that are not show it in their first words. Written so that it is fast however the program
/// is optimised: every page goes through it.
pub(super) fn is_zero(page: &[u8]) -> bool {
    let (blocks, rest) = page.as_chunks::<64>();
    let zero = |block: &[u8; 64]| {
        let (words, _) = block.as_chunks::<16>();
        let word = |n: usize| words.get(n).map_or(0, |word| u128::from_ne_bytes(*word));
        word(0) | word(1) | word(2) | word(3) == 0
    };
    blocks.iter().all(zero) && rest.iter().all(|byte| *byte == 0)
}

/// Appends chunks in order and counts.
struct Appender<'w, 'o, 'p> {
    writer: &'w mut Writer<'o>,
    descs: Vec<PageDesc>,
    copied: Copied,
    total: u64,
    observer: &'p mut dyn Observer,
}

impl Appender<'_, '_, '_> {
    fn append(&mut self, chunk: &Chunk) {
        if let Err(error) =
            self.writer
                .append(&chunk.places, &chunk.data[..chunk.used], &mut self.descs)
        {
            self.copied.failed = Some(error);
            return;
        }
        self.copied.pages += chunk.places.len() as u64;
        self.copied.zero += chunk.zero;
        self.copied.unreadable += chunk.unreadable;
        self.observer
            .progress("copy", self.copied.pages, self.total);
    }
}

/// What is to be copied and how.
pub(super) struct Job<'a> {
    pub(super) core: &'a Vmcore,
    pub(super) page_size: PageSize,
    /// The level in force.
    pub(super) level: DumpLevel,
    pub(super) options: &'a Options,
    /// Worker threads.
    pub(super) threads: usize,
    /// The pages of this file.
    pub(super) pfns: Range<u64>,
    /// Kept pages in all windows.
    pub(super) total: u64,
}

/// Copies the kept pages of `job` and adds them to what was `copied` into other parts. The bitmaps are read back from `maps` where
/// that is not the writer. A failing output ends the copy; what is written by then counts.
pub(super) fn copy(
    job: &Job<'_>,
    windows: &mut Windows<'_>,
    maps: Option<&Writer<'_>>,
    writer: &mut Writer<'_>,
    mut copied: Copied,
    observer: &mut dyn Observer,
) -> Result<Copied, DumpError> {
    for number in 0..windows.count() {
        if copied.failed.is_some() {
            break;
        }
        match windows.load(number, maps.unwrap_or(writer), observer) {
            Ok(kept) => copied = copy_window(job, kept, writer, observer, copied)?,
            Err(error) => copied.failed = Some(error),
        }
    }
    Ok(copied)
}

fn copy_window(
    job: &Job<'_>,
    kept: &Bitmap,
    writer: &mut Writer<'_>,
    observer: &mut dyn Observer,
    copied: Copied,
) -> Result<Copied, DumpError> {
    let per_chunk = CHUNK / job.page_size.bytes();
    let next = kept.next(job.pfns.start).filter(|p| *p < job.pfns.end);
    let Some(next) = next else {
        return Ok(copied);
    };
    let runs = Runs {
        kept,
        next,
        end: job.pfns.end,
        number: 0,
        per_chunk: per_chunk as u64,
    };
    let appender = Appender {
        writer,
        descs: Vec::with_capacity(per_chunk),
        copied,
        total: job.total,
        observer,
    };
    let threads = job.threads.min(MAX_THREADS);
    let workers: Result<Vec<_>, _> = (0..threads.max(1)).map(|_| Worker::new(job)).collect();
    let workers = workers?;
    if threads == 0 {
        alone(kept, runs, workers, appender)
    } else {
        together(kept, runs, workers, appender)
    }
}

fn alone(
    kept: &Bitmap,
    mut runs: Runs<'_>,
    workers: Vec<Worker<'_>>,
    mut appender: Appender<'_, '_, '_>,
) -> Result<Copied, DumpError> {
    let Some(mut worker) = workers.into_iter().next() else {
        return Ok(appender.copied);
    };
    let mut chunk = worker.buffer()?;
    while let Some((_, first)) = runs.take() {
        worker.fill(kept, first, &mut chunk);
        appender.append(&chunk);
        if appender.copied.failed.is_some() {
            break;
        }
    }
    Ok(appender.copied)
}

/// Workers take an empty buffer first and a run after it: the oldest run under way always has a buffer, so nobody waits for
/// somebody who waits for him.
fn together(
    kept: &Bitmap,
    runs: Runs<'_>,
    workers: Vec<Worker<'_>>,
    mut appender: Appender<'_, '_, '_>,
) -> Result<Copied, DumpError> {
    let (empty_tx, empty_rx) = mpsc::channel();
    let (full_tx, full_rx) = mpsc::channel();
    let buffers = workers.len() * BUFFERS;
    for worker in workers.iter().cycle().take(buffers) {
        let _ = empty_tx.send(worker.buffer()?);
    }
    let count = workers.len();
    let (source, pool) = (Mutex::new((empty_rx, runs)), Mutex::new(workers));
    let started = std::thread::scope(|scope| {
        let mut started = 0;
        for _ in 0..count {
            let (source, pool, full) = (&source, &pool, full_tx.clone());
            let thread = Builder::new().spawn_scoped(scope, move || {
                let worker = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
                if let Some(worker) = worker {
                    work(worker, kept, source, &full);
                }
            });
            // The system gives no more threads: those that run do it.
            if thread.is_err() {
                break;
            }
            started += 1;
        }
        drop(full_tx);
        in_order(&full_rx, empty_tx, &mut appender);
        started
    });
    if started == 0 {
        let (_, runs) = source.into_inner().unwrap_or_else(PoisonError::into_inner);
        let workers = pool.into_inner().unwrap_or_else(PoisonError::into_inner);
        return alone(kept, runs, workers, appender);
    }
    Ok(appender.copied)
}

fn work(
    mut worker: Worker<'_>,
    kept: &Bitmap,
    source: &Mutex<(Receiver<Chunk>, Runs<'_>)>,
    full: &Sender<Chunk>,
) {
    loop {
        let (mut chunk, first) = {
            let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(mut chunk) = source.0.recv() else {
                return;
            };
            let Some((number, first)) = source.1.take() else {
                return;
            };
            chunk.number = number;
            (chunk, first)
        };
        worker.fill(kept, first, &mut chunk);
        if full.send(chunk).is_err() {
            return;
        }
    }
}

/// Appends chunks by number and gives their buffers back. Ends when all workers have, or the output failed: then no buffer goes
/// back and the workers run dry.
fn in_order(full: &Receiver<Chunk>, empty: Sender<Chunk>, appender: &mut Appender<'_, '_, '_>) {
    let mut waiting: VecDeque<Option<Chunk>> = VecDeque::new();
    let mut next = 0;
    let mut empty = Some(empty);
    for chunk in full {
        let place = usize::try_from(chunk.number - next).unwrap_or(usize::MAX);
        if place >= waiting.len() {
            waiting.resize_with(place + 1, || None);
        }
        waiting[place] = Some(chunk);
        while let Some(Some(_)) = waiting.front() {
            let Some(Some(chunk)) = waiting.pop_front() else {
                break;
            };
            next += 1;
            if appender.copied.failed.is_some() {
                continue;
            }
            appender.append(&chunk);
            if appender.copied.failed.is_some() {
                empty = None;
            } else if let Some(empty) = &empty {
                let _ = empty.send(chunk);
            }
        }
    }
}
