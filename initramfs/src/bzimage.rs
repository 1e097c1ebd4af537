//! What an x86 kernel image says of itself; an arm64 one: [`crate::arm64_image`].
//!
//! Source: Documentation/arch/x86/boot.rst, boot protocol 2.10 (Linux 2.6.31) to 2.15 (7.2).

use thiserror::Error;

use crate::pe;

const SETUP_SECTS: usize = 0x1f1;
const SYSSIZE: usize = 0x1f4;
const HDRS: usize = 0x202;
const PROTOCOL: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const XLOADFLAGS: usize = 0x236;
const CMDLINE_SIZE: usize = 0x238;
const INIT_SIZE: usize = 0x260;
/// First protocol with `init_size`.
const PROTOCOL_INIT_SIZE: u16 = 0x20a;
/// `XLF_KERNEL_64`: the only kind that `kexec_file_load` takes.
const XLF_KERNEL_64: u16 = 1;
const VERSION_MAX: usize = 255;

/// The header fields that matter for loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BzImage {
    /// `uname -r` of the kernel, from its version string.
    pub release: String,
    /// Contiguous memory that the kernel needs while it unpacks itself, in bytes.
    pub init_size: u32,
    /// Longest command line without its NUL.
    pub cmdline_size: u32,
    /// Bytes that the file must have: the running kernel would load a shorter one, and a panic would start half a kernel.
    pub file_size: u64,
    /// Does it carry a signature, good or bad?
    pub signed: bool,
}

/// Why a file is no kernel that can be loaded.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BzImageError {
    /// No `HdrS`.
    #[error("it is neither an x86 bzImage (no boot header at 0x202) nor an arm64 Image")]
    NoHeader,
    /// Shorter than its header says.
    #[error(
        "it has {found} bytes where its header says {wanted}: the file is cut off; reinstall the kernel"
    )]
    Short {
        /// What the header says.
        wanted: u64,
        /// What is there.
        found: u64,
    },
    /// No version string.
    #[error("its version string is missing: the file is damaged or cut off; reinstall the kernel")]
    Cut,
    /// What the image is packed in can't be unpacked.
    #[error("what it is packed in can't be unpacked ({0}); reinstall the kernel")]
    Packed(String),
    /// A protocol from before 2009 or a 32-bit kernel.
    #[error(
        "it is a bzImage of boot protocol {major}.{minor:02} without a 64-bit entry; a 64-bit kernel is needed"
    )]
    TooOld {
        /// Protocol version.
        major: u16,
        /// Protocol version.
        minor: u16,
    },
}

impl BzImage {
    /// Judges the beginning of a file; 64 KiB are enough.
    ///
    /// # Errors
    /// It is no 64-bit bzImage.
    pub fn parse(bytes: &[u8]) -> Result<Self, BzImageError> {
        if bytes.get(HDRS..HDRS + 4) != Some(b"HdrS") {
            return Err(BzImageError::NoHeader);
        }
        let protocol = u16_at(bytes, PROTOCOL);
        if protocol < PROTOCOL_INIT_SIZE || u16_at(bytes, XLOADFLAGS) & XLF_KERNEL_64 == 0 {
            return Err(BzImageError::TooOld {
                major: protocol >> 8,
                minor: protocol & 0xff,
            });
        }
        let release = release(bytes);
        if release.is_empty() {
            return Err(BzImageError::Cut);
        }
        Ok(Self {
            release,
            init_size: u32_at(bytes, INIT_SIZE),
            cmdline_size: u32_at(bytes, CMDLINE_SIZE),
            // Setup sectors, then `syssize` units of 16 bytes.
            file_size: setup_end(bytes) + u64::from(u32_at(bytes, SYSSIZE)) * 16,
            signed: pe::is_signed(bytes),
        })
    }
}

/// The first word of the version string, which is at `kernel_version` + 0x200 inside the setup sectors.
fn release(bytes: &[u8]) -> String {
    let start = usize::from(u16_at(bytes, KERNEL_VERSION)) + 0x200;
    let setup_end = (usize::from(bytes.get(SETUP_SECTS).copied().unwrap_or(0)) + 1) * 512;
    let text = bytes
        .get(start..setup_end.min(bytes.len()))
        .unwrap_or_default();
    let word = text
        .iter()
        .take(VERSION_MAX)
        .take_while(|byte| byte.is_ascii_graphic());
    word.map(|byte| char::from(*byte)).collect()
}

fn setup_end(bytes: &[u8]) -> u64 {
    (u64::from(bytes.get(SETUP_SECTS).copied().unwrap_or(0)) + 1) * 512
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The first setup sectors of a bzImage.
    pub(crate) fn image(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 4 * 512];
        bytes[SETUP_SECTS] = 3;
        bytes[HDRS..HDRS + 4].copy_from_slice(b"HdrS");
        bytes[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        bytes[XLOADFLAGS] = 0x7f;
        bytes[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0x200_u16.to_le_bytes());
        bytes[CMDLINE_SIZE..CMDLINE_SIZE + 4].copy_from_slice(&2047_u32.to_le_bytes());
        bytes[INIT_SIZE..INIT_SIZE + 4].copy_from_slice(&0x0330_0000_u32.to_le_bytes());
        let text = format!("{release} (builder) #1 SMP");
        bytes[0x400..0x400 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn header_fields() {
        let header = BzImage::parse(&image("6.1.0-50-cloud-amd64")).unwrap();
        assert_eq!(header.release, "6.1.0-50-cloud-amd64");
        assert_eq!((header.init_size, header.cmdline_size), (0x0330_0000, 2047));
        assert_eq!(header.file_size, 4 * 512);
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(BzImage::parse(b"\x7fELF"), Err(BzImageError::NoHeader));
        let mut old = image("2.6");
        old[XLOADFLAGS] = 0;
        assert!(matches!(
            BzImage::parse(&old),
            Err(BzImageError::TooOld {
                major: 2,
                minor: 15
            })
        ));
        let mut wild = image("x");
        wild[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert_eq!(BzImage::parse(&wild), Err(BzImageError::Cut));
    }
}
