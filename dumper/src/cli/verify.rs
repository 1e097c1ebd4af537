//! `baredump verify`.

use super::files::names;
use super::options::Simple;
use super::{Done, Failure, help, print, verify_dir};
use crate::dump::{self, Observer, Opened};
use crate::progress::Terminal;
use std::ffi::OsString;
use std::path::PathBuf;

pub(super) fn run(args: Vec<OsString>) -> Done {
    let args = Simple::parse(args, false)?;
    if args.help {
        return print(help::VERIFY);
    }
    if args.files.is_empty() {
        return Err(Failure::Usage(
            "expected DUMP, the parts of a split one, or the DIR of a capture".into(),
        ));
    }
    match args.files.as_slice() {
        [dir] if dir.is_dir() => verify_dir::run(dir),
        files => dump_files(files),
    }
}

/// A dump, or the parts of a split one.
pub(super) fn dump_files(files: &[PathBuf]) -> Done {
    let name = names(files);
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("{name}: {e}"));
    let Opened::Dump(dump) = dump::open(files).map_err(|e| failed(&e))? else {
        return Err(failed(
            &"an ELF vmcore, whose pages have no checks: only dumps are verified",
        ));
    };
    let mut terminal = Terminal::new(dump.page_size().bytes() as u64, false);
    let result = dump.verify(&mut |done, total| terminal.progress("verify", done, total));
    terminal.end();
    let counts = result.map_err(|e| failed(&e))?;
    print(&format!(
        "{}: ok: {} pages ({} of zeros), {} bytes of page data\n",
        name, counts.pages, counts.zero, counts.bytes
    ))
}
