//! Files that distributions ship compressed (modules, firmware) as plain bytes: `.xz`, `.zst`, `.gz`.

use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;
use zlib_rs::{Inflate, InflateFlush, Status};

/// No module and no firmware file is nearly as big; a compressed file that claims more is damaged or hostile.
const LIMIT: usize = 512 << 20;
const CHUNK: usize = 256 << 10;

/// Suffixes of compressed files, in the order in which they are looked for after the plain name.
pub const SUFFIXES: [&str; 3] = [".xz", ".zst", ".gz"];

/// Why a file can't be had.
#[derive(Debug, Error)]
pub enum DecompressError {
    /// Reading failed.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The compressed data are damaged.
    #[error("{path} is a damaged {format} file ({detail}); reinstall its package")]
    Damaged {
        /// The file.
        path: String,
        /// `xz`, `zstd` or `gzip`.
        format: &'static str,
        /// What the decoder says.
        detail: String,
    },
}

/// `path` without a suffix that means compression.
#[must_use]
pub fn plain_name(path: &str) -> &str {
    SUFFIXES
        .iter()
        .find_map(|suffix| path.strip_suffix(suffix))
        .unwrap_or(path)
}

/// Reads `path`, decompressed as its suffix says.
///
/// # Errors
/// The file can't be read or is damaged.
pub fn read(path: &Path) -> Result<Vec<u8>, DecompressError> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|cause| DecompressError::Read {
        path: shown.clone(),
        cause,
    })?;
    let (format, result) = match path.extension().and_then(|end| end.to_str()) {
        Some("xz") => ("xz", xz(&bytes)),
        Some("zst") => ("zstd", zstd(&bytes)),
        Some("gz") => ("gzip", gzip(&bytes)),
        _ => return Ok(bytes),
    };
    result.map_err(|detail| DecompressError::Damaged {
        path: shown,
        format,
        detail,
    })
}

pub(crate) fn xz(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    lzma_rust2::XzReader::new(bytes, true)
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|err| err.to_string())?;
    within_limit(out)
}

/// A zstd frame as bytes.
///
/// # Errors
/// What the decoder says, or more than 512 MiB.
pub fn zstd(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut context = zstd_safe::DCtx::try_create().ok_or("no memory")?;
    let mut input = zstd_safe::InBuffer::around(bytes);
    let (mut out, mut chunk) = (Vec::new(), vec![0_u8; CHUNK]);
    loop {
        let mut output = zstd_safe::OutBuffer::around(chunk.as_mut_slice());
        let before = input.pos();
        let hint = context
            .decompress_stream(&mut output, &mut input)
            .map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
        out.extend_from_slice(output.as_slice());
        let produced = output.pos();
        if out.len() > LIMIT {
            return within_limit(out);
        }
        if hint == 0 && input.pos() == bytes.len() {
            return Ok(out);
        }
        if produced == 0 && input.pos() == before {
            return Err("it ends early".to_owned());
        }
    }
}

/// A gzip member as bytes.
///
/// # Errors
/// What the decoder says, or more than 512 MiB.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // 16 + 15: gzip header, largest window.
    let mut inflate = Inflate::new(true, 16 + 15);
    let (mut out, mut chunk) = (Vec::new(), vec![0_u8; CHUNK]);
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let rest = usize::try_from(read)
            .ok()
            .and_then(|start| bytes.get(start..))
            .unwrap_or_default();
        let status = inflate
            .decompress(rest, &mut chunk, InflateFlush::NoFlush)
            .map_err(|err| err.as_str().to_owned())?;
        let produced = usize::try_from(inflate.total_out() - written).unwrap_or(usize::MAX);
        out.extend_from_slice(chunk.get(..produced).unwrap_or_default());
        if status == Status::StreamEnd || out.len() > LIMIT {
            return within_limit(out);
        }
        if produced == 0 && inflate.total_in() == read {
            return Err("it ends early".to_owned());
        }
    }
}

fn within_limit(out: Vec<u8>) -> Result<Vec<u8>, String> {
    if out.len() >= LIMIT {
        Err("more than 512 MiB when decompressed".to_owned())
    } else {
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Compression;

    fn text() -> Vec<u8> {
        (0..400_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect()
    }

    #[test]
    fn zstd_and_gzip_come_back() {
        let zst = Compression::Zstd.compress(&text()).unwrap();
        assert!(zstd(&zst).unwrap() == text());
        assert!(zstd(&zst[..zst.len() / 2]).is_err());
        assert!(zstd(b"no frame at all").is_err());
        let gz = Compression::Gzip.compress(&text()).unwrap();
        assert!(gzip(&gz).unwrap() == text());
        assert!(gzip(&gz[..gz.len() / 2]).is_err());
        assert!(gzip(b"no member at all").is_err());
    }

    #[test]
    fn xz_comes_back() {
        // `printf hello | xz --check=crc32`
        let packed = [
            0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00,
            0x21, 0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x04, 0x68,
            0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00, 0x00, 0x86, 0xa6, 0x10, 0x36, 0x00, 0x01,
            0x19, 0x05, 0xbc, 0xe8, 0xec, 0xcb, 0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00,
            0x00, 0x01, 0x59, 0x5a,
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ko.xz");
        std::fs::write(&path, packed).unwrap();
        assert_eq!(read(&path).unwrap(), b"hello");
        std::fs::write(&path, &packed[..30]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("damaged xz"));
    }

    #[test]
    fn plain_names() {
        assert_eq!(plain_name("a.ko.xz"), "a.ko");
        assert_eq!(plain_name("a.ko"), "a.ko");
    }
}
