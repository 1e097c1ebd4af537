//! `cargo xtask`: builds, fetches, demonstrates and tests baredump. One file for each command.

mod apt;
mod bench;
mod build;
mod check;
mod compare;
mod crash;
mod demo;
mod fetch;
mod floor;
mod full;
mod fuzz;
mod guest;
mod kdump_tools;
mod kernel;
mod kexec;
mod lab;
mod licences;
mod readers;
mod servers;
mod setup;
mod test;
mod tidy;
mod timeline;
mod vm;
mod vmcores;
mod workshop;

use anyhow::{Result, bail};
use lab::Lab;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use setup::Need;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;
use xshell::Shell;

const HELP: &str = "\
usage: ./x COMMAND

  demo            panic a real kernel in QEMU, capture it, show what happened
  test [--full]   everything that shows that the project works; --full adds Debian's kdump-tools, a
                  garage server, and sessions of crash, drgn, libkdumpfile and makedumpfile with the
                  debug kernels
  test NAME...    only the virtual machines, and with --full the sessions, whose name contains NAME;
                  with --quick the static binaries are built in less time, larger and slower
  vmcores [NAME...]
                  raw vmcores of real panics, into target/lab/vmcores; `ci` stands for those of CI
  fuzz [--for TIME] [TARGET...]
                  libFuzzer on every kind of hostile input, 10 minutes each or TIME (90s, 1h)
  compare         the dumps of vmcores against those of makedumpfile, page by page; see compare --help
  floor [--record] [NAME...]
                  the smallest crashkernel= that gives a complete dump, against kernel-config/floors.toml
  kernel          a small capture kernel, built from the distribution's source; takes long; see kernel --help
  bench           time, memory and bytes against those of makedumpfile; see bench --help
  build [--full]  the static binaries, with their sizes; --full for arm64 too
  fetch           the kernels and tools of the lab, into target/lab
  setup           install what the other commands need
  tidy            the checks of the source tree

demo, test, build and fetch do the set-up they need. Exit codes: 0 good, 1 something failed,
2 usage, or a package must be installed first (the command is printed).";

/// An end with exit code 2: the user must do something first.
#[derive(Debug)]
pub(crate) struct Stop(String);

impl Stop {
    /// The sentence for the user.
    #[allow(clippy::new_ret_no_self, reason = "it is only ever an error")]
    pub(crate) fn new(text: String) -> anyhow::Error {
        Self(text).into()
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stop {}

/// What was typed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    command: String,
    full: bool,
    /// Static binaries that are built quickly.
    quick: bool,
    time: Option<Duration>,
    names: Vec<String>,
    /// What follows a command that has options of its own.
    rest: Vec<OsString>,
}

impl Arguments {
    fn need(&self) -> Need {
        if self.full { Need::Full } else { Need::Tests }
    }
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.is::<Stop>() { 2 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let sh = Shell::new()?;
    let mut lab = Lab::open()?;
    lab.quick = arguments.quick;
    sh.change_dir(&lab.root);
    match arguments.command.as_str() {
        "demo" => demo::run(&sh, &lab),
        "test" => test::run(&sh, &lab, arguments.full, &arguments.names),
        "vmcores" => vmcores::run(&sh, &lab, &arguments.names),
        "fuzz" => fuzz::run(&sh, &lab, arguments.time, &arguments.names),
        "bench" => bench::run(&sh, &lab, arguments.rest.clone()),
        "compare" => compare::run(&sh, &lab, arguments.rest.clone()),
        "kernel" => kernel::run(&sh, &lab, arguments.rest.clone()),
        "floor" => floor::run(&sh, &lab, arguments.rest.clone()),
        "build" if arguments.full => setup::run(&sh, Need::Tests)
            .and_then(|()| build::run(&sh, &lab))
            .map(drop),
        "build" => setup::run(&sh, Need::Host)
            .and_then(|()| build::host(&sh, &lab))
            .map(drop),
        "fetch" => {
            setup::run(&sh, arguments.need()).and_then(|()| fetch::run(&sh, &lab, arguments.full))
        }
        "setup" => setup::run(&sh, arguments.need()),
        "tidy" => tidy::run(&sh, &lab),
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        other => Err(Stop::new(format!("unknown command `{other}`\n\n{HELP}"))),
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    let usage = |error: lexopt::Error| Stop::new(format!("{error}\n\n{HELP}"));
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("full") => arguments.full = true,
            Long("quick") if arguments.command == "test" => arguments.quick = true,
            Long("for") if arguments.command == "fuzz" => {
                let text = parser
                    .value()
                    .and_then(|word| word.string())
                    .map_err(usage)?;
                arguments.time = Some(fuzz::duration(&text)?);
            }
            Short('h') | Long("help") => arguments.command = "help".into(),
            Value(word) if arguments.command.is_empty() => {
                arguments.command = word.string().map_err(usage)?;
                if ["bench", "compare", "floor", "kernel"].contains(&arguments.command.as_str()) {
                    arguments.rest = parser.raw_args().map_err(usage)?.collect();
                }
            }
            Value(word) if ["test", "vmcores", "fuzz"].contains(&arguments.command.as_str()) => {
                arguments.names.push(word.string().map_err(usage)?)
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    if arguments.command.is_empty() {
        bail!(Stop(format!("which command?\n\n{HELP}")));
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments> {
        parse(lexopt::Parser::from_args(words))
    }

    #[test]
    fn command_lines() {
        let test = parsed(&["test", "--full", "panic"]).unwrap();
        assert_eq!(
            test,
            Arguments {
                command: "test".into(),
                full: true,
                time: None,
                names: vec!["panic".into()],
                ..Arguments::default()
            }
        );
        for bad in [&[][..], &["demo", "more"], &["test", "--fast"]] {
            assert!(parsed(bad).unwrap_err().is::<Stop>(), "{bad:?}");
        }
    }
}
