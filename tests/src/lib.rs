//! Helpers of the tests: synthetic dead kernels, and a reader of dumps that shares no code with the product.

#![allow(
    clippy::cast_possible_truncation,
    reason = "the tests run on 64-bit hosts and write fields of known width"
)]

pub mod dump_reader;
pub mod fake_kernel;
pub mod fuzz;
pub mod memory_file;
pub mod programs;
pub mod sentinels;
