//! One member of a newc archive as bytes: header, name, data.

use std::io::{self, Write};

use super::CpioError;

const MAGIC: &[u8; 6] = b"070701";
const HEADER_SIZE: usize = 110;

/// Header, name and data, the last two padded to 4 bytes. `fields`: inode, mode, links, device major and minor.
pub(super) fn write(
    out: &mut impl Write,
    name: &str,
    fields: [u32; 5],
    data: &[u8],
) -> io::Result<()> {
    let [inode, mode, links, major, minor] = fields;
    let too_big = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let size = u32::try_from(data.len()).map_err(too_big)?;
    let name_size = u32::try_from(name.len().saturating_add(1)).map_err(too_big)?;
    out.write_all(MAGIC)?;
    // uid, gid, mtime, the device that holds the file and the checksum stay 0.
    for field in [
        inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0,
    ] {
        write!(out, "{field:08x}")?;
    }
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    out.write_all(padding(HEADER_SIZE + name.len() + 1))?;
    out.write_all(data)?;
    out.write_all(padding(data.len()))
}

fn padding(length: usize) -> &'static [u8] {
    &[0; 3][..length.wrapping_neg() % 4]
}

/// Name, the 13 header fields, data, and what follows.
pub(super) type Member<'a> = (&'a str, [u32; 13], &'a [u8], &'a [u8]);

pub(super) fn read(bytes: &[u8]) -> Result<Member<'_>, CpioError> {
    const CUT: CpioError = CpioError::Damaged("it ends in the middle of an entry");
    let header = bytes.get(..HEADER_SIZE).ok_or(CUT)?;
    if !header.starts_with(MAGIC) {
        return Err(CpioError::Damaged("an entry doesn't begin with 070701"));
    }
    let mut fields = [0_u32; 13];
    for (field, digits) in fields.iter_mut().zip(header[MAGIC.len()..].chunks_exact(8)) {
        *field = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| u32::from_str_radix(text, 16).ok())
            .ok_or(CpioError::Damaged(
                "a header field is no hexadecimal number",
            ))?;
    }
    let size = usize::try_from(fields[6]).map_err(|_| CUT)?;
    let name_size = usize::try_from(fields[11]).map_err(|_| CUT)?;
    let data_start = HEADER_SIZE
        .checked_add(name_size)
        .and_then(|end| end.checked_next_multiple_of(4))
        .ok_or(CUT)?;
    let data_end = data_start.checked_add(size).ok_or(CUT)?;
    let name = bytes
        .get(HEADER_SIZE..HEADER_SIZE + name_size)
        .and_then(<[u8]>::split_last)
        .ok_or(CUT)?
        .1;
    let name = std::str::from_utf8(name).map_err(|_| CpioError::Damaged("a name is not UTF-8"))?;
    let data = bytes.get(data_start..data_end).ok_or(CUT)?;
    let rest = data_end
        .checked_next_multiple_of(4)
        .and_then(|end| bytes.get(end..))
        .unwrap_or_default();
    Ok((name, fields, data, rest))
}
