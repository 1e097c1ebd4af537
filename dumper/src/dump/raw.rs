//! A raw copy: the vmcore byte for byte.

use super::{DeadKernel, DumpError, Observer, Outcome, PageCounts, Summary, copy::is_zero};
use crate::filter::{Dropped, DumpLevel};
use crate::format::{In, Out};
use std::io;

/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;
/// What is tried when a chunk cannot be read, and what may become a hole.
const BLOCK: usize = 4096;

/// Copies the vmcore. With `sparse`, zeros are not written: the output must be new. What cannot be read is zeros and makes the copy
/// a partial one.
///
/// # Errors
/// When the vmcore is no ELF file, or the output fails at the first byte.
pub fn copy_raw(
    kernel: &DeadKernel,
    sparse: bool,
    out: &dyn Out,
    observer: &mut dyn Observer,
) -> Result<Summary, DumpError> {
    let core = kernel.core();
    let Some(file) = core.file() else {
        return Err(DumpError::NoRaw);
    };
    if core.notes().is_process {
        return Err(DumpError::LiveRaw);
    }
    let (len, mut buf) = (file.len(), vec![0; CHUNK]);
    let page = kernel.page_size().bytes() as u64;
    let (mut at, mut unreadable, mut failed) = (0, 0, None);
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(CHUNK).min(CHUNK);
        unreadable += read(file, at, &mut buf[..part]);
        match write(out, at, &buf[..part], sparse) {
            Err(e) if at == 0 => return Err(DumpError::Output(e)),
            Err(e) => {
                failed = Some(format!("writing failed after {at} of {len} bytes: {e}"));
                break;
            }
            Ok(()) => at += part as u64,
        }
        observer.progress("copy", at / page, len / page);
    }
    let reason = failed
        .or_else(|| {
            Some(format!(
                "ending the file failed: {}",
                out.set_len(at).err()?
            ))
        })
        .or_else(|| Some(format!("syncing failed: {}", out.sync().err()?)))
        .or_else(|| {
            let why = core.warnings().join("; ");
            core.is_truncated()
                .then(|| format!("the vmcore is truncated: {why}"))
        })
        .or_else(|| (unreadable != 0).then(|| format!("{unreadable} pages could not be read")));
    let pages = core.extents().iter().map(|e| e.end - e.start).sum::<u64>() / page;
    Ok(Summary {
        outcome: reason.map_or(Outcome::Complete, Outcome::Partial),
        pages: PageCounts {
            total: pages,
            kept: pages,
            zero: 0,
            unreadable,
            dropped: Dropped::default(),
        },
        bytes: at,
        crc32: None,
        level: DumpLevel::NONE,
        warnings: Vec::new(),
    })
}

/// Fills `buf`, where that fails block by block, and says how many blocks could not be read.
fn read(file: &dyn In, at: u64, buf: &mut [u8]) -> u64 {
    if file.read_at(at, buf).is_ok() {
        return 0;
    }
    let mut unreadable = 0;
    for (block, offset) in buf.chunks_mut(BLOCK).zip((at..).step_by(BLOCK)) {
        if file.read_at(offset, block).is_err() {
            block.fill(0);
            unreadable += 1;
        }
    }
    unreadable
}

/// Writes the runs of blocks that are not zeros.
fn write(out: &dyn Out, at: u64, buf: &[u8], sparse: bool) -> io::Result<()> {
    if !sparse {
        return out.write_at(at, buf);
    }
    let mut from = None;
    for (number, block) in buf.chunks(BLOCK).enumerate() {
        let start = number * BLOCK;
        if !is_zero(block) {
            from.get_or_insert(start);
        } else if let Some(run) = from.take() {
            out.write_at(at + run as u64, &buf[run..start])?;
        }
    }
    match from {
        Some(run) => out.write_at(at + run as u64, &buf[run..]),
        None => Ok(()),
    }
}
