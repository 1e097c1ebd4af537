//! The command line of `baredumpctl`: one file for each verb.

mod arm;
mod claim;
mod disarm;
mod estimate;
mod fit;
mod host;
mod image;
mod local;
mod network;
mod presign;
mod private;
mod status;
mod wanted;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Something went wrong; usage errors end with clap's 2.
const ERROR: u8 = 1;
/// Nothing is loaded, or what is loaded does not fit this machine any more.
const NOT_ARMED: u8 = 3;

/// Prepare this machine to write a crash dump when its kernel panics.
///
/// `image` builds the capture image, `arm` loads it with a kernel into the memory that crashkernel= has reserved. From then on
/// a panic starts that kernel, which writes the dump to the targets in /etc/baredump.toml and reboots.
#[derive(Debug, Parser)]
#[command(
    name = "baredumpctl",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done (status: armed), 1 error, 2 wrong usage, 3 not armed, or armed with an image that does not fit this machine any more (arm and status)."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Image(Box<image::Args>),
    Arm(arm::Args),
    Claim(claim::Args),
    Disarm(disarm::Args),
    Status(status::Args),
    Estimate(estimate::Args),
    Presign(presign::Args),
}

/// Does what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Image(args) => image::run(&args),
        Verb::Arm(args) => arm::run(&args),
        Verb::Claim(args) => claim::run(&args),
        Verb::Disarm(args) => disarm::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Estimate(args) => estimate::run(&args),
        Verb::Presign(args) => presign::run(&args),
    };
    result.unwrap_or_else(|err| {
        eprintln!("baredumpctl: {err:#}");
        ExitCode::from(ERROR)
    })
}

/// Prints, and doesn't mind when nobody listens any more (`| head`).
fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
