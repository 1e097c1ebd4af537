//! An ELF header that was overwritten: what can have one value only is not believed, and the program headers are where they always are.

use super::dumped::dump;
use baredump::dump::Outcome;
use tests::fake_kernel::{Arm64, FakeKernel, Generation, Machine};

/// Offset in the header, and what is there.
const DAMAGE: &[(&str, usize, &[u8])] = &[
    ("magic: ones", 0, &[0xff; 4]),
    ("magic: zeros", 0, &[0; 4]),
    ("magic: one byte", 1, &[0x00]),
    ("e_ident: random", 0, &[0xa5; 16]),
    ("class: none", 4, &[0]),
    ("class: 32-bit", 4, &[1]),
    ("class: random", 4, &[0x9c]),
    ("data: none", 5, &[0]),
    ("data: big-endian", 5, &[2]),
    ("version and padding", 6, &[0x5f; 10]),
    ("type: none", 16, &[0, 0]),
    ("type: a program", 16, &[2, 0]),
    ("type: random", 16, &[0x37, 0x91]),
    ("machine: none", 18, &[0, 0]),
    ("machine: another", 18, &[183, 0]),
    ("machine: random", 18, &[0xd1, 0x4c]),
    ("table's offset: random", 32, &[0x77; 8]),
    ("flags: random", 48, &[0xff; 4]),
    ("entry size: none", 54, &[0, 0]),
    ("entries: none", 56, &[0, 0]),
    ("entries: the notes alone", 56, &[1, 0]),
    ("entries: too few", 56, &[3, 0]),
    ("entries: too many", 56, &[0x34, 0x12]),
    ("entries: PN_XNUM", 56, &[0xff, 0xff]),
    ("all of it", 0, &[0xa5; 64]),
];

#[test]
fn gives_the_same_dump() {
    let elf = FakeKernel::zoo(Generation::V6_12).build().elf;
    let whole = dump(&[&elf], 31).unwrap();
    assert_eq!(whole.warnings, [""; 0]);
    for (name, at, bytes) in DAMAGE {
        let mut damaged = elf.clone();
        damaged[*at..at + bytes.len()].copy_from_slice(bytes);
        let dumped = dump(&[&damaged], 31).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(dumped.summary.outcome, Outcome::Complete, "{name}");
        assert!(dumped.bytes == whole.bytes, "{name}: another dump");
        assert_eq!(dumped.log, whole.log, "{name}");
        let is_silent = name.starts_with("flags")
            || name.starts_with("version")
            || name.starts_with("machine: none");
        assert_eq!(
            dumped.warnings.is_empty(),
            is_silent,
            "{name}: {:?}",
            dumped.warnings
        );
    }
}

/// The ELF header is right, and the place of the notes in the first program header is not.
#[test]
fn a_wrong_place_of_the_notes_costs_no_memory() {
    let kernel = FakeKernel::zoo(Generation::V6_12).without_vmcoreinfo();
    let elf = kernel.build().elf;
    let whole = dump(&[&elf], 0).unwrap();
    for place in [0u64, 200, 250, 1 << 40] {
        let mut damaged = elf.clone();
        damaged[72..80].copy_from_slice(&place.to_le_bytes());
        let dumped = dump(&[&damaged], 0).unwrap();
        assert_eq!(
            dumped.summary.pages.total, whole.summary.pages.total,
            "{place:#x}"
        );
    }
}

#[test]
fn the_table_is_found_behind_other_bytes() {
    let elf = FakeKernel::zoo(Generation::V6_12).build().elf;
    let whole = dump(&[&elf], 31).unwrap();
    let count = usize::from(elf[56]);
    let mut moved = elf.clone();
    moved.copy_within(64..64 + 56 * count, 256);
    moved[..256].fill(0x5a);
    let dumped = dump(&[&moved], 31).unwrap();
    assert!(dumped.bytes == whole.bytes);
}

#[test]
fn the_machine_is_the_one_whose_page_tables_lead_somewhere() {
    for cpu in Arm64::ALL {
        let kernel = FakeKernel::on(Machine::Arm64(cpu), Generation::V6_12);
        let elf = kernel.build().elf;
        let whole = dump(&[&elf], 31).unwrap();
        for machine in [0u16, 62, 0x4cd1] {
            let mut damaged = elf.clone();
            damaged[18..20].copy_from_slice(&machine.to_le_bytes());
            let dumped = dump(&[&damaged], 31).unwrap();
            assert!(dumped.bytes == whole.bytes, "{cpu:?} as {machine}");
        }
    }
}

#[test]
fn what_is_no_vmcore_is_still_none() {
    let mut program = FakeKernel::new(Generation::V6_12).build().elf;
    program[16] = 2;
    // A program begins with what is loaded.
    program[64] = 1;
    for bytes in [program, vec![0x04; 9000], b"\x04\0\0\0text".repeat(3000)] {
        assert!(dump(&[&bytes], 0).is_err());
    }
}
