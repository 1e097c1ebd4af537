//! `baredumpctl`: builds the capture image and arms it.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
