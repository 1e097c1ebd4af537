//! Inputs that have cost evidence somewhere, one small one for each kind, each with the value that is right. A file is named by
//! what its input stands for; inputs are made by code, none is another program's binary. Kinds that only a private function or a
//! panic can show have their tests beside the code, or in `xtask/src/vm`.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, on a 64-bit host"
)]

mod command_lines;
mod damaged_elf_header;
mod damaged_way_to_the_log;
mod dump_in_parts;
mod dumped;
mod hypervisor_dump;
mod log_that_lies;
mod many_parts;
mod memory_added_after_arming;
mod not_a_vmcore;
mod power_cut;
mod split_dump;
mod struct_pages_that_lie;
mod two_vmcoreinfos;
mod words_that_seal;

use tests::fake_kernel::{FakeKernel, Generation};

/// A directory with `vmcore.elf`, of a kernel that has pages of every kind.
fn scene() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let kernel = FakeKernel::zoo(Generation::V6_12).build();
    kernel.write(dir.path()).unwrap();
    dir
}
