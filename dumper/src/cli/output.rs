//! Where a dump is written: a file under its incomplete name, a file or device in place, or standard output.

use super::Failure;
use super::dump::Job;
use super::files::{create, discard, make_way, output_failed, sync_directory};
use crate::dump::{Outcome, Summary};
use crate::format::Out;
use crate::format::flat::FlatOut;
use crate::format::frames::{FrameCodec, FrameOut};
use crate::target::FileOut;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The name that a file has while it is written.
pub(super) fn incomplete_name(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push("-incomplete");
    name.into()
}

/// Whether `path` is a device or a pipe, on which a stream is written in place.
pub(super) fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| {
        let kind = m.file_type();
        kind.is_block_device() || kind.is_char_device() || kind.is_fifo()
    })
}

/// Writes a new file: under its incomplete name, which it keeps when the dump is partial.
pub(super) fn to_file(job: &Job<'_>, out: &Path) -> Result<(), Failure> {
    let incomplete = incomplete_name(out);
    // What is there may be a partial dump that somebody kept.
    let file = make_way(&incomplete, job.asked.force)
        .and_then(|()| create(&incomplete, false))
        .map_err(|e| output_failed(&incomplete, &e))?;
    let summary = in_place(job, &file, &incomplete).inspect_err(|_| discard(&incomplete, &file))?;
    file.file()
        .sync_all()
        .map_err(|e| output_failed(&incomplete, &e))?;
    if let Outcome::Partial(why) = &summary.outcome {
        return Err(Failure::Partial(format!(
            "partial dump kept as {}: {why}",
            incomplete.display()
        )));
    }
    fs::rename(&incomplete, out).map_err(|e| output_failed(out, &e))?;
    sync_directory(out).map_err(|e| output_failed(out, &e))
}

/// Writes into an opened file.
pub(super) fn in_place(job: &Job<'_>, file: &FileOut, name: &Path) -> Result<Summary, Failure> {
    if job.asked.flatten {
        let to = file.file().try_clone();
        let to = to.map_err(|e| output_failed(name, &e))?;
        return stream(job, to, &name.display().to_string());
    }
    // A device has no holes: what it held before would show.
    let sparse = file.file().metadata().is_ok_and(|m| m.is_file());
    let summary = job.write(&[file], sparse)?;
    job.report(&summary);
    Ok(summary)
}

/// Writes the parts of a split dump into opened files.
pub(super) fn split(job: &Job<'_>, files: &[FileOut]) -> Result<Summary, Failure> {
    let outs: Vec<_> = files.iter().map(|file| file as &dyn Out).collect();
    let summary = job.write(&outs, true)?;
    job.report(&summary);
    Ok(summary)
}

/// Writes a stream to a device or pipe. A block device that is mounted, or part of something that is, is refused by the kernel.
pub(super) fn to_device(job: &Job<'_>, out: &Path) -> Result<(), Failure> {
    let block = fs::metadata(out).is_ok_and(|m| m.file_type().is_block_device());
    let flags = if block { libc::O_EXCL } else { 0 };
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(out)
        .map_err(|e| output_failed(out, &e))?;
    let to = file.try_clone().map_err(|e| output_failed(out, &e))?;
    let summary = stream(job, to, &out.display().to_string())?;
    match file.sync_all() {
        // A pipe has nothing to sync.
        Err(e) if e.kind() != ErrorKind::InvalidInput => return Err(output_failed(out, &e)),
        _ => {}
    }
    judged(summary, &out.display().to_string())
}

/// Writes a stream to standard output.
pub(super) fn to_stdout(job: &Job<'_>) -> Result<(), Failure> {
    const NAME: &str = "standard output";
    let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let file = file.map_err(|e| output_failed(Path::new(NAME), &e))?;
    judged(stream(job, file, NAME)?, NAME)
}

/// Refuses to fill a terminal with a dump.
pub(super) fn refuse_terminal() -> Result<(), Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "standard output is a terminal: redirect it, or name a DUMPFILE".into(),
        ));
    }
    Ok(())
}

fn judged(summary: Summary, name: &str) -> Result<(), Failure> {
    match summary.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Partial(why) => Err(Failure::Partial(format!(
            "partial dump written to {name}: {why}"
        ))),
    }
}

/// What is under the records.
enum Sink {
    Plain(File),
    Frames(FrameOut<File>),
}

impl Sink {
    fn new(to: File, codec: Option<FrameCodec>) -> Result<Self, Failure> {
        let Some(codec) = codec else {
            return Ok(Self::Plain(to));
        };
        let frames = FrameOut::new(to, codec).ok_or_else(|| {
            Failure::Failed(format!("not enough memory for the {} stream", codec.name()))
        })?;
        Ok(Self::Frames(frames))
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Frames(frames) => frames.finish().map(|_| ()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Frames(frames) => frames.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Frames(frames) => frames.flush(),
        }
    }
}

/// Writes a flattened stream. A stream that cannot be ended is a partial dump; when nothing of a dump came to be, or nobody reads
/// it, it is none at all.
fn stream(job: &Job<'_>, to: File, name: &str) -> Result<Summary, Failure> {
    let cut = |e: &io::Error| match e.kind() {
        ErrorKind::BrokenPipe => Failure::Unread(format!(
            "cannot write {name}: {e}: nobody reads it any more, the dump is cut off"
        )),
        _ => Failure::Failed(format!("cannot write {name}: {e}, the dump is cut off")),
    };
    let out = FlatOut::new(Sink::new(to, job.asked.frames)?).map_err(|e| cut(&e))?;
    let result = job.write(&[&out], true);
    let end = match out.failed() {
        Some(error) => Err(error),
        // No dump: what is there must not look like one.
        None if result.is_err() => return result,
        None => out.finish().and_then(Sink::finish),
    };
    let summary = match (result, end) {
        (result, Ok(())) => result?,
        (Ok(mut summary), Err(error)) if error.kind() != ErrorKind::BrokenPipe => {
            if summary.outcome == Outcome::Complete {
                let reason = format!("ending the stream failed: {error}");
                summary.outcome = Outcome::Partial(reason);
            }
            summary
        }
        (_, Err(error)) => return Err(cut(&error)),
    };
    job.report(&summary);
    Ok(summary)
}
