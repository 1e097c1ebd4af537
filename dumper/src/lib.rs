//! Crash dumps of a panicked Linux kernel.
//!
//! The library is a row of stages, in the order in which data flows through them: [`vmcore`] reads the dead kernel's memory,
//! [`kernel`] (with [`arch`]) understands it, [`filter`] decides which pages are kept, [`compress`] shrinks them, [`mod@format`]
//! lays them out as a kdump-compressed file and [`target`] is where that file lives, with [`net`] when it is a server. [`dump`] joins the stages, [`report`] says
//! what happened. [`init`] is PID 1 of the capture kernel, [`cli`] the same binary on a host.
//!
//! Design principles:
//! 1. The dead kernel's memory is hostile input: an address read from it is an allegation, every walk has a bound, nothing
//!    panics.
//! 2. When in doubt about a page, it is kept.
//! 3. A failed step degrades and is recorded; it never ends the capture.
//! 4. Memory is decided before the first page is read.

pub mod addr;
pub mod arch;
pub mod cli;
pub mod compress;
pub mod config;
pub mod dump;
pub mod entropy;
pub mod filter;
pub mod format;
pub mod init;
pub mod kernel;
pub mod manifest;
pub mod net;
mod procfs;
pub mod progress;
pub mod report;
#[cfg(feature = "age")]
pub mod seal;
#[cfg(not(feature = "age"))]
#[path = "seal/without.rs"]
pub mod seal;
pub mod sys;
pub mod target;
pub mod vmcore;
