//! `baredump verify`.

use super::files::open_dump;
use super::options::Simple;
use super::{Done, Failure, help, print};
use crate::dump::Observer;
use crate::progress::Terminal;
use std::ffi::OsString;

pub(super) fn run(args: Vec<OsString>) -> Done {
    let args = Simple::parse(args, false)?;
    if args.help {
        return print(help::VERIFY);
    }
    let path = args.one_file("DUMP")?;
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("{}: {e}", path.display()));
    let dump = open_dump(path).map_err(|e| failed(&e))?;
    let mut terminal = Terminal::new(dump.page_size().bytes() as u64, false);
    let result = dump.verify(&mut |done, total| terminal.progress("verify", done, total));
    terminal.end();
    let counts = result.map_err(|e| failed(&e))?;
    print(&format!(
        "{}: ok: {} pages ({} of zeros), {} bytes of page data\n",
        path.display(),
        counts.pages,
        counts.zero,
        counts.bytes
    ))
}
