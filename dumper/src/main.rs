//! One binary, three lives: PID 1 of a capture kernel, one of PID 1's steps, the command line on a host.

use baredump::{cli, init};
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.first().is_some_and(|name| name == init::STEP_ARG0) {
        return init::step(args.get(1..).unwrap_or_default());
    }
    if std::process::id() == 1 && init::is_capture_kernel() {
        init::run();
    }
    cli::run(args)
}
