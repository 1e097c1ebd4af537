//! Dumps that a hypervisor wrote: QEMU does not name the machine, writes arm64 guests in blocks of 64 KiB, and knows VMCOREINFO only when
//! the guest has a device to tell it.

use super::dumped::{Dumped, dump};
use baredump::addr::PageSize;
use baredump::dump::Outcome;
use baredump::filter::{Bitmap, DumpLevel};
use baredump::format::In;
use baredump::format::kdump::{Info, Place, Writer};
use baredump::kernel::utsname::Utsname;
use std::collections::BTreeSet;
use tests::fake_kernel::elf::note;
use tests::fake_kernel::{Arm64, FakeKernel, FakeVmcore, Generation, Machine, Rules};
use tests::memory_file::MemoryFile;

/// The memory of a guest as QEMU's kdump-compressed form has it.
fn as_qemu_writes(vmcore: &FakeVmcore, page: u64, block: PageSize, machine: &str) -> Vec<u8> {
    let per_block = block.bytes() as u64 / page;
    let existing = vmcore.existing();
    let blocks: BTreeSet<u64> = existing.iter().map(|pfn| pfn / per_block).collect();
    let max_mapnr = blocks.last().unwrap() + 1;
    let mut map = Bitmap::new(max_mapnr).unwrap();
    blocks.iter().for_each(|b| map.set_range(*b, b + 1));
    let notes = note(b"VMCOREINFO\0", 0, vmcore.vmcoreinfo.as_bytes());
    let mut utsname = [0; 390];
    utsname[260..][..machine.len()].copy_from_slice(machine.as_bytes());
    let info = Info {
        utsname,
        crash_time: 0,
        page_size: block,
        max_mapnr,
        cpus: 2,
        phys_base: vmcore.phys_base,
        level: DumpLevel::new(1).unwrap(),
        compression_flag: 0,
        notes_size: notes.len() as u64,
        vmcoreinfo: Some((24, vmcore.vmcoreinfo.len() as u64)),
        read_notes: &|at, buf| notes.read_at(at, buf),
    };
    let out = MemoryFile::default();
    let mut writer = Writer::begin(&out, &info, &map, &map).unwrap();
    for number in blocks {
        let mut bytes = Vec::new();
        for pfn in number * per_block..(number + 1) * per_block {
            if existing.contains(&pfn) {
                bytes.extend(vmcore.page(pfn));
            }
            bytes.resize(
                usize::try_from((pfn + 1 - number * per_block) * page).unwrap(),
                0,
            );
        }
        let place = Place::Data {
            offset: 0,
            size: u32::try_from(block.bytes()).unwrap(),
            flags: 0,
        };
        writer.append(&[place], &bytes, &mut Vec::new()).unwrap();
    }
    writer.finish(true).unwrap();
    out.into_bytes()
}

/// Of the pages that the guest has, the same are kept as of the ELF form.
fn same_pages(vmcore: &FakeVmcore, dumped: &Dumped, elf: &Dumped) {
    let existing = vmcore.existing();
    let own = |dumped: &Dumped| -> BTreeSet<u64> {
        let pages = dumped.pages().into_iter();
        pages.filter(|pfn| existing.contains(pfn)).collect()
    };
    assert!(own(dumped) == own(elf), "other pages");
    assert!(dumped.summary.pages.dropped.free > 0);
}

fn check(vmcore: &FakeVmcore, page: u64, block: PageSize, machine: &str) {
    // In a dump every page is judged, in an ELF file one that begins in a segment: both as dumps.
    let plain = dump(&[&vmcore.elf], 0).unwrap();
    let elf = dump(&[&plain.bytes], 31).unwrap();
    let dumped = dump(&[&as_qemu_writes(vmcore, page, block, machine)], 31).unwrap();
    assert_eq!(dumped.summary.outcome, Outcome::Complete);
    assert_eq!(dumped.warnings, [""; 0]);
    assert_eq!(dumped.log.as_deref(), Ok(vmcore.log.as_str()));
    same_pages(vmcore, &dumped, &elf);
    let written = dumped.open();
    assert_eq!(written.page_size().bytes() as u64, page);
    assert_eq!(written.utsname(4), vmcore.machine.name());
    assert_eq!(written.utsname(2), vmcore.generation.release());
}

#[test]
fn the_machine_is_found_where_it_is_not_named() {
    for generation in [Generation::V5_10, Generation::V6_12] {
        let vmcore = FakeKernel::zoo(generation).build();
        for machine in ["Unknown", "", "x86_64"] {
            check(&vmcore, 4096, PageSize::K4, machine);
        }
    }
}

#[test]
fn a_block_holds_several_pages() {
    for cpu in Arm64::ALL {
        let vmcore = FakeKernel::arm64_zoo(cpu, Generation::V6_12).build();
        let page = 1 << cpu.page_shift;
        for machine in ["Unknown", "aarch6", "aarch64"] {
            check(&vmcore, page, PageSize::K64, machine);
        }
    }
}

/// The file offset of a physical address.
fn place(elf: &[u8], phys: u64) -> usize {
    let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap());
    let loads = (64..)
        .step_by(56)
        .take(elf[56].into())
        .filter(|at| elf[*at] == 1);
    let mut hits =
        loads.filter(|at| (word(at + 24)..word(at + 24) + word(at + 40)).contains(&phys));
    let at = hits.next().unwrap();
    usize::try_from(word(at + 8) + phys - word(at + 24)).unwrap()
}

/// VMCOREINFO where a kernel has it: in a page of its own.
struct Guest {
    vmcore: FakeVmcore,
    elf: Vec<u8>,
}

impl Guest {
    fn new(machine: Machine) -> Self {
        let kernel = match machine {
            Machine::X86 { levels: 5 } => FakeKernel::zoo(Generation::V6_12).five_levels(),
            Machine::X86 { .. } => FakeKernel::zoo(Generation::V6_12),
            Machine::Arm64(cpu) => FakeKernel::arm64_zoo(cpu, Generation::V6_12),
        };
        let vmcore = kernel.build();
        let mut guest = Self {
            elf: vmcore.elf.clone(),
            vmcore,
        };
        guest.write(0, &guest.vmcore.vmcoreinfo.clone());
        guest
    }

    /// Fills a page, counted from the last one that is kept.
    fn write(&mut self, page: usize, text: &str) {
        let kept = self.vmcore.kept(31, Rules::Right);
        let pfn = kept.iter().rev().nth(page).unwrap();
        let size = self.vmcore.page(*pfn).len();
        let at = place(&self.elf, pfn * size as u64);
        self.elf[at..at + size].fill(0);
        self.elf[at..at + text.len()].copy_from_slice(text.as_bytes());
    }

    fn note(&mut self) -> &mut [u8] {
        let regions = &self.vmcore.regions;
        let (_, range) = regions.iter().find(|(n, _)| *n == "VMCOREINFO").unwrap();
        &mut self.elf[range.start - 12..range.end]
    }

    fn check(&self, words: &[&str]) -> Dumped {
        let dumped = dump(&[&self.elf], 31).unwrap();
        let said = dumped.warnings.join("\n");
        for word in words {
            assert!(said.contains(word), "no `{word}` in {said}");
        }
        assert_eq!(
            dumped.warnings.len(),
            words.len().min(1) + usize::from(words.contains(&"two kernels"))
        );
        assert_eq!(dumped.log.as_deref(), Ok(self.vmcore.log.as_str()));
        let kept: Vec<u64> = self.vmcore.kept(31, Rules::Right).into_iter().collect();
        assert!(dumped.pages() == kept, "other pages");
        // Nobody has to search the dump again.
        let again = dump(&[&dumped.bytes], 31).unwrap();
        assert_eq!(again.warnings, [""; 0]);
        let text = dumped.open().vmcoreinfo().unwrap().unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), self.vmcore.vmcoreinfo);
        dumped
    }
}

#[test]
fn vmcoreinfo_is_found_in_the_memory() {
    let machines = Arm64::ALL.map(Machine::Arm64);
    for machine in machines
        .into_iter()
        .chain([Machine::X86 { levels: 4 }, Machine::X86 { levels: 5 }])
    {
        let mut guest = Guest::new(machine);
        guest.note()[0] = b'X';
        guest.check(&["has no VMCOREINFO note", "is in its memory"]);
    }
}

#[test]
fn vmcoreinfo_of_another_kernel_is_not_believed() {
    let mut guest = Guest::new(Machine::X86 { levels: 4 });
    let note = guest.note();
    let at = 12 + b"OSRELEASE=".len();
    note[at] ^= 1;
    // A file in the page cache that begins like one.
    guest.write(
        1,
        "OSRELEASE=6.12.99\nSYMBOL(init_uts_ns)=ffffffff81000000\n",
    );
    guest.check(&["note is of kernel", "which is not in the memory"]);
}

#[test]
fn two_kernels_are_both_named() {
    let mut guest = Guest::new(Machine::X86 { levels: 4 });
    guest.note()[0] = b'X';
    // Of a higher address than the other.
    let other = guest
        .vmcore
        .vmcoreinfo
        .replace("BUILD-ID=00", "BUILD-ID=ff");
    guest.write(0, &other);
    guest.write(1, &guest.vmcore.vmcoreinfo.clone());
    guest.check(&["has no VMCOREINFO note", "two kernels"]);
}

#[test]
fn without_any_vmcoreinfo_all_pages_are_kept() {
    let vmcore = FakeKernel::new(Generation::V6_12)
        .without_vmcoreinfo()
        .build();
    let dumped = dump(&[&vmcore.elf], 31).unwrap();
    assert_eq!(dumped.summary.outcome, Outcome::Complete);
    assert!(
        dumped.warnings[0].contains("its memory holds none"),
        "{:?}",
        dumped.warnings
    );
}

/// Nothing of the kernel is known but what the ELF header says.
#[test]
fn the_machine_of_the_elf_header_is_in_the_dump() {
    let elf = FakeKernel::new(Generation::V6_12)
        .without_vmcoreinfo()
        .build()
        .elf;
    for (number, name) in [
        (243u16, "riscv64"),
        (183, "aarch64"),
        (62, "x86_64"),
        (21, "ppc64le"),
    ] {
        let mut elf = elf.clone();
        elf[18..20].copy_from_slice(&number.to_le_bytes());
        let written = dump(&[&elf], 0).unwrap();
        assert_eq!(written.open().utsname(4), name);
        // And stays there.
        assert_eq!(dump(&[&written.bytes], 0).unwrap().open().utsname(4), name);
    }
    let mut raw = [0; 390];
    raw[..5].copy_from_slice(b"Linux");
    let named = Utsname(raw).on("riscv64");
    assert_eq!(named.field(4), Some("riscv64"));
}
