//! `baredump dump`, and what both forms have in common.

use super::files::{open_any, output_failed, read_vmcoreinfo, refuse_input, refuse_special};
use super::messages::Messages;
use super::options::{COMMON, DumpOptions, Format, PROGRESS, REPORT};
use super::output::{self, incomplete_name, is_device};
use super::{Done, Failure, complain, help, print};
use crate::compress::Compression;
use crate::dump::{self, DeadKernel, DumpError, Options, Outcome, Summary};
use crate::filter::DumpLevel;
use crate::format::Out;
use crate::progress::Terminal;
use crate::target::{Limited, Nowhere};
use crate::vmcore::{Vmcore, VmcoreInfo};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Writes under the incomplete name and renames.
pub(super) fn native(args: Vec<OsString>) -> Done {
    let mut options = DumpOptions::native().parse(args)?;
    if options.help {
        return print(help::DUMP);
    }
    if options.version || options.dmesg_only || options.since_clear {
        return Err(Failure::Usage(
            "the log is written by 'baredump dmesg', the version by 'baredump --version'".into(),
        ));
    }
    if options.rearrange {
        return Err(Failure::Usage(
            "-R: a flattened stream is restored by 'baredump rearrange'".into(),
        ));
    }
    if options.split || options.mem_usage {
        return Err(Failure::Usage(
            "--split and --mem-usage belong to the makedumpfile form: leave the word 'dump' out"
                .into(),
        ));
    }
    if options.reassemble {
        return Err(Failure::Usage(
            "--reassemble: name all parts, 'baredump dump -d 0 PART... DUMPFILE' puts them together".into(),
        ));
    }
    if options.check {
        return options.vmcores_and_out().map(drop);
    }
    options.flatten |= options
        .files
        .last()
        .is_some_and(|out| out.as_os_str() == "-");
    let (vmcores, out) = options.vmcores_and_out()?;
    if options.dry_run {
        return Job::open(vmcores, &options)?.rehearse();
    }
    let Some(out) = out else {
        output::refuse_terminal()?;
        return output::to_stdout(&Job::open(vmcores, &options)?);
    };
    if options.flatten && is_device(out) {
        return output::to_device(&Job::open(vmcores, &options)?, out);
    }
    if !options.force && fs::symlink_metadata(out).is_ok() {
        return Err(output_failed(out, &io::ErrorKind::AlreadyExists.into()));
    }
    refuse_special(out)?;
    for vmcore in vmcores {
        refuse_input(vmcore, out)?;
        refuse_input(vmcore, &incomplete_name(out))?;
    }
    output::to_file(&Job::open(vmcores, &options)?, out)
}

/// A vmcore that was opened, and what to make of it.
pub(super) struct Job<'a> {
    pub(super) kernel: DeadKernel,
    compression: Compression,
    began: Instant,
    pub(super) asked: &'a DumpOptions,
}

impl<'a> Job<'a> {
    /// Opens the vmcore; what else was asked about it is answered.
    pub(super) fn open(vmcores: &[PathBuf], asked: &'a DumpOptions) -> Result<Self, Failure> {
        let kernel = understand(vmcores, asked)?;
        let origin = kernel.core().origin().map(|origin| origin.compression);
        let messages = Messages::of(asked);
        messages.debug(&kernel);
        if let Some(address) = asked.vtop {
            messages.translated(&kernel, address);
        }
        Ok(Self {
            kernel,
            // The parts of a dump stay compressed as they are.
            compression: origin
                .filter(|_| asked.reassemble)
                .unwrap_or(asked.compression),
            began: Instant::now(),
            asked,
        })
    }

    /// Does everything but write.
    pub(super) fn rehearse(&self) -> Done {
        let parts = if self.asked.split {
            self.asked.files.len() - 1
        } else {
            1
        };
        let summary = self.write(&vec![&Nowhere as &dyn Out; parts.max(1)], true)?;
        self.report(&summary);
        match summary.outcome {
            Outcome::Complete => Ok(()),
            Outcome::Partial(why) => Err(Failure::Partial(format!(
                "the dump would be partial: {why}"
            ))),
        }
    }

    /// Writes the dump, at the next level when it does not fit; into several files in parts. `sparse` says that what is not written is
    /// zeros.
    pub(super) fn write(&self, outs: &[&dyn Out], sparse: bool) -> Result<Summary, Failure> {
        for warning in self.kernel.warnings() {
            complain(&format!("warning: {warning}"));
        }
        let (last, others) = self
            .asked
            .levels
            .split_last()
            .unwrap_or((&DumpLevel::NONE, &[]));
        for (level, next) in others.iter().zip(&self.asked.levels[1..]) {
            // Each remembers only whether its own dump fitted.
            let limited = self.limited(outs);
            let result = self.write_at_level(*level, &limited, sparse);
            if !limited.iter().any(Limited::was_full) || outs.iter().any(|out| out.is_stream()) {
                return result;
            }
            complain(&format!(
                "there is no room for a dump of level {level}: trying level {next}"
            ));
            for out in outs {
                out.set_len(0)
                    .map_err(|e| Failure::Failed(format!("cannot empty the output: {e}")))?;
            }
        }
        self.write_at_level(*last, &self.limited(outs), sparse)
    }

    fn limited<'o>(&self, outs: &[&'o dyn Out]) -> Vec<Limited<'o>> {
        let limit = self.asked.limit;
        outs.iter().map(|out| Limited::new(*out, limit)).collect()
    }

    fn write_at_level(
        &self,
        level: DumpLevel,
        outs: &[Limited<'_>],
        sparse: bool,
    ) -> Result<Summary, Failure> {
        let (kernel, asked) = (&self.kernel, self.asked);
        let Some(out) = outs.first() else {
            return Err(Failure::Failed("no file is named".into()));
        };
        let options = Options {
            level,
            compression: self.compression,
            // A thread for each part does what a process for each part would.
            threads: match asked.threads {
                0 if outs.len() > 1 => outs.len(),
                threads => threads,
            },
            mmap: asked.mmap,
            strict: asked.strict,
            window: asked.buffer.map(|kib| kib.saturating_mul(8 << 10)),
        };
        let page = kernel.page_size().bytes() as u64;
        let mut terminal = Terminal::new(page, asked.messages & PROGRESS == 0);
        let result = match asked.format {
            Format::Kdump => {
                let outs: Vec<_> = outs.iter().map(|out| out as &dyn Out).collect();
                let block = asked.split_block.saturating_mul(1024).div_ceil(page);
                dump::dump_split(kernel, &options, &outs, block, &mut terminal)
            }
            Format::Elf => dump::dump_elf(kernel, &options, out, &mut terminal),
            Format::Raw => dump::copy_raw(kernel, sparse, out, &mut terminal),
        };
        terminal.end();
        let summary = result.map_err(|e| match e {
            DumpError::Input(_) | DumpError::Nothing | DumpError::NoRaw | DumpError::LiveRaw => {
                Failure::Input(e.to_string())
            }
            e => Failure::Failed(e.to_string()),
        })?;
        for warning in &summary.warnings {
            complain(&format!("warning: {warning}"));
        }
        Ok(summary)
    }

    /// Says what was written, as far as that was asked for.
    pub(super) fn report(&self, summary: &Summary) {
        let messages = self.asked.messages;
        if messages & (COMMON | REPORT) != 0 {
            let seconds = self.began.elapsed().as_secs_f64();
            report(
                summary,
                seconds,
                messages & REPORT != 0 && !self.asked.compatible,
            );
        }
        if self.asked.compatible {
            Messages::of(self.asked).stats(&self.kernel, summary);
        }
    }
}

/// Opens the vmcore and learns what it can of the kernel, by the VMCOREINFO that was named.
pub(super) fn understand(vmcores: &[PathBuf], asked: &DumpOptions) -> Result<DeadKernel, Failure> {
    let core = open_any(vmcores)?.into_vmcore();
    match &asked.vmcoreinfo {
        None => Ok(DeadKernel::understand(core, asked.mmap)),
        Some(file) => with_vmcoreinfo(core, file, asked.mmap),
    }
}

/// The kernel by VMCOREINFO of a file; it must be of this kernel, by the vmcore's own VMCOREINFO and by the kernel's utsname.
/// Where neither says so, it may be any: pages would be judged by the offsets of another kernel.
fn with_vmcoreinfo(core: Vmcore, file: &Path, mmap: bool) -> Result<DeadKernel, Failure> {
    let text = read_vmcoreinfo(file)?;
    let note = core.notes().vmcoreinfo.as_ref();
    let own = note.map(|(_, text)| VmcoreInfo::parse(text));
    let own = own.as_ref().and_then(|info| info.text("OSRELEASE"));
    let own = own.map(str::to_owned);
    let kernel = DeadKernel::understand_by(core, &text, mmap);
    let theirs = kernel.info().text("OSRELEASE").unwrap_or_default();
    let running = kernel.utsname().and_then(|utsname| utsname.field(2));
    let mut releases = own.as_deref().into_iter().chain(running).peekable();
    if releases.peek().is_none() {
        return Err(Failure::Input(format!(
            "{} says {theirs}, but by it no kernel is found in the vmcore: name the VMCOREINFO of the kernel that died",
            file.display()
        )));
    }
    match releases.find(|release| *release != theirs) {
        Some(release) => Err(Failure::Release(format!(
            "{} is of the kernel {theirs}, the vmcore of {release}",
            file.display()
        ))),
        None => Ok(kernel),
    }
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
    use super::super::compatible;
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
        let in_place = compatible::run(args(&["-f"], at("vmcore"), at("vmcore")));
        assert!(matches!(in_place, Err(Failure::Usage(_))));
        assert_eq!(fs::read(at("vmcore")).unwrap(), super::tests::vmcore());
    }

    /// One page of memory and 64 of zeros.
    fn mostly_zeros() -> Vec<u8> {
        let mut bytes = vmcore();
        for at in [98, 106] {
            bytes[at] = 4;
        }
        bytes.resize(66 * 4096, 0);
        bytes
    }

    #[test]
    fn the_first_level_that_fits_is_taken() {
        let (_dir, at) = scene();
        fs::write(at("zeros"), mostly_zeros()).unwrap();
        let options = ["--message-level=0", "--compress=none", "-L64K", "-d0,1,0"];
        native(args(&options, at("zeros"), at("out"))).unwrap();
        let len = fs::metadata(at("out")).unwrap().len();
        assert!((20_000..64 << 10).contains(&len), "{len}");
    }

    #[test]
    fn a_stream_that_never_began_is_no_partial_dump() {
        let (_dir, at) = scene();
        // So much memory that the bitmaps do not fit into a buffer.
        let mut large = vmcore();
        large[108] = 4;
        fs::write(at("large"), large).unwrap();
        let options = ["--message-level=0", "-F"];
        let full = native(args(&options, at("large"), "/dev/full".into()));
        assert!(matches!(full, Err(Failure::Failed(_))), "{full:?}");
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
        let log = |out| compatible::run(args(&["-f", "--dump-dmesg"], at("vmcore"), out));
        assert!(matches!(log(at("fifo")), Err(Failure::Failed(_))));
        assert!(matches!(log(at("log")), Err(Failure::Failed(_))));
        drop(keep);
        assert!(at("fifo").exists() && !at("log").exists());
        let ignored = native(args(&["--dump-dmesg"], at("vmcore"), at("log")));
        assert!(matches!(ignored, Err(Failure::Usage(_))));
        assert!(!at("log").exists());
    }
}
