//! Two VMCOREINFO notes, the first of which is not that of the kernel in the memory.

use super::dumped::dump;
use tests::fake_kernel::elf::note;
use tests::fake_kernel::{FakeKernel, Generation};

/// The same kernel with a note in the place of its CPUs' registers.
fn with_note_before(text: &[u8]) {
    let vmcore = FakeKernel::new(Generation::V6_1).build();
    let (_, room) = vmcore
        .regions
        .iter()
        .find(|(name, _)| *name == "notes")
        .unwrap();
    let mut text = text.to_vec();
    // The region ends with the head of the note that follows.
    let room = room.start..room.end - 24;
    text.resize(room.len() - 24, b'\n');
    let mut elf = vmcore.elf.clone();
    elf[room].copy_from_slice(&note(b"VMCOREINFO\0", 0, &text));
    let dumped = dump(&[&elf], 31).unwrap();
    assert_eq!(dumped.log.as_deref(), Ok(vmcore.log.as_str()));
    assert_eq!(dumped.summary.level.bits(), 31);
    assert!(
        dumped.warnings.iter().any(|w| w.contains("several")),
        "{:?}",
        dumped.warnings
    );
}

#[test]
fn the_first_is_random() {
    let random: Vec<u8> = (0..=255).map(|i: u8| i.wrapping_mul(i) ^ 0x5a).collect();
    with_note_before(&random);
}

#[test]
fn the_first_is_another_kernels() {
    with_note_before(
        b"OSRELEASE=5.10.0\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82812580\nSYMBOL(_stext)=ffffffff81000000\n\
          SYMBOL(init_top_pgt)=ffffffff82810000\nSYMBOL(swapper_pg_dir)=ffffffff82810000\nNUMBER(phys_base)=0\n",
    );
}
