//! One section of an ELF64 little-endian file by name: all that is needed of a module. Every offset and size is an allegation.
//!
//! Source: elf(5), include/uapi/linux/elf.h.

const EHDR_SIZE: usize = 64;
const SHDR_SIZE: usize = 64;
const E_SHOFF: usize = 40;
const E_SHENTSIZE: usize = 58;
const E_SHNUM: usize = 60;
const E_SHSTRNDX: usize = 62;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;

/// The bytes of the first section called `name`; none when `bytes` is no such ELF file, is damaged or has no such section.
#[must_use]
pub fn section<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // ELF, 64-bit, little-endian.
    if bytes.len() < EHDR_SIZE || !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    if usize::from(u16_at(bytes, E_SHENTSIZE)?) != SHDR_SIZE {
        return None;
    }
    let table = usize::try_from(u64_at(bytes, E_SHOFF)?).ok()?;
    let count = usize::from(u16_at(bytes, E_SHNUM)?);
    let headers = bytes.get(table..table.checked_add(count.checked_mul(SHDR_SIZE)?)?)?;
    let header = |index: usize| headers.chunks_exact(SHDR_SIZE).nth(index);
    let names = contents(bytes, header(usize::from(u16_at(bytes, E_SHSTRNDX)?))?)?;
    let wanted = headers
        .chunks_exact(SHDR_SIZE)
        .find(|header| has_name(header, names, name))?;
    contents(bytes, wanted)
}

fn has_name(header: &[u8], names: &[u8], name: &[u8]) -> bool {
    let start = u32_at(header, 0).and_then(|start| usize::try_from(start).ok());
    let rest = start
        .and_then(|start| names.get(start..))
        .unwrap_or_default();
    rest.strip_prefix(name)
        .is_some_and(|after| after.first() == Some(&0))
}

fn contents<'a>(bytes: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    let start = usize::try_from(u64_at(header, SH_OFFSET)?).ok()?;
    let size = usize::try_from(u64_at(header, SH_SIZE)?).ok()?;
    bytes.get(start..start.checked_add(size)?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A module with nothing but a `.modinfo` section of these entries.
    pub(crate) fn module(modinfo: &[&str]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let info: Vec<u8> = modinfo
            .iter()
            .flat_map(|entry| entry.bytes().chain([0]))
            .collect();
        let mut bytes = vec![0; EHDR_SIZE];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes.extend(names);
        bytes.extend(&info);
        let table = bytes.len() as u64;
        bytes[E_SHOFF..E_SHOFF + 8].copy_from_slice(&table.to_le_bytes());
        bytes[E_SHENTSIZE] = 64;
        bytes[E_SHNUM] = 3;
        bytes[E_SHSTRNDX] = 1;
        for (name, start, size) in [
            (0, 0, 0),
            (1, 64, names.len()),
            (11, 64 + names.len(), info.len()),
        ] {
            let mut header = vec![0; SHDR_SIZE];
            header[0] = name;
            header[SH_OFFSET..SH_OFFSET + 8].copy_from_slice(&(start as u64).to_le_bytes());
            header[SH_SIZE..SH_SIZE + 8].copy_from_slice(&(size as u64).to_le_bytes());
            bytes.extend(header);
        }
        bytes
    }

    #[test]
    fn finds_the_section() {
        let bytes = module(&["name=x", "depends="]);
        assert_eq!(
            section(&bytes, b".modinfo"),
            Some(&b"name=x\0depends=\0"[..])
        );
        assert_eq!(section(&bytes, b".mod"), None);
        assert_eq!(section(&bytes, b".text"), None);
    }

    #[test]
    fn garbage_gives_nothing() {
        let good = module(&["name=x"]);
        for cut in 0..good.len() {
            let _ = section(&good[..cut], b".modinfo");
        }
        // Every byte of the headers replaced by the worst value: no panic, no read outside.
        for at in (0..EHDR_SIZE).chain(good.len() - 3 * SHDR_SIZE..good.len()) {
            for value in [0, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = section(&bad, b".modinfo");
            }
        }
        assert_eq!(section(b"#!/bin/sh", b".modinfo"), None);
    }
}
