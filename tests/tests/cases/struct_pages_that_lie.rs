//! Struct pages that were overwritten, in a vmcore that is else sound: what the kernel itself needs would be dropped by them, so
//! nothing is.

use super::dumped::dump;
use tests::fake_kernel::{Arm64, FakeKernel, FakeVmcore, Generation, Kind, Machine};

/// What the lists of free pages leave in `lru` of every struct page of a synthetic kernel.
const POISON: [u8; 16] = [
    0, 1, 0, 0, 0, 0, 0xad, 0xde, 0x22, 1, 0, 0, 0, 0, 0xad, 0xde,
];

/// Where the struct pages are in the file.
fn struct_pages(elf: &[u8]) -> Vec<usize> {
    (0..elf.len() - 64)
        .step_by(8)
        .filter(|at| elf[at + 8..at + 24] == POISON)
        .collect()
}

/// A user page, made the head of a compound page and its first tail, of order 63.
fn user_head(vmcore: &FakeVmcore) -> [u8; 64] {
    let (_, region) = vmcore
        .regions
        .iter()
        .find(|(name, _)| *name == "struct pages")
        .unwrap();
    let user = vmcore.blocks.iter().find(|b| b.kind == Kind::Anon).unwrap();
    let first = vmcore.blocks.iter().map(|b| b.pfn).min().unwrap();
    let at = region.start + usize::try_from(user.pfn - first).unwrap() * 64;
    let mut page: [u8; 64] = vmcore.elf[at..at + 64].try_into().unwrap();
    page[2] |= 1;
    page[16] = 1;
    page[17] = 63;
    page
}

fn kernels() -> [FakeKernel; 2] {
    let arm = Machine::Arm64(Arm64::ALL[0]);
    [
        FakeKernel::new(Generation::V6_1),
        FakeKernel::on(arm, Generation::V6_12),
    ]
    .map(|kernel| {
        let pfn = kernel.test_low();
        kernel.page(pfn, Kind::Anon)
    })
}

/// At the highest level all pages are there, and it is said why.
fn keeps_all(vmcore: &FakeVmcore, elf: &[u8], what: &str) {
    let dumped = dump(&[elf], 31).unwrap_or_else(|e| panic!("{what}: {e}"));
    let pages = dumped.summary.pages;
    assert_eq!(pages.kept, vmcore.existing().len() as u64, "{what}");
    assert_eq!(dumped.summary.level.bits(), 1, "{what}");
    let warnings = dumped.summary.warnings.join("\n");
    assert!(warnings.contains("not to be trusted"), "{what}: {warnings}");
}

#[test]
fn all_are_user_pages() {
    for vmcore in kernels().map(FakeKernel::build) {
        let (page, mut elf) = (user_head(&vmcore), vmcore.elf.clone());
        for at in struct_pages(&vmcore.elf) {
            elf[at..at + 64].copy_from_slice(&page);
        }
        keeps_all(&vmcore, &elf, "user pages");
    }
}

#[test]
fn all_are_random() {
    for vmcore in kernels().map(FakeKernel::build) {
        let (mut elf, mut state) = (vmcore.elf.clone(), 7_u64);
        for at in struct_pages(&vmcore.elf) {
            for word in elf[at..at + 64].chunks_mut(8) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                word.copy_from_slice(&(state ^ state >> 29).to_le_bytes());
            }
        }
        keeps_all(&vmcore, &elf, "random");
    }
}

#[test]
fn one_that_lies_costs_only_its_page() {
    let [kernel, _] = kernels();
    let vmcore = kernel.build();
    let dumped = dump(&[&vmcore.elf], 31).unwrap();
    assert_eq!(dumped.summary.level.bits(), 31);
    assert_eq!(dumped.summary.warnings, Vec::<String>::new());
    assert_eq!(
        dumped.summary.pages.kept,
        vmcore.existing().len() as u64 - 1
    );
}

#[test]
fn the_kernel_may_have_a_poisoned_page() {
    // The second page of its text.
    let vmcore = FakeKernel::new(Generation::V6_1)
        .page(0x201, Kind::HwPoison)
        .build();
    let dumped = dump(&[&vmcore.elf], 31).unwrap();
    assert_eq!(dumped.summary.pages.dropped.hwpoison, 1);
    assert_eq!(dumped.summary.level.bits(), 31);
}
