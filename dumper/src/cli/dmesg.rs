//! `baredump dmesg`.

use super::options::usage;
use super::{Done, Failure, complain, files, help, print};
use crate::dump::{DeadKernel, DumpError};
use crate::kernel::printk::{Form, Style};
use lexopt::prelude::{Long, Short, Value};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What was asked for.
#[derive(Debug, Default)]
struct Asked {
    style: Style,
    help: bool,
    files: Vec<PathBuf>,
}

pub(super) fn run(args: Vec<OsString>) -> Done {
    let asked = parse(args)?;
    if asked.help {
        return print(help::DMESG);
    }
    match asked.files.as_slice() {
        vmcores if !vmcores.is_empty() && files::are_parts(vmcores) => {
            match show(asked.style, &files::open_all(vmcores)?) {
                Err(Failure::Unread(_)) => Ok(()),
                done => done,
            }
        }
        [vmcores @ .., out] if !vmcores.is_empty() => {
            save_as(asked.style, &files::open_all(vmcores)?, out, false)
        }
        files => Err(Failure::Usage(format!(
            "expected VMCORE and perhaps OUT, found {} file name(s)",
            files.len()
        ))),
    }
}

fn parse(args: Vec<OsString>) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Long("raw") => form(&mut asked, Form::Raw)?,
            Long("json") => form(&mut asked, Form::Json)?,
            Long("no-caller") => asked.style.callers = false,
            Long("partial" | "partial-dmesg") => asked.style.since_clear = true,
            Short('h') | Long("help") => asked.help = true,
            Value(file) => asked.files.push(file.into()),
            other => return Err(usage(other.unexpected())),
        }
    }
    Ok(asked)
}

fn form(asked: &mut Asked, form: Form) -> Result<(), Failure> {
    if !matches!(asked.style.form, Form::Text) && asked.style.form != form {
        return Err(Failure::Usage(
            "--raw and --json are two forms: choose one".into(),
        ));
    }
    asked.style.form = form;
    Ok(())
}

/// Prints the log.
pub(super) fn show(style: Style, kernel: &DeadKernel) -> Done {
    write(kernel, style, &mut io::stdout().lock())
}

/// Writes the log to a file, which must not be the vmcore; a failed one is removed.
pub(super) fn save_as(style: Style, kernel: &DeadKernel, out: &Path, replace: bool) -> Done {
    let file = files::create(out, replace).map_err(|e| files::output_failed(out, &e))?;
    let result = write(kernel, style, &mut file.file());
    if result.is_err() {
        files::discard(out, &file);
    }
    result
}

fn write(kernel: &DeadKernel, style: Style, out: &mut dyn Write) -> Done {
    for warning in kernel.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let mut out = BufWriter::new(out);
    let result = kernel.dmesg_as(style, &mut out).and_then(|summary| {
        out.flush().map_err(DumpError::Output)?;
        Ok(summary)
    });
    match result {
        Ok(summary) => {
            for warning in summary.warnings() {
                complain(&format!("warning: {warning}"));
            }
            Ok(())
        }
        Err(DumpError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::Unread("nobody reads the log any more".into()))
        }
        Err(e) => Err(Failure::Failed(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(args: &[&str]) -> Result<Style, Failure> {
        parse(args.iter().map(OsString::from).collect()).map(|asked| asked.style)
    }

    #[test]
    fn forms_and_what_goes_with_them() {
        assert_eq!(style(&[]).unwrap(), Style::default());
        let style_of = style(&["--json", "--no-caller", "--partial"]).unwrap();
        assert_eq!(style_of.form, Form::Json);
        assert!(!style_of.callers && style_of.since_clear);
        for wrong in [&["--raw", "--json"][..], &["--json", "--raw"], &["--level"]] {
            assert!(matches!(style(wrong), Err(Failure::Usage(_))), "{wrong:?}");
        }
    }
}
