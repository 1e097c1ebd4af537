//! Whether a kernel image carries a signature: the certificate table of its PE header, which kernels with an EFI stub have.
//!
//! Source: PE format specification, "Optional Header Data Directories"; arch/x86/boot/header.S, Linux 5.10 to 7.2.

/// Where the DOS header says where the PE header is.
const PE_OFFSET: usize = 0x3c;
/// Signature and COFF header.
const OPTIONAL_HEADER: usize = 24;
/// `PE32+`.
const MAGIC_64: [u8; 2] = [0x0b, 0x02];
/// Number of directories, in the optional header of a 64-bit image.
const DIRECTORIES: usize = 108;
/// Size of the certificate table: the fifth directory's second word.
const CERTIFICATE_SIZE: usize = 112 + 4 * 8 + 4;
/// Directories up to and with the certificate table.
const DIRECTORIES_MIN: u32 = 5;

/// Is there a signature? Whether it is trusted, only the running kernel knows. False for what is no EFI program.
#[must_use]
pub fn is_signed(bytes: &[u8]) -> bool {
    certificate_size(bytes).is_some_and(|size| size > 0)
}

fn certificate_size(bytes: &[u8]) -> Option<u32> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let header = bytes.get(usize::try_from(u32_at(bytes, PE_OFFSET)?).ok()?..)?;
    let optional = header
        .strip_prefix(b"PE\0\0")
        .and(header.get(OPTIONAL_HEADER..))?;
    if !optional.starts_with(&MAGIC_64) || u32_at(optional, DIRECTORIES)? < DIRECTORIES_MIN {
        return None;
    }
    u32_at(optional, CERTIFICATE_SIZE)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(certificates: u8) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[PE_OFFSET] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        let optional = 0x40 + OPTIONAL_HEADER;
        bytes[optional..optional + 2].copy_from_slice(&MAGIC_64);
        bytes[optional + DIRECTORIES] = 6;
        bytes[optional + CERTIFICATE_SIZE] = certificates;
        bytes
    }

    #[test]
    fn signature_is_seen() {
        assert!(is_signed(&program(8)));
        assert!(!is_signed(&program(0)));
        assert!(!is_signed(b"MZ"));
        assert!(!is_signed(b"not a program"));
        let mut few = program(8);
        few[0x40 + OPTIONAL_HEADER + DIRECTORIES] = 4;
        assert!(!is_signed(&few));
        for cut in 0..program(8).len() {
            let _ = is_signed(&program(8)[..cut]);
        }
    }
}
