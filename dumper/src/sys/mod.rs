//! System calls: every `unsafe` block of the product is in this folder.
#![allow(unsafe_code)]

pub mod dm;
pub mod kexec;
pub mod map;
pub mod process;
pub mod random;
pub mod socket;
mod standard;
#[cfg(all(panic = "abort", target_env = "musl"))]
mod unwind;
pub mod watchdog;
