//! `baredump dmesg`.

use super::options::Simple;
use super::{Done, Failure, complain, files, help, print};
use crate::dump::{DeadKernel, DumpError};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub(super) fn run(args: Vec<OsString>) -> Done {
    let args = Simple::parse(args, false)?;
    if args.help {
        return print(help::DMESG);
    }
    match args.files.as_slice() {
        vmcores if !vmcores.is_empty() && files::are_parts(vmcores) => {
            let kernel = files::open_all(vmcores)?;
            write(&kernel, &mut io::stdout().lock())
        }
        [vmcores @ .., out] if !vmcores.is_empty() => save(vmcores, out, false),
        files => Err(Failure::Usage(format!(
            "expected VMCORE and perhaps OUT, found {} file name(s)",
            files.len()
        ))),
    }
}

/// Writes the log to a file; a failed one is removed.
pub(super) fn save(vmcores: &[PathBuf], out: &Path, replace: bool) -> Done {
    for vmcore in vmcores {
        files::refuse_input(vmcore, out)?;
    }
    let kernel = files::open_all(vmcores)?;
    let file = files::create(out, replace).map_err(|e| files::output_failed(out, &e))?;
    let result = write(&kernel, &mut file.file());
    if result.is_err() {
        files::discard(out, &file);
    }
    result
}

fn write(kernel: &DeadKernel, out: &mut dyn Write) -> Done {
    for warning in kernel.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let mut out = BufWriter::new(out);
    let result = kernel
        .dmesg(&mut out)
        .and_then(|_| out.flush().map_err(DumpError::Output));
    match result {
        Ok(()) => Ok(()),
        Err(DumpError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Failure::Failed(e.to_string())),
    }
}
