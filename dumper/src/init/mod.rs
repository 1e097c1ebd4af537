//! PID 1 of the capture kernel: a supervisor with fixed memory and its steps, each a child process of the same binary.
//!
//! The supervisor reads nothing of the dead kernel and opens no file on a target; whatever happens to a step is an ordinary result
//! to it. The order of the steps is in [`ladder`], what one of them does in [`steps`].

mod child;
mod fault;
mod fence;
mod ladder;
mod log;
mod machine;
mod plan;
mod protocol;
mod steps;
mod supervisor;
mod text;
mod watchdog;

use crate::config::words;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// `argv[0]` of a step.
pub const STEP_ARG0: &str = "baredump-step";

/// Whether this PID 1 is the init of a capture kernel, and not the first process of a container: there is a vmcore, or the command
/// line says so. Mounts `/proc` when it is missing, as it is in an initramfs; a container gets back what it had.
pub fn is_capture_kernel() -> bool {
    let mounted = machine::mount_proc();
    let asked = || {
        std::fs::read_to_string("/proc/cmdline")
            .is_ok_and(|c| words::value(&c, "init") == Some("1"))
    };
    let capture = Path::new("/proc/vmcore").exists() || asked();
    if mounted && !capture {
        machine::unmount_proc();
    }
    capture
}

/// PID 1. Ends in the final action.
pub fn run() -> ! {
    supervisor::run()
}

/// A step: `NAME [TARGET ATTEMPT [careful]]`.
pub fn step(args: &[OsString]) -> ExitCode {
    steps::run(args)
}
