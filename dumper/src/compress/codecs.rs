//! The codecs behind the names.

use super::look::Look;
use super::{Compression, lzo, zstd};
use libdeflater::{CompressionLvl, Compressor};
use zlib_rs::{Inflate, InflateFlush, Status};
use zstd_safe::DCtx;

/// Levels of libdeflate: the first takes 2 to 3 of 100 bytes less than zlib's level 1, the second as much more in three quarters of the
/// time. Pages that repeat themselves are compressed by the first: there it gains most.
const ZLIB_LEVELS: [i32; 2] = [2, 1];
/// A page with at most so many different words of those that are looked at.
const REPEATED: usize = 48;
const WINDOW_BITS: u8 = 15;

/// One thread's compressor. Its memory is taken when it is made.
pub trait Codec: Send {
    /// Bytes that `out` must have room for, for a page of `page` bytes.
    fn bound(&self, page: usize) -> usize;
    /// Compresses `page` into `out` and returns the length; `None` when the page does not shrink or the codec fails: then it is
    /// stored as it is.
    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize>;
}

/// Makes a codec for pages of `page` bytes; `None` for [`Compression::None`] or when its memory is not there.
#[must_use]
pub fn codec(compression: Compression, page: usize) -> Option<Box<dyn Codec>> {
    Some(match compression {
        Compression::None => return None,
        Compression::Zlib => {
            let [thorough, fast] = ZLIB_LEVELS.map(CompressionLvl::new);
            Box::new(Zlib {
                thorough: Compressor::new(thorough.ok()?),
                fast: Compressor::new(fast.ok()?),
            })
        }
        Compression::Lzo => Box::new(Lzo(lzo::Encoder::new()?)),
        Compression::Snappy => Box::new(Snappy(snap::raw::Encoder::new())),
        Compression::Zstd => Box::new(zstd::Zstd::new(page)?),
        Compression::ZstdFast => Box::new(zstd::Fast::new()?),
    })
}

struct Zlib {
    thorough: Compressor,
    fast: Compressor,
}

impl Codec for Zlib {
    fn bound(&self, page: usize) -> usize {
        page
    }

    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        // With room for less than the page, a page that does not shrink does not finish.
        let room = out.get_mut(..page.len().checked_sub(1)?)?;
        let compressor = if Look::at(page).different > REPEATED {
            &mut self.fast
        } else {
            &mut self.thorough
        };
        compressor.zlib_compress(page, room).ok()
    }
}

struct Lzo(lzo::Encoder);

impl Codec for Lzo {
    fn bound(&self, page: usize) -> usize {
        page
    }

    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0
            .compress(page, out.get_mut(..page.len().checked_sub(1)?)?)
    }
}

struct Snappy(snap::raw::Encoder);

impl Codec for Snappy {
    fn bound(&self, page: usize) -> usize {
        snap::raw::max_compress_len(page)
    }

    fn compress(&mut self, page: &[u8], out: &mut [u8]) -> Option<usize> {
        self.0
            .compress(page, out)
            .ok()
            .filter(|len| *len < page.len())
    }
}

/// Opens compressed pages of any kind.
pub struct Decompressor {
    zstd: DCtx<'static>,
    zlib: Inflate,
    snappy: snap::raw::Decoder,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self {
            zstd: DCtx::create(),
            zlib: Inflate::new(true, WINDOW_BITS),
            snappy: snap::raw::Decoder::new(),
        }
    }
}

impl Decompressor {
    /// Fills `page` from `bytes`, which a page descriptor with `flags` points at.
    ///
    /// # Errors
    /// A sentence, when the bytes are no such page of exactly this size.
    pub fn decompress(&mut self, flags: u32, bytes: &[u8], page: &mut [u8]) -> Result<(), String> {
        let known = Compression::ALL.iter().find(|(_, _, flag)| *flag == flags);
        let Some((compression, name, _)) = known else {
            return Err(format!("unknown page flags {flags:#x}"));
        };
        let len = match compression {
            Compression::None => {
                if bytes.len() == page.len() {
                    page.copy_from_slice(bytes);
                }
                Ok(bytes.len())
            }
            Compression::Zstd | Compression::ZstdFast => self
                .zstd
                .decompress(page, bytes)
                .map_err(|c| zstd_safe::get_error_name(c).to_owned()),
            Compression::Zlib => self.inflate(bytes, page),
            Compression::Lzo => {
                lzokay::decompress::decompress(bytes, page).map_err(|e| format!("{e:?}"))
            }
            Compression::Snappy => self.unsnap(bytes, page),
        };
        match len {
            Ok(len) if len == page.len() => Ok(()),
            Ok(len) => Err(format!(
                "{name} data gives {len} bytes, a page has {}",
                page.len()
            )),
            Err(why) => Err(format!("{name} data is damaged: {why}")),
        }
    }

    fn inflate(&mut self, bytes: &[u8], page: &mut [u8]) -> Result<usize, String> {
        self.zlib.reset(true);
        match self.zlib.decompress(bytes, page, InflateFlush::Finish) {
            Ok(Status::StreamEnd) => {
                Ok(usize::try_from(self.zlib.total_out()).unwrap_or(usize::MAX))
            }
            Ok(_) => Err("the stream does not end".into()),
            Err(e) => Err(e.as_str().into()),
        }
    }

    fn unsnap(&mut self, bytes: &[u8], page: &mut [u8]) -> Result<usize, String> {
        let len = snap::raw::decompress_len(bytes).map_err(|e| e.to_string())?;
        if len != page.len() {
            return Ok(len);
        }
        self.snappy
            .decompress(bytes, page)
            .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_gives_the_page_back_or_refuses() {
        let text: Vec<u8> = (0..4096u32)
            .flat_map(|i| (i / 7).to_le_bytes())
            .take(4096)
            .collect();
        let dense: Vec<u8> = text.iter().map(|byte| byte | 0x40).collect();
        let mut x = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            x = x
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            x.to_be_bytes()[0]
        })
        .take(4096)
        .collect();
        let mut open = Decompressor::default();
        for (compression, name, flag) in Compression::ALL.into_iter().skip(1) {
            let mut codec = codec(compression, 4096).unwrap();
            let mut out = vec![0; codec.bound(4096)];
            for text in [&text, &dense, &text] {
                let len = codec.compress(text, &mut out).unwrap();
                assert!(len < 4096, "{name}");
                let mut page = [0; 4096];
                open.decompress(flag, &out[..len], &mut page).unwrap();
                assert_eq!(page[..], text[..], "{name}");
                assert!(
                    open.decompress(flag, &out[..len - 1], &mut page).is_err(),
                    "{name}"
                );
                assert!(
                    open.decompress(flag, &out[..len], &mut [0; 2048]).is_err(),
                    "{name}"
                );
                assert_eq!(codec.compress(&noise, &mut out), None, "{name}");
            }
        }
        assert!(
            open.decompress(0x40, &[0; 9], &mut [0; 4096])
                .unwrap_err()
                .contains("0x40")
        );
    }
}
