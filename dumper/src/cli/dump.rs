//! `baredump dump`, and the makedumpfile-compatible form.

use super::files::{create, discard, open_all, output_failed, refuse_input, refuse_special};
use super::options::{COMMON, DumpOptions, Format, PROGRESS, REPORT};
use super::output::{self, incomplete_name, is_device};
use super::{Done, Failure, complain, help, print};
use crate::dump::{self, DeadKernel, DumpError, Options, Outcome, Summary};
use crate::format::Out;
use crate::progress::Terminal;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::time::Instant;

/// Writes under the incomplete name and renames.
pub(super) fn native(args: Vec<OsString>) -> Done {
    let mut options = DumpOptions::native().parse(args)?;
    if options.help {
        return print(help::DUMP);
    }
    if options.version || options.dmesg_only {
        return Err(Failure::Usage(
            "the log is written by 'baredump dmesg', the version by 'baredump --version'".into(),
        ));
    }
    if options.rearrange {
        return Err(Failure::Usage(
            "-R: a flattened stream is restored by 'baredump rearrange'".into(),
        ));
    }
    options.flatten |= options
        .files
        .last()
        .is_some_and(|out| out.as_os_str() == "-");
    let (vmcores, out) = options.vmcores_and_out()?;
    let Some(out) = out else {
        output::refuse_terminal()?;
        return output::to_stdout(&Job::new(open_all(vmcores)?, &options));
    };
    if options.flatten && is_device(out) {
        return output::to_device(&Job::new(open_all(vmcores)?, &options), out);
    }
    if !options.force && fs::symlink_metadata(out).is_ok() {
        return Err(output_failed(out, &io::ErrorKind::AlreadyExists.into()));
    }
    refuse_special(out)?;
    for vmcore in vmcores {
        refuse_input(vmcore, out)?;
        refuse_input(vmcore, &incomplete_name(out))?;
    }
    output::to_file(&Job::new(open_all(vmcores)?, &options), out)
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
    if options.rearrange {
        return super::rearrange::compatible(&options.files, options.force);
    }
    let (vmcores, out) = options.vmcores_and_out()?;
    if options.dmesg_only {
        return match out {
            Some(out) => super::dmesg::save(vmcores, out, options.force),
            None => super::dmesg::run(vmcores.iter().map(OsString::from).collect()),
        };
    }
    let Some(out) = out else {
        output::refuse_terminal()?;
        return output::to_stdout(&Job::new(open_all(vmcores)?, &options));
    };
    for vmcore in vmcores {
        refuse_input(vmcore, out)?;
    }
    let job = Job::new(open_all(vmcores)?, &options);
    let file = create(out, options.force).map_err(|e| output_failed(out, &e))?;
    let summary = output::in_place(&job, &file, out).inspect_err(|_| discard(out, &file))?;
    match summary.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Partial(why) => Err(Failure::Partial(format!(
            "{} is incomplete: {why}",
            out.display()
        ))),
    }
}

/// A vmcore that was opened, and what to make of it.
pub(super) struct Job<'a> {
    kernel: DeadKernel,
    began: Instant,
    pub(super) asked: &'a DumpOptions,
}

impl<'a> Job<'a> {
    fn new(kernel: DeadKernel, asked: &'a DumpOptions) -> Self {
        Self {
            kernel,
            began: Instant::now(),
            asked,
        }
    }

    /// Writes the dump; `sparse` says that what is not written to `out` is zeros.
    pub(super) fn write(&self, out: &dyn Out, sparse: bool) -> Result<Summary, Failure> {
        write(&self.kernel, self.asked, out, sparse)
    }

    /// Says what was written, as far as that was asked for.
    pub(super) fn report(&self, summary: &Summary) {
        let messages = self.asked.messages;
        if messages & (COMMON | REPORT) != 0 {
            let seconds = self.began.elapsed().as_secs_f64();
            report(summary, seconds, messages & REPORT != 0);
        }
    }
}

fn write(
    kernel: &DeadKernel,
    asked: &DumpOptions,
    out: &dyn Out,
    sparse: bool,
) -> Result<Summary, Failure> {
    for warning in kernel.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let options = Options {
        level: asked.level,
        compression: asked.compression,
        threads: asked.threads,
        mmap: asked.mmap,
        strict: asked.strict,
    };
    let mut terminal = Terminal::new(
        kernel.page_size().bytes() as u64,
        asked.messages & PROGRESS == 0,
    );
    let result = match asked.format {
        Format::Kdump => dump::dump(kernel, &options, out, &mut terminal),
        Format::Elf => dump::dump_elf(kernel, &options, out, &mut terminal),
        Format::Raw => dump::copy_raw(kernel, sparse, out, &mut terminal),
    };
    terminal.end();
    let summary = result.map_err(|e| match e {
        DumpError::Input(_) | DumpError::Nothing | DumpError::NoRaw => {
            Failure::Input(e.to_string())
        }
        e => Failure::Failed(e.to_string()),
    })?;
    for warning in &summary.warnings {
        complain(&format!("warning: {warning}"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// One page of memory without VMCOREINFO.
    fn vmcore() -> Vec<u8> {
        let mut bytes = vec![7; 8192];
        bytes[..120].fill(0);
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        for (at, value) in [(16, 4), (18, 62), (32, 64), (54, 56), (56, 1), (64, 1)] {
            bytes[at] = value;
        }
        for at in [72, 88, 96, 104] {
            bytes[at + 1] = 0x10;
        }
        bytes
    }

    fn scene() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_owned();
        fs::write(base.join("vmcore"), vmcore()).unwrap();
        (dir, move |name: &str| base.join(name))
    }

    fn args(options: &[&str], vmcore: PathBuf, out: PathBuf) -> Vec<OsString> {
        let options = options.iter().map(OsString::from);
        options.chain([vmcore.into(), out.into()]).collect()
    }

    #[test]
    fn nothing_that_is_there_is_lost_or_followed() {
        let (_dir, at) = scene();
        fs::write(at("precious"), "precious").unwrap();
        symlink(at("precious"), at("out-incomplete")).unwrap();
        let quiet = "--message-level=0";
        let dump =
            |options: &[&str], vmcore: &str, out: &str| native(args(options, at(vmcore), at(out)));
        assert!(matches!(
            dump(&[quiet], "vmcore", "out"),
            Err(Failure::Usage(_))
        ));
        dump(&[quiet, "-f"], "vmcore", "out").unwrap();
        assert_eq!(fs::read(at("precious")).unwrap(), b"precious");
        assert!(fs::symlink_metadata(at("out")).unwrap().is_file());
        fs::create_dir(at("dir")).unwrap();
        fs::copy(at("vmcore"), at("in-incomplete")).unwrap();
        for (vmcore, out) in [
            ("vmcore", "dir"),
            ("vmcore", "vmcore"),
            ("in-incomplete", "in"),
        ] {
            let refused = dump(&[quiet, "-f"], vmcore, out);
            assert!(matches!(refused, Err(Failure::Usage(_))), "{out}");
        }
        let in_place = compatible(args(&["-f"], at("vmcore"), at("vmcore")));
        assert!(matches!(in_place, Err(Failure::Usage(_))));
        assert_eq!(fs::read(at("vmcore")).unwrap(), super::tests::vmcore());
    }

    #[test]
    fn what_fails_leaves_no_file_and_takes_no_device() {
        let (_dir, at) = scene();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let keep = fs::File::options()
            .read(true)
            .write(true)
            .open(at("fifo"))
            .unwrap();
        let log = |out| compatible(args(&["-f", "--dump-dmesg"], at("vmcore"), out));
        assert!(matches!(log(at("fifo")), Err(Failure::Failed(_))));
        assert!(matches!(log(at("log")), Err(Failure::Failed(_))));
        drop(keep);
        assert!(at("fifo").exists() && !at("log").exists());
        let ignored = native(args(&["--dump-dmesg"], at("vmcore"), at("log")));
        assert!(matches!(ignored, Err(Failure::Usage(_))));
        assert!(!at("log").exists());
    }
}
