//! Compression of the image, by what the capture kernel can unpack.
//!
//! Source: usr/Kconfig (`CONFIG_RD_*`) and lib/decompress_unzstd.c; zstd since Linux 5.9.

use thiserror::Error;
use zlib_rs::{DeflateConfig, ReturnCode, compress_bound, compress_slice};
use zstd_safe::{CCtx, CParameter};

use crate::kconfig::KernelConfig;

const ZSTD_LEVEL: i32 = 19;
/// The kernel allocates the whole window while it unpacks the image, at the moment when the reservation is fullest. A window of
/// 256 KiB instead of level 19's 8 MiB makes an image of 1 MB larger by 15 kB, and saves up to the unpacked size there.
const ZSTD_WINDOW_LOG: u32 = 18;
const GZIP_LEVEL: i32 = 9;
/// First kernel release that unpacks a zstd image.
const ZSTD_SINCE: (u32, u32) = (5, 9);

/// How an image is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Level 19 with a small window and a checksum.
    Zstd,
    /// Level 9.
    Gzip,
    /// A bare archive.
    None,
}

/// The compressor failed.
#[derive(Debug, Error)]
#[error("the image can't be compressed with {format}: {detail}")]
pub struct CompressError {
    format: &'static str,
    detail: String,
}

/// A compression and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The compression.
    pub compression: Compression,
    /// Why, for people.
    pub reason: String,
}

impl Compression {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::None => "none",
        }
    }

    /// Compresses an archive; same bytes in, same bytes out.
    ///
    /// # Errors
    /// The compressor's.
    pub fn compress(self, bytes: &[u8]) -> Result<Vec<u8>, CompressError> {
        let failed = |detail| CompressError {
            format: self.name(),
            detail,
        };
        match self {
            Self::Zstd => zstd(bytes).map_err(failed),
            Self::Gzip => gzip(bytes).map_err(failed),
            Self::None => Ok(bytes.to_vec()),
        }
    }
}

/// The best compression that the kernel supports, from its configuration, else from its release.
#[must_use]
pub fn choose(config: Option<&KernelConfig>, release: &str) -> Choice {
    match config {
        Some(config) => from_config(config),
        None => from_release(release),
    }
}

fn from_config(config: &KernelConfig) -> Choice {
    let known = [
        ("CONFIG_RD_ZSTD", Compression::Zstd),
        ("CONFIG_RD_GZIP", Compression::Gzip),
    ];
    for (option, compression) in known {
        if config.is_builtin(option) {
            return Choice {
                compression,
                reason: format!("{option}=y in {}", config.source),
            };
        }
    }
    let reason = format!(
        "neither CONFIG_RD_ZSTD nor CONFIG_RD_GZIP in {}",
        config.source
    );
    Choice {
        compression: Compression::None,
        reason,
    }
}

fn from_release(release: &str) -> Choice {
    let mut numbers = release
        .split(['.', '-', '+'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (compression, word) = if version >= ZSTD_SINCE {
        (Compression::Zstd, "unpack")
    } else {
        (Compression::Gzip, "don't unpack")
    };
    Choice {
        compression,
        reason: format!(
            "no kernel configuration found; kernels as old as {release} usually {word} zstd"
        ),
    }
}

fn zstd(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let error = |code| zstd_safe::get_error_name(code).to_owned();
    let mut context = CCtx::try_create().ok_or("no memory")?;
    for parameter in [
        CParameter::CompressionLevel(ZSTD_LEVEL),
        CParameter::WindowLog(ZSTD_WINDOW_LOG),
        CParameter::ChecksumFlag(true),
    ] {
        context.set_parameter(parameter).map_err(error)?;
    }
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    context.compress2(&mut out, bytes).map_err(error)?;
    Ok(out)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // 16 + 15: gzip header (without name and time), largest window.
    let config = DeflateConfig {
        window_bits: 16 + 15,
        ..DeflateConfig::new(GZIP_LEVEL)
    };
    // The bound is for a zlib header; a gzip header and trailer are 12 bytes longer.
    let mut out = vec![0; compress_bound(bytes.len()).saturating_add(32)];
    match compress_slice(&mut out, bytes, config) {
        (packed, ReturnCode::Ok) => Ok(packed.to_vec()),
        (_, code) => Err(format!("{code:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> KernelConfig {
        KernelConfig::parse(text, "config")
    }

    #[test]
    fn configuration_decides() {
        let choice = choose(
            Some(&config("CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n")),
            "4.4.0",
        );
        assert_eq!(
            (choice.compression, choice.reason.as_str()),
            (Compression::Zstd, "CONFIG_RD_ZSTD=y in config")
        );
        let choice = choose(
            Some(&config("CONFIG_RD_GZIP=y\n# CONFIG_RD_ZSTD is not set\n")),
            "6.1.0",
        );
        assert_eq!(choice.compression, Compression::Gzip);
        assert_eq!(
            choose(Some(&config("")), "6.1.0").compression,
            Compression::None
        );
    }

    #[test]
    fn release_decides_without_configuration() {
        assert_eq!(
            choose(None, "5.10.0-32-cloud-amd64").compression,
            Compression::Zstd
        );
        assert_eq!(choose(None, "5.8.1").compression, Compression::Gzip);
        assert_eq!(choose(None, "7.2.13+deb14").compression, Compression::Zstd);
        assert_eq!(choose(None, "what").compression, Compression::Gzip);
    }

    #[test]
    fn window_is_small_and_checksum_is_there() {
        let packed = zstd(&vec![7; 5 << 20]).unwrap();
        // RFC 8878: descriptor bit 2 = checksum, bit 5 = single segment; window descriptor: exponent in the upper 5 bits, + 10.
        assert_eq!(packed[4] & 0b10_0100, 0b100);
        assert_eq!((packed[5] >> 3) + 10, 18);
    }
}
