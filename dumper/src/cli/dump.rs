//! `baredump dump`, and the makedumpfile-compatible form.

use super::files::{create, open, output_failed, sync_directory};
use super::options::{COMMON, DumpOptions, PROGRESS, REPORT};
use super::{Done, Failure, complain, help, print};
use crate::dump::{self, DeadKernel, DumpError, Options, Outcome, Summary};
use crate::progress::Terminal;
use crate::target::FileOut;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

/// Writes under the incomplete name and renames.
pub(super) fn native(args: Vec<OsString>) -> Done {
    let options = DumpOptions::native().parse(args)?;
    if options.help {
        return print(help::DUMP);
    }
    let (vmcore, out) = options.two_files()?;
    if !options.force && fs::symlink_metadata(out).is_ok() {
        return Err(Failure::Usage(format!(
            "{} exists: name another file, or replace it with -f",
            out.display()
        )));
    }
    let kernel = open(vmcore)?;
    let mut incomplete = out.clone().into_os_string();
    incomplete.push("-incomplete");
    let incomplete = PathBuf::from(incomplete);
    let file = create(&incomplete, true).map_err(|e| output_failed(&incomplete, &e))?;
    let result = write(&kernel, &options, &file);
    let summary = match result {
        Ok(summary) => summary,
        Err(failure) => {
            // Nothing useful is in it.
            let _ = fs::remove_file(&incomplete);
            return Err(failure);
        }
    };
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

/// makedumpfile's command line: written in place, its defaults and its exit codes.
pub(super) fn compatible(args: Vec<OsString>) -> Done {
    let options = DumpOptions::compatible().parse(args)?;
    if options.help {
        return print(help::DUMP);
    }
    if options.version {
        return print(concat!(
            "baredump ",
            env!("CARGO_PKG_VERSION"),
            " (makedumpfile-compatible)\n"
        ));
    }
    let (vmcore, out) = options.two_files()?;
    if options.dmesg_only {
        return super::dmesg::save(vmcore, out, options.force);
    }
    let kernel = open(vmcore)?;
    let file = create(out, options.force).map_err(|e| output_failed(out, &e))?;
    let summary = write(&kernel, &options, &file)?;
    match summary.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Partial(why) => Err(Failure::Partial(format!(
            "{} is incomplete: {why}",
            out.display()
        ))),
    }
}

fn write(kernel: &DeadKernel, asked: &DumpOptions, out: &FileOut) -> Result<Summary, Failure> {
    for warning in kernel.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let options = Options {
        level: asked.level,
        compression: asked.compression,
        threads: asked.threads,
        mmap: asked.mmap,
    };
    let mut terminal = Terminal::new(
        kernel.page_size().bytes() as u64,
        asked.messages & PROGRESS == 0,
    );
    let began = Instant::now();
    let result = dump::dump(kernel, &options, out, &mut terminal);
    terminal.end();
    let summary = result.map_err(|e| match e {
        DumpError::Input(_) | DumpError::Nothing => Failure::Input(e.to_string()),
        e => Failure::Failed(e.to_string()),
    })?;
    for warning in &summary.warnings {
        complain(&format!("warning: {warning}"));
    }
    if asked.messages & (COMMON | REPORT) != 0 {
        report(
            &summary,
            began.elapsed().as_secs_f64(),
            asked.messages & REPORT != 0,
        );
    }
    Ok(summary)
}

fn report(summary: &Summary, seconds: f64, detail: bool) {
    let p = &summary.pages;
    let mut text = format!(
        "{} of {} pages kept ({} of zeros), {} bytes in {seconds:.2} s, dump level {}\n",
        p.kept, p.total, p.zero, summary.bytes, summary.level
    );
    if detail {
        let d = &p.dropped;
        text += &format!(
            "dropped: {} cache, {} private cache, {} user, {} free, {} hwpoison, {} offline\n",
            d.cache, d.cache_private, d.user, d.free, d.hwpoison, d.offline
        );
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
