//! Files that are taken for vmcores and are none that is read here, by their first bytes: what they are, and what to do with them.

use crate::format::In;

/// First bytes, what begins so, what to do.
const KNOWN: &[(&[u8], &str, &str)] = &[
    (
        b"DISKDUMP",
        "a diskdump of an old kernel",
        "only crash reads it",
    ),
    (
        &[0xed, 0x23, 0x8f, 0x61, 0x73, 0x01, 0x19, 0xa8],
        "an LKCD dump",
        LKCD,
    ),
    (
        &[0xcd, 0x23, 0x8f, 0x61, 0x73, 0x01, 0x19, 0xa8],
        "an LKCD dump",
        LKCD,
    ),
    (
        &[0xa8, 0x19, 0x01, 0x73, 0x61, 0x8f, 0x23, 0xed],
        "an LKCD dump of a big-endian machine",
        LKCD,
    ),
    (
        b"sadump\0\0",
        "a sadump of a Fujitsu machine",
        "crash and makedumpfile read it",
    ),
    (
        &[0x1f, 0x8b],
        "compressed with gzip",
        "decompress it first, with 'gzip -d'",
    ),
    (
        b"\xfd7zXZ\0",
        "compressed with xz",
        "decompress it first, with 'xz -d'",
    ),
    (
        b"BZh",
        "compressed with bzip2",
        "decompress it first, with 'bzip2 -d'",
    ),
    (
        b"\x89LZO\0",
        "compressed with lzop",
        "decompress it first, with 'lzop -d'",
    ),
    (
        b"QFI\xfb",
        "a disk image (qcow2)",
        "the memory of a guest is written by 'virsh dump --memory-only' or QEMU's dump-guest-memory",
    ),
    (
        b"KDMV",
        "a disk image (VMDK)",
        "the memory of a guest is in its .vmem, which vmss2core makes a vmcore of",
    ),
    (&[0xd0, 0xbe, 0xd2, 0xbe], "a VMware snapshot", VMSS),
    (&[0xd1, 0xba, 0xd1, 0xba], "a VMware snapshot", VMSS),
    (&[0xd2, 0xbe, 0xd2, 0xbe], "a VMware snapshot", VMSS),
    (&[0xd3, 0xbe, 0xd3, 0xbe], "a VMware snapshot", VMSS),
    (b"LibvirtQemudSave", "a guest that libvirt saved", SAVED),
    (
        b"LibvirtQemudPart",
        "a guest that libvirt saved in part",
        SAVED,
    ),
    (b"QEVM", "the migration stream of a QEMU guest", SAVED),
    (
        b"\x7fVirtualBox Sav",
        "a guest that VirtualBox saved",
        "'VBoxManage debugvm VM dumpvmcore' writes its memory as a vmcore",
    ),
    (
        b"PAGEDU64",
        "a memory dump of Windows",
        "nothing for Linux reads it",
    ),
    (
        b"PAGEDUMP",
        "a memory dump of Windows",
        "nothing for Linux reads it",
    ),
    (
        b"age-encryption.o",
        "encrypted",
        "open it first, with 'baredump decrypt'",
    ),
];

const LKCD: &str = "only crash reads it";
const VMSS: &str = "vmss2core makes a vmcore of it and its .vmem, and crash reads it";
const SAVED: &str =
    "restore it and write its memory with 'virsh dump --memory-only' or QEMU's dump-guest-memory";

/// What begins with `first`, as a sentence.
pub(super) fn name(first: &[u8; 16]) -> Option<String> {
    let (_, what, hint) = KNOWN.iter().find(|(bytes, ..)| first.starts_with(bytes))?;
    Some(format!("this is {what}: {hint}"))
}

/// A kdump-compressed file that is not of a 64-bit little-endian machine, as a sentence.
///
/// `struct disk_dump_header` is signature, version and utsname, 402 bytes in all, then a timeval in the machine's own form.
pub(super) fn name_dump(file: &dyn In) -> Option<String> {
    let mut head = [0; 432];
    file.read_at(0, &mut head).ok()?;
    let word = |at: usize| head.get(at..at + 4)?.try_into().ok();
    let is_page = |size: u32| size.is_power_of_two() && (4096..=65536).contains(&size);
    let version: [u8; 4] = word(8)?;
    let big = (1..=6).contains(&u32::from_be_bytes(version));
    let number = |at| {
        let bytes = word(at)?;
        Some(if big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    // Where the size of a block is with 64 and with 32 bits.
    let is_64 = is_page(number(428)?);
    let is_32 = !is_64 && is_page(number(416)?);
    let machine = match (big, is_32) {
        (false, false) => return None,
        (true, false) => "a big-endian machine",
        (false, true) => "a 32-bit machine",
        (true, true) => "a 32-bit big-endian machine",
    };
    let name = String::from_utf8_lossy(head.get(12 + 4 * 65..12 + 5 * 65)?).into_owned();
    let name = name
        .split('\0')
        .next()
        .unwrap_or_default()
        .escape_debug()
        .to_string();
    let name = if name.is_empty() {
        name
    } else {
        format!(" ({name})")
    };
    Some(format!(
        "this is a kdump-compressed dump of {machine}{name}: only x86_64 and arm64 are read; use the crash that was built for that machine, or libkdumpfile"
    ))
}
