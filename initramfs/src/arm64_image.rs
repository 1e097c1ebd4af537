//! arm64 kernel images: what they say of themselves, plain, compressed by gzip, or as an EFI program that unpacks itself (zboot).
//!
//! Source: Documentation/arch/arm64/booting.rst and drivers/firmware/efi/libstub/zboot-header.S, Linux 5.10 to 7.2. The header does not name
//! the release: it is taken from the banner in the kernel's data.

use std::borrow::Cow;

use crate::bzimage::{BzImage, BzImageError};
use crate::decompress;
use crate::pe;

const MAGIC: usize = 0x38;
const IMAGE_SIZE: usize = 0x10;
/// `COMMAND_LINE_SIZE`, its NUL left out.
const CMDLINE_SIZE: u32 = 2047;
const BANNER: &[u8] = b"Linux version ";
const RELEASE_MAX: usize = 64;
/// In the header of zboot: offset and size of the payload, name of its compression.
const ZBOOT_PAYLOAD: usize = 0x08;
const ZBOOT_SIZE: usize = 0x0c;
const ZBOOT_METHOD: usize = 0x18;

/// Whether the beginning of a file is that of an arm64 kernel in one of its forms; a gzip file may be one.
#[must_use]
pub fn is_one(bytes: &[u8]) -> bool {
    is_plain(bytes) || is_zboot(bytes) || bytes.starts_with(&[0x1f, 0x8b])
}

fn is_plain(bytes: &[u8]) -> bool {
    bytes.get(MAGIC..MAGIC + 4) == Some(b"ARM\x64")
}

fn is_zboot(bytes: &[u8]) -> bool {
    bytes.starts_with(b"MZ") && bytes.get(4..8) == Some(b"zimg")
}

/// Judges a whole file.
///
/// # Errors
/// It is cut off, damaged, or no kernel.
pub fn parse(bytes: &[u8]) -> Result<BzImage, BzImageError> {
    let plain = plain(bytes)?;
    if !is_plain(&plain) {
        return Err(BzImageError::NoHeader);
    }
    let size = number(&plain, IMAGE_SIZE, 8).unwrap_or(0);
    Ok(BzImage {
        release: release(&plain).ok_or(BzImageError::Cut)?,
        init_size: u32::try_from(size).map_err(|_| BzImageError::Cut)?,
        cmdline_size: CMDLINE_SIZE,
        file_size: bytes.len() as u64,
        signed: pe::is_signed(bytes),
    })
}

/// The image as the boot protocol wants it.
fn plain(bytes: &[u8]) -> Result<Cow<'_, [u8]>, BzImageError> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let unpacked = decompress::gzip(bytes).map_err(BzImageError::Packed)?;
        return Ok(Cow::Owned(unpacked));
    }
    if !is_zboot(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    let (start, size) = (
        number(bytes, ZBOOT_PAYLOAD, 4),
        number(bytes, ZBOOT_SIZE, 4),
    );
    let payload = start
        .zip(size)
        .and_then(|(start, size)| bytes.get(start..start.checked_add(size)?))
        .ok_or(BzImageError::Cut)?;
    let method = bytes.get(ZBOOT_METHOD..).unwrap_or_default();
    let unpacked = if method.starts_with(b"gzip\0") {
        decompress::gzip(payload)
    } else if method.starts_with(b"zstd") {
        decompress::zstd(payload)
    } else if method.starts_with(b"xz") {
        decompress::xz(payload)
    } else {
        let end = method.iter().take(8).position(|byte| *byte == 0);
        let name = String::from_utf8_lossy(&method[..end.unwrap_or(0)]).into_owned();
        Err(format!("the compression `{name}` is not known here"))
    };
    unpacked.map(Cow::Owned).map_err(BzImageError::Packed)
}

/// The word after the banner; there may be formats of the same text, which have no release.
fn release(plain: &[u8]) -> Option<String> {
    let starts = (0..plain.len()).filter(|at| plain[*at..].starts_with(BANNER));
    starts
        .map(|at| &plain[at + BANNER.len()..])
        .filter(|text| text.first().is_some_and(u8::is_ascii_digit))
        .find_map(|text| {
            let end = text
                .iter()
                .take(RELEASE_MAX)
                .position(|byte| *byte == b' ')?;
            String::from_utf8(text[..end].to_vec()).ok()
        })
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    let value = field
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Compression;

    fn image() -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[IMAGE_SIZE + 1] = 0x20;
        bytes[MAGIC..MAGIC + 4].copy_from_slice(b"ARM\x64");
        bytes[1000..1017].copy_from_slice(b"Linux version %s ");
        bytes[2000..2030].copy_from_slice(b"Linux version 6.12.1-arm64 (a)");
        bytes
    }

    fn zboot(method: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[4..8].copy_from_slice(b"zimg");
        bytes[ZBOOT_PAYLOAD + 1] = 2;
        let size = u32::try_from(payload.len()).unwrap();
        bytes[ZBOOT_SIZE..ZBOOT_SIZE + 4].copy_from_slice(&size.to_le_bytes());
        bytes[ZBOOT_METHOD..ZBOOT_METHOD + method.len()].copy_from_slice(method);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn every_form() {
        let gzip = Compression::Gzip.compress(&image()).unwrap();
        let zstd = Compression::Zstd.compress(&image()).unwrap();
        for form in [
            image(),
            gzip.clone(),
            zboot(b"gzip", &gzip),
            zboot(b"zstd22", &zstd),
        ] {
            assert!(is_one(&form));
            let header = parse(&form).unwrap();
            assert_eq!(header.release, "6.12.1-arm64");
            assert_eq!(header.init_size, 0x2000);
        }
    }

    #[test]
    fn damage_is_named() {
        assert!(!is_one(b"\x7fELF"));
        assert_eq!(parse(&image()[..1990]), Err(BzImageError::Cut));
        let unknown = parse(&zboot(b"lzma", b"x")).unwrap_err().to_string();
        assert!(unknown.contains("`lzma`"), "{unknown}");
        let gzip = Compression::Gzip.compress(b"text").unwrap();
        assert_eq!(parse(&gzip), Err(BzImageError::NoHeader));
        let mut far = zboot(b"gzip", &gzip);
        far[ZBOOT_PAYLOAD + 3] = 0xff;
        assert_eq!(parse(&far), Err(BzImageError::Cut));
    }
}
