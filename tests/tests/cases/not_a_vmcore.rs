//! Files that are taken for vmcores: each is named as what it is, with what to do.

use super::dumped::{dump, open};
use baredump::dump::{DumpError, copy_raw};
use baredump::progress::Terminal;
use std::fs;
use std::process::Command;
use tests::fake_kernel::elf::{self, Segment, note};
use tests::fake_kernel::{FakeKernel, Generation, Machine};
use tests::memory_file::MemoryFile;
use tests::programs::baredump;

const X86: Machine = Machine::X86 { levels: 4 };

/// The notes of a process, and memory at these physical addresses.
fn process(phys: [u64; 2]) -> Vec<u8> {
    let mut notes = note(b"CORE\0", 3, &[0; 136]);
    notes.extend(note(b"CORE\0", 1, &[0; 336]));
    let loads = phys.map(|phys| Segment {
        virt: 0x5555_5555_4000 + phys,
        phys,
        size: 4096,
    });
    let placed = [(loads[0], 8192), (loads[1], 12288)];
    let mut file = elf::headers(X86, &notes, &placed, 4096);
    file.resize(16384, 7);
    file
}

#[test]
fn the_core_of_a_process_is_refused() {
    let core = process([0, 0]);
    let error = dump(&[&core], 0).err().unwrap().to_string();
    assert!(error.contains("core of a process"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("core"), dir.path().join("out"));
    fs::write(&file, core).unwrap();
    for words in [&["dump"][..], &["dump", "--format", "raw"], &["dump", "-E"]] {
        let ran = Command::new(baredump())
            .args(words)
            .args([&file, &out])
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{words:?}");
        assert!(!out.exists());
    }
}

#[test]
fn a_raw_copy_of_a_running_kernels_memory_is_refused() {
    let kernel = open(&[&process([0x1000, 0x2000])]).unwrap();
    let out = MemoryFile::default();
    let error = copy_raw(&kernel, false, &out, &mut Terminal::new(4096, true));
    assert!(matches!(error, Err(DumpError::LiveRaw)));
}

/// A dump whose header is of another machine.
fn foreign(big: bool, bits: u32, machine: &str) -> Vec<u8> {
    let mut file = vec![0; 8192];
    file[..8].copy_from_slice(b"KDUMP   ");
    let number = |n: u32| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    file[8..12].copy_from_slice(&number(6));
    file[272..272 + machine.len()].copy_from_slice(machine.as_bytes());
    let at = if bits == 64 { 428 } else { 416 };
    file[at..at + 4].copy_from_slice(&number(4096));
    file
}

#[test]
fn each_is_named() {
    let mut flat = b"makedumpfile\0\0\0\0".to_vec();
    flat.extend(2u64.to_be_bytes());
    flat.resize(8192, 0);
    let program = |class: u8, order: u8, kind: u8| {
        let mut file = vec![0; 8192];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
        file[16] = kind;
        file
    };
    let begins = |bytes: &[u8]| {
        let mut file = bytes.to_vec();
        file.resize(8192, 0x31);
        file
    };
    let files: [(Vec<u8>, &[&str]); 23] = [
        (
            foreign(true, 64, "s390x"),
            &["big-endian machine (s390x)", "crash"],
        ),
        (foreign(true, 64, "ppc64"), &["big-endian machine (ppc64)"]),
        (foreign(false, 32, "i686"), &["32-bit machine (i686)"]),
        (
            foreign(true, 32, "ppc"),
            &["32-bit big-endian machine (ppc)"],
        ),
        (
            begins(&0xa819_0173_618f_23ed_u64.to_le_bytes()),
            &["LKCD", "crash"],
        ),
        (begins(b"sadump\0\0"), &["sadump", "makedumpfile"]),
        (begins(&[0x1f, 0x8b, 8]), &["gzip -d"]),
        (begins(b"\xfd7zXZ\0"), &["xz -d"]),
        (begins(b"BZh9"), &["bzip2 -d"]),
        (begins(b"QFI\xfb"), &["qcow2", "virsh dump --memory-only"]),
        (begins(b"KDMV"), &["VMDK"]),
        (
            begins(&0xbed2_bed2_u32.to_le_bytes()),
            &["VMware", "vmss2core"],
        ),
        (
            begins(&0xbed2_bed0_u32.to_le_bytes()),
            &["VMware", "vmss2core"],
        ),
        (begins(b"LibvirtQemudSave"), &["libvirt"]),
        (begins(b"QEVM"), &["migration"]),
        (begins(b"\x7fVirtualBox SavedState"), &["VBoxManage"]),
        (begins(b"PAGEDU64"), &["Windows"]),
        (begins(b"age-encryption.org/v1\n"), &["baredump decrypt"]),
        (begins(b"DISKDUMP"), &["diskdump", "crash"]),
        (flat, &["type 2", "makedumpfile -R"]),
        (program(1, 1, 4), &["32-bit ELF"]),
        (program(2, 2, 4), &["big-endian ELF"]),
        (program(2, 1, 2), &["ELF type is 2"]),
    ];
    for (file, words) in files {
        let error = dump(&[&file], 31).err().unwrap().to_string();
        for word in words {
            assert!(error.contains(word), "no `{word}` in `{error}`");
        }
    }
}

#[test]
fn a_dump_of_a_known_machine_is_not_taken_for_another() {
    let elf = FakeKernel::new(Generation::V6_12).build().elf;
    let written = dump(&[&elf], 31).unwrap().bytes;
    assert!(dump(&[&written], 31).is_ok());
}
