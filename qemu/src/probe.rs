//! The smallest initramfs: an `/init` of one page that says a word on the console and resets the machine. It shows that a kernel boots to user mode.
//!
//! newc archive: kernel `Documentation/driver-api/early-userspace/buffer-format.rst`. ELF64 for x86-64, system calls write(2) and
//! reboot(2) with `LINUX_REBOOT_CMD_RESTART`.

/// What `/init` says.
pub(crate) const WORD: &str = "probe: user mode reached";
/// Where the program is linked to.
const BASE: usize = 0x40_0000;
/// Size of the ELF header and its one program header.
const HEADERS: usize = 64 + 56;

/// The archive with `/init`. Opening `/dev/console` needs no node here: the archive built into every kernel holds one.
pub(crate) fn archive() -> Vec<u8> {
    let mut out = member("init", 0o100_755, &program());
    out.extend(member("TRAILER!!!", 0, &[]));
    out
}

/// One member of a newc archive: header of hexadecimal fields, name and data, both padded to 4 bytes.
fn member(name: &str, mode: usize, data: &[u8]) -> Vec<u8> {
    let fields = [
        1,
        mode,
        0,
        0,
        1,
        0,
        data.len(),
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ];
    let mut out = b"070701".to_vec();
    for field in fields {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(name.bytes().chain([0]));
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A static executable: headers, code, text, all in one segment.
fn program() -> Vec<u8> {
    let text = format!("{WORD}\n");
    let mut code = Vec::new();
    // write(1, text, length)
    code.extend([0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0]);
    code.extend([0x48, 0x8d, 0x35]);
    let hole = code.len();
    code.extend([0; 4]);
    code.push(0xba);
    code.extend(little(text.len(), 4));
    code.extend([0x0f, 0x05]);
    // reboot(magic1, magic2, RESTART)
    code.extend([0xb8, 169, 0, 0, 0]);
    code.extend([0xbf, 0xad, 0xde, 0xe1, 0xfe]);
    code.extend([0xbe, 0x69, 0x19, 0x12, 0x28]);
    code.extend([0xba, 0x67, 0x45, 0x23, 0x01]);
    code.extend([0x0f, 0x05, 0xeb, 0xfe]);
    // The text follows the code; its address is relative to the end of the lea instruction.
    let offset = little(code.len() - (hole + 4), 4);
    code.splice(hole..hole + 4, offset);
    code.extend(text.bytes());
    let mut out = headers(code.len());
    out.extend(code);
    out
}

/// ELF header and the one PT_LOAD (readable, executable) over the whole file.
fn headers(code: usize) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    for (value, size) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (BASE + HEADERS, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (0, 2),
        (0, 2),
        (0, 2),
    ] {
        out.extend(little(value, size));
    }
    let size = HEADERS + code;
    for (value, width) in [
        (1, 4),
        (5, 4),
        (0, 8),
        (BASE, 8),
        (BASE, 8),
        (size, 8),
        (size, 8),
        (0x1000, 8),
    ] {
        out.extend(little(value, width));
    }
    out
}

/// The low `size` bytes of a number.
fn little(value: usize, size: usize) -> Vec<u8> {
    value.to_le_bytes()[..size].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_aligned_and_ends() {
        let archive = archive();
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.starts_with(b"070701"));
        assert!(archive.windows(10).any(|w| w == b"TRAILER!!!"));
    }

    /// The probe program must run on the host too, up to the reboot that only root may do: so only its bytes are checked.
    #[test]
    fn program_points_at_its_text() {
        let program = program();
        let code = HEADERS;
        assert_eq!(
            usize::from_le_bytes(program[24..32].try_into().unwrap()),
            BASE + HEADERS
        );
        assert_eq!(
            usize::from_le_bytes(program[96..104].try_into().unwrap()),
            program.len()
        );
        let lea = code + 10;
        let distance = u32::from_le_bytes(program[lea + 3..lea + 7].try_into().unwrap()) as usize;
        assert!(program[lea + 7 + distance..].starts_with(WORD.as_bytes()));
    }
}
