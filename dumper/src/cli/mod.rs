//! The command line on a host.
//!
//! Exit codes: 0 complete, 1 failed, 2 usage or unusable input, 3 partial dump written. In the makedumpfile-compatible form 0 and 1
//! only, as there, and 2 for VMCOREINFO of another kernel.

mod compatible;
#[cfg(feature = "age")]
mod decrypt;
mod dmesg;
mod dump;
mod files;
mod foreign;
mod help;
mod info;
mod messages;
mod options;
mod output;
mod rearrange;
mod recover;
mod verify;
mod verify_dir;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// How a command ends when it does not simply succeed.
#[derive(Debug)]
enum Failure {
    /// What was typed makes no sense: exit code 2 and a hint at the help.
    Usage(String),
    /// The input cannot be used: exit code 2.
    Input(String),
    /// VMCOREINFO is of another kernel: exit code 2, in both forms.
    Release(String),
    /// It was tried and did not work: exit code 1.
    Failed(String),
    /// A partial dump was written: exit code 3.
    Partial(String),
    /// Nobody reads the output any more: exit code 1, or death by SIGPIPE in the makedumpfile-compatible form.
    Unread(String),
}

type Done = Result<(), Failure>;

/// Runs what `args` ask for; the first is the name the program was called by.
#[must_use]
pub fn run(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let name = args.next().unwrap_or_default();
    let base = Path::new(&name).file_name().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let first = args.first().map(|a| a.to_string_lossy().into_owned());
    let compatible = base == "makedumpfile" || first.as_deref().is_some_and(is_foreign_option);
    let result = if compatible {
        compatible::run(args)
    } else {
        native(args)
    };
    let Err(failure) = result else {
        return ExitCode::SUCCESS;
    };
    let (text, code) = match failure {
        Failure::Release(text) => {
            complain(&text);
            return ExitCode::from(2);
        }
        Failure::Usage(text) => (format!("{text}\nTry 'baredump --help'."), 2),
        Failure::Input(text) => (text, 2),
        Failure::Failed(text) => (text, 1),
        Failure::Unread(text) if compatible => {
            complain(&text);
            crate::sys::process::die_of_sigpipe();
            return ExitCode::FAILURE;
        }
        Failure::Unread(text) => (text, 1),
        Failure::Partial(text) => (text, 3),
    };
    complain(&text);
    ExitCode::from(if compatible { code.min(1) } else { code })
}

/// An option before any verb is makedumpfile's way to be called; help and version are everybody's.
fn is_foreign_option(first: &str) -> bool {
    first.starts_with('-') && !matches!(first, "-h" | "--help" | "-V" | "-v" | "--version")
}

fn native(args: Vec<OsString>) -> Done {
    let mut args = args.into_iter();
    let Some(verb) = args.next() else {
        return Err(Failure::Usage(
            "what should be done is missing: dump, dmesg, info, rearrange, decrypt, recover or verify"
                .into(),
        ));
    };
    let rest: Vec<OsString> = args.collect();
    match verb.to_str() {
        Some("dump") => dump::native(rest),
        Some("dmesg") => dmesg::run(rest),
        Some("info") => info::run(rest),
        Some("rearrange") => rearrange::run(rest),
        #[cfg(feature = "age")]
        Some("decrypt") => decrypt::run(rest),
        #[cfg(not(feature = "age"))]
        Some("decrypt") => Err(Failure::Usage(
            "this baredump was built without age: use 'age -d' and 'baredump rearrange'".into(),
        )),
        Some("recover") => recover::run(rest),
        Some("verify") => verify::run(rest),
        Some("help" | "-h" | "--help") => print(help::TOP),
        Some("-V" | "-v" | "--version" | "version") => {
            print(concat!("baredump ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        _ => Err(Failure::Usage(format!(
            "unknown command '{}': there are dump, dmesg, info, rearrange, decrypt, recover and verify",
            verb.to_string_lossy()
        ))),
    }
}

/// Writes to standard output; a closed pipe is not an error of ours.
fn print(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Failed(format!(
            "cannot write to standard output: {e}"
        ))),
        _ => Ok(()),
    }
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "baredump: {}", harmless(text));
}

/// Text that may quote a hostile file, without what a terminal would take for commands.
fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_terminal_gets_no_commands() {
        let text = "of 6.1\x1b]0;title\x07\u{9b}1m\nTry\r";
        assert_eq!(super::harmless(text), "of 6.1?]0;title??1m\nTry?");
    }
}
