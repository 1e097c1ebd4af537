//! A section of memory that came after the capture kernel was loaded: the kernel has it, the vmcore does not. The dump is not complete.

use super::dumped::dump;
use baredump::dump::Outcome;
use tests::fake_kernel::{FakeKernel, Generation};

/// A section far above all memory.
const SECTION: usize = 40;
const SIZE: usize = 16;

/// How the dump ends when that section has these flags.
fn outcome(flags: u64) -> Outcome {
    let vmcore = FakeKernel::new(Generation::V6_12).build();
    let mut regions = vmcore.regions.iter();
    let (_, table) = regions.find(|(name, _)| *name == "mem_section").unwrap();
    let first = table.start + 4096;
    let mut elf = vmcore.elf.clone();
    let word: [u8; 8] = elf[first..first + 8].try_into().unwrap();
    let coded = (u64::from_le_bytes(word) & !0x3f) | flags;
    let at = first + SECTION * SIZE;
    elf[at..at + 8].copy_from_slice(&coded.to_le_bytes());
    dump(&[&elf], 31).unwrap().summary.outcome
}

#[test]
fn its_memory_is_missing() {
    let Outcome::Partial(why) = outcome(0x7) else {
        panic!("complete");
    };
    assert!(
        why.contains("128 MiB") && why.contains("arm it again"),
        "{why}"
    );
}

#[test]
fn what_was_there_at_boot_or_is_not_online_is_not_missed() {
    // A hole, persistent memory, a section that is offline.
    for flags in [0xf, 0x13, 0x3, 0x0] {
        assert_eq!(outcome(flags), Outcome::Complete, "{flags:#x}");
    }
}
