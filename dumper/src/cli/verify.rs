//! `baredump verify`.

use super::files::names;
use super::options::Simple;
use super::{Done, Failure, help, print};
use crate::dump::{self, Observer, Opened};
use crate::progress::Terminal;
use std::ffi::OsString;

pub(super) fn run(args: Vec<OsString>) -> Done {
    let args = Simple::parse(args, false)?;
    if args.help {
        return print(help::VERIFY);
    }
    if args.files.is_empty() {
        return Err(Failure::Usage(
            "expected DUMP, or the parts of a split one".into(),
        ));
    }
    let name = names(&args.files);
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("{name}: {e}"));
    let Opened::Dump(dump) = dump::open(&args.files).map_err(|e| failed(&e))? else {
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
