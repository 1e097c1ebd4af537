//! Fuzz targets: each takes any bytes for one kind of hostile input and must neither panic nor take much memory or time.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; the kept inputs in `tests/corpus` run with every `cargo test`.

mod files;
mod input;
mod memory;
mod net;
mod served;
mod ssh;
mod tables;
mod web;

pub use input::Patched;

use baredump::compress::Compression;
use baredump::dump::Options;
use baredump::filter::DumpLevel;
use nix::time::{ClockId, clock_gettime};
use std::alloc::System;
use std::time::Duration;

/// The allocator of a fuzz program: it counts.
pub type Meter = cap::Cap<System>;

/// One input may make a target hold so many bytes more.
const ALLOWANCE: usize = 64 << 20;

/// One input may take so much time of a processor: that of the clock says more about what else the machine does.
const LIMIT: Duration = Duration::from_secs(1);

/// A kind of hostile input.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("elf", files::elf, files::elf_seeds),
    target("kdump", files::kdump, files::kdump_seeds),
    target("flat", files::flat, files::flat_seeds),
    target("frames", files::frames, files::frames_seeds),
    target("btf", tables::btf, tables::btf_seeds),
    target("kallsyms", tables::kallsyms, tables::kallsyms_seeds),
    target("notes", memory::notes, memory::notes_seeds),
    target(
        "page-tables",
        memory::page_tables,
        memory::page_tables_seeds,
    ),
    target(
        "struct-pages",
        memory::struct_pages,
        memory::struct_pages_seeds,
    ),
    target("printk", memory::printk, memory::printk_seeds),
    target("http-reply", web::reply, web::reply_seeds),
    target("age", served::age, served::age_seeds),
    target("report", served::report, served::report_seeds),
    target("dhcp", net::dhcp, net::dhcp_seeds),
    target("dns", net::dns, net::dns_seeds),
    target("netlink", net::netlink, net::netlink_seeds),
    target("interface", net::interface, net::interface_seeds),
    target("sftp", ssh::sftp, ssh::sftp_seeds),
    target("known-hosts", ssh::known_hosts, ssh::known_hosts_seeds),
];

const fn target(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

/// A counting allocator for a program's `#[global_allocator]`.
pub const fn meter() -> Meter {
    cap::Cap::new(System, usize::MAX)
}

/// The target called `name`.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// Inputs to start from: well-formed ones.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    find(name).map_or_else(Vec::new, |target| (target.seeds)())
}

/// Runs one input. One that wants more memory than any input may have does not get it, which ends the program.
///
/// # Panics
/// When the target panics, or took more time than any input may make it take.
pub fn run(meter: &Meter, target: &Target, data: &[u8]) {
    let limit = meter.allocated() + ALLOWANCE;
    meter
        .set_limit(limit)
        .expect("less is held than may be held");
    let start = cpu_time();
    (target.run)(data);
    let taken = cpu_time().saturating_sub(start);
    meter.set_limit(usize::MAX).expect("there is no limit");
    assert!(taken < LIMIT, "{}: one input took {taken:?}", target.name);
}

/// Everything that can be dropped is, by one thread.
fn options(compression: Compression) -> Options {
    Options {
        level: DumpLevel::MAX,
        compression,
        threads: 0,
        mmap: false,
        strict: false,
        window: None,
    }
}

/// Time that this thread has had a processor.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
