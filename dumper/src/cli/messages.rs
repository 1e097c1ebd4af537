//! What the makedumpfile-compatible form says, on the streams where scripts read makedumpfile's: standard output, or standard error
//! when that is the dump's. Lines that scripts look for have its words and numbers.
//!
//! Upstream: makedumpfile 1.7.9.

use super::options::{COMMON, DEBUG, DumpOptions, ERROR, REPORT};
use super::{complain, harmless};
use crate::addr::VirtAddr;
use crate::arch::Arch;
use crate::dump::{DeadKernel, Summary};
use crate::filter;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The release whose options and defaults these are.
const RELEASE: &str = "makedumpfile: version 1.7.9 (released on 20 Apr 2026)";

/// Where messages go, and which.
pub(super) struct Messages {
    level: u32,
    to_stderr: bool,
}

impl Messages {
    pub(super) fn of(options: &DumpOptions) -> Self {
        Self {
            level: options.messages,
            to_stderr: options.flatten || !options.compatible,
        }
    }

    /// `-v`.
    pub(super) fn version() -> String {
        format!(
            "{RELEASE}, by baredump {}\nlzo\tenabled\nsnappy\tenabled\nzstd\tenabled\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// A stream that nobody reads must not cost the dump.
    fn say(&self, bit: u32, text: &str) {
        if self.level & bit == 0 {
            return;
        }
        let _ = match self.to_stderr {
            true => io::stderr().write_all(text.as_bytes()),
            false => io::stdout().write_all(text.as_bytes()),
        };
    }

    /// Options that were taken and are not done.
    pub(super) fn ignored(&self, warnings: &[String]) {
        for warning in warnings.iter().filter(|_| self.level & ERROR != 0) {
            complain(&format!("warning: {warning}"));
        }
    }

    /// The names of what was written; standard output has none.
    pub(super) fn saved(&self, outs: &[PathBuf]) {
        let text = match outs {
            [] => "\nThe dumpfile is saved to STDOUT.\n".into(),
            [out] => format!("\nThe dumpfile is saved to {}.\n", out.display()),
            [outs @ .., last] => {
                let names = super::files::names(outs);
                format!(
                    "\nThe dumpfiles are saved to {names}, and {}.\n",
                    last.display()
                )
            }
        };
        self.say(COMMON, &text);
    }

    pub(super) fn saved_log(&self, out: Option<&PathBuf>) {
        let name = out.map_or(Path::new("STDOUT"), |out| out).display();
        self.say(COMMON, &format!("\nThe dmesg log is saved to {name}.\n"));
    }

    /// The last line; a table speaks for itself.
    pub(super) fn end(&self, good: bool, table: bool) {
        match (good, table) {
            (false, _) => self.say(COMMON, "\nmakedumpfile Failed.\n"),
            (true, false) => self.say(COMMON, "\nmakedumpfile Completed.\n"),
            (true, true) => self.say(COMMON, "\n"),
        }
    }

    /// What is known of the vmcore, for whoever looks for a fault; the vmcore's own VMCOREINFO in full.
    pub(super) fn debug(&self, kernel: &DeadKernel) {
        if self.level & DEBUG == 0 {
            return;
        }
        let core = kernel.core();
        let mut text = format!("{RELEASE}\n");
        let arch = kernel.arch().map_or("unknown architecture", Arch::name);
        let base = kernel.kernel_base().map(|base| base.to_string());
        let _ = writeln!(
            text,
            "{arch}: pages of {} bytes, {} segments, {} VMCOREINFO keys, kernel memory from {}",
            kernel.page_size().bytes(),
            core.segments().len(),
            kernel.info().len(),
            base.as_deref().unwrap_or("?"),
        );
        for segment in core.segments() {
            let _ = writeln!(
                text,
                "segment at physical {}, virtual {:#x}, file offset {:#x}: {:#x} bytes, {:#x} in the file",
                segment.start, segment.virt, segment.offset, segment.mem_size, segment.file_size
            );
        }
        if let Some(origin) = core.origin() {
            let _ = writeln!(text, "  dump_level       : {}", origin.level);
        }
        if let Some((_, info)) = &core.notes().vmcoreinfo {
            text.push_str("VMCOREINFO   :\n");
            for line in String::from_utf8_lossy(info).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
        self.say(DEBUG, &harmless(&text));
    }

    /// `--vtop`: where a virtual address is, all ones when it is nowhere.
    pub(super) fn translated(&self, kernel: &DeadKernel, address: u64) {
        let reader = kernel.core().reader(false);
        let found = kernel.virt(&reader).and_then(|virt| {
            virt.translate(VirtAddr::new(address))
                .map_err(|e| e.to_string())
        });
        let phys = found.map_or_else(
            |why| {
                complain(&format!("warning: --vtop {address:x}: {why}"));
                u64::MAX
            },
            |(phys, _)| phys.raw(),
        );
        let header = "VIRTUAL           PHYSICAL";
        self.say(COMMON, &format!("\n{header}\n{address:16x}  {phys:x}\n\n"));
    }

    /// `--show-stats`: what became of the pages.
    pub(super) fn stats(&self, kernel: &DeadKernel, summary: &Summary) {
        let (p, d) = (&summary.pages, &summary.pages.dropped);
        let remaining = p.kept.saturating_sub(p.zero);
        let excluded = p.total.saturating_sub(remaining);
        let all = filter::max_mapnr(kernel.core(), kernel.page_size());
        let mut text = String::from("\n");
        for (name, pages) in [
            ("Original pages  ", p.total),
            ("  Excluded pages   ", excluded),
            ("    Pages filled with zero  ", p.zero),
            ("    Non-private cache pages ", d.cache),
            ("    Private cache pages     ", d.cache_private),
            ("    User process data pages ", d.user),
            ("    Free pages              ", d.free),
            ("    Hwpoison pages          ", d.hwpoison),
            ("    Offline pages           ", d.offline),
            ("  Remaining pages  ", remaining),
        ] {
            let _ = writeln!(text, "{name}: {pages:#018x}");
        }
        let percent = (remaining.saturating_mul(100)).checked_div(p.total);
        let _ = write!(
            text,
            "  (The number of pages is reduced to {}%.)\nMemory Hole     : {:#018x}\n{}\nTotal pages     : {all:#018x}\nWrite bytes     : {}\n\n",
            percent.unwrap_or(100),
            all.saturating_sub(p.total),
            "-".repeat(50),
            summary.bytes,
        );
        self.say(REPORT, &text);
    }

    /// `--mem-usage`: the pages of each kind.
    pub(super) fn usage(&self, kernel: &DeadKernel, summary: &Summary) {
        let (p, d) = (&summary.pages, &summary.pages.dropped);
        let kept = p.kept.saturating_sub(p.zero);
        let mut text = String::from("\nTYPE\t\tPAGES\t\t\tEXCLUDABLE\tDESCRIPTION\n");
        text += &format!("{}\n", "-".repeat(70));
        for (name, pages, can, what) in [
            ("ZERO\t", p.zero, "yes", "Pages filled with zero"),
            (
                "NON_PRI_CACHE",
                d.cache,
                "yes",
                "Cache pages without private flag",
            ),
            (
                "PRI_CACHE",
                d.cache_private,
                "yes",
                "Cache pages with private flag",
            ),
            ("USER\t", d.user, "yes", "User process pages"),
            ("FREE\t", d.free, "yes", "Free pages"),
            ("KERN_DATA", kept, "no", "Dumpable kernel data"),
        ] {
            let _ = writeln!(text, "{name}\t{pages:<16}\t{can}\t\t{what}");
        }
        let bytes = kernel.page_size().bytes();
        let size = p.total.saturating_mul(bytes as u64);
        let _ = write!(
            text,
            "\npage size:\t\t{bytes:<16}\nTotal pages on system:\t{:<16}\nTotal size on system:\t{size:<16} Byte\n",
            p.total
        );
        self.say(COMMON, &text);
    }
}
