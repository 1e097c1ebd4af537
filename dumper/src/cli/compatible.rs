//! makedumpfile's command line: its options and defaults, its exit codes, files that are written in place.

use super::dump::{Job, understand};
use super::files::{create, discard, output_failed, refuse_input};
use super::messages::Messages;
use super::options::DumpOptions;
use super::{Done, Failure, foreign, help, output, print};
use crate::dump::{Outcome, Summary};
use crate::filter::DumpLevel;
use crate::format::Out;
use crate::kernel::printk::Style;
use crate::target::Nowhere;
use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

pub(super) fn run(args: Vec<OsString>) -> Done {
    let args = args.into_iter().map(|word| match word.to_str() {
        Some(text) => foreign::completed(text).into(),
        None => word,
    });
    let mut options = DumpOptions::compatible().parse(args.collect())?;
    if options.help {
        return print(help::DUMP);
    }
    let messages = Messages::of(&options);
    if options.version {
        return print(&Messages::version());
    }
    messages.ignored(&options.ignored);
    if options.mem_usage {
        options.levels = vec![DumpLevel::MAX];
    }
    let done = work(&options, &messages);
    if !options.check {
        messages.end(done.is_ok(), options.mem_usage);
    }
    done
}

fn work(options: &DumpOptions, messages: &Messages) -> Done {
    if options.rearrange {
        if !options.check {
            super::rearrange::compatible(&options.files, options.force)?;
            messages.saved(&options.files);
        }
        return Ok(());
    }
    if options.split {
        let (vmcore, parts) = options.vmcore_and_parts()?;
        return match (options.check, options.dry_run) {
            (true, _) => Ok(()),
            (_, true) => Job::open(vmcore, options)?.rehearse(),
            _ => split(vmcore, parts, options, messages),
        };
    }
    let (vmcores, out) = options.vmcores_and_out()?;
    if options.check {
        return Ok(());
    }
    if options.dmesg_only {
        return log(vmcores, out, options, messages);
    }
    let job = Job::open(vmcores, options)?;
    if options.mem_usage {
        let summary = job.write(&[&Nowhere as &dyn Out], true)?;
        messages.usage(&job.kernel, &summary);
        return Ok(());
    }
    if options.dry_run {
        return job.rehearse();
    }
    let Some(out) = out else {
        output::refuse_terminal()?;
        output::to_stdout(&job)?;
        messages.saved(&[]);
        return Ok(());
    };
    for vmcore in vmcores {
        refuse_input(vmcore, out)?;
    }
    let file = create(out, options.force).map_err(|e| output_failed(out, &e))?;
    let summary = output::in_place(&job, &file, out).inspect_err(|_| discard(out, &file))?;
    judged(summary, std::slice::from_ref(out), messages)
}

/// `--split`: each file has a stretch of the pages.
fn split(
    vmcore: &[PathBuf],
    parts: &[PathBuf],
    options: &DumpOptions,
    messages: &Messages,
) -> Done {
    let job = Job::open(vmcore, options)?;
    for out in parts {
        vmcore
            .iter()
            .try_for_each(|vmcore| refuse_input(vmcore, out))?;
    }
    let mut files = Vec::new();
    let created = parts.iter().try_for_each(|out| {
        files.push(create(out, options.force).map_err(|e| output_failed(out, &e))?);
        Ok(())
    });
    let written = created.and_then(|()| {
        let mut ids = HashSet::new();
        let metadata = files.iter().filter_map(|file| file.file().metadata().ok());
        let mut regular = metadata.filter(std::fs::Metadata::is_file);
        if !regular.all(|m| ids.insert((m.dev(), m.ino()))) {
            return Err(Failure::Usage(
                "--split: two names are of one file; each part needs its own".into(),
            ));
        }
        output::split(&job, &files)
    });
    let summary = written.inspect_err(|_| {
        parts
            .iter()
            .zip(&files)
            .for_each(|(out, file)| discard(out, file));
    })?;
    judged(summary, parts, messages)
}

/// Tells what is written, and fails when it is partial.
fn judged(summary: Summary, outs: &[PathBuf], messages: &Messages) -> Done {
    match summary.outcome {
        Outcome::Complete => {
            messages.saved(outs);
            Ok(())
        }
        Outcome::Partial(why) => Err(Failure::Partial(format!(
            "{} is incomplete: {why}",
            super::files::names(outs)
        ))),
    }
}

/// `--dump-dmesg`: with -F to standard output.
fn log(
    vmcores: &[PathBuf],
    out: Option<&PathBuf>,
    options: &DumpOptions,
    messages: &Messages,
) -> Done {
    let style = Style {
        since_clear: options.since_clear,
        ..Style::default()
    };
    let kernel = understand(vmcores, options)?;
    messages.debug(&kernel);
    let Some(out) = out else {
        super::dmesg::show(style, &kernel)?;
        messages.saved_log(None);
        return Ok(());
    };
    for vmcore in vmcores {
        refuse_input(vmcore, out)?;
    }
    super::dmesg::save_as(style, &kernel, out, options.force)?;
    messages.saved_log(Some(out));
    Ok(())
}
