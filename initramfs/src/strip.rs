//! The part of a program that is loaded. Symbols and section headers behind it would only be held in memory.
//!
//! Source: System V ABI, chapter 4 "ELF header" and chapter 5 "Program header".

/// Offset of the section header table, and of the number of its entries with the index of their names.
const SHOFF: usize = 40;
const SHNUM: usize = 60;
const PHOFF: usize = 32;
const PHNUM: usize = 56;
const PHDR_SIZE: usize = 56;
const PT_LOAD: u32 = 1;
const HEADER: usize = 64;

/// Cuts off what no segment loads. Anything but a sound little-endian ELF64 program stays as it is.
#[must_use]
pub fn strip(mut program: Vec<u8>) -> Vec<u8> {
    let Some(end) = loaded(&program) else {
        return program;
    };
    program.truncate(end);
    program[SHOFF..SHOFF + 8].fill(0);
    program[SHNUM..SHNUM + 4].fill(0);
    program
}

/// Where the last segment ends in the file.
fn loaded(program: &[u8]) -> Option<usize> {
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = number(program, PHOFF)?;
    let count = usize::from(u16::from_le_bytes(*program.get(PHNUM..)?.first_chunk()?));
    let headers = program.get(table..table.checked_add(count * PHDR_SIZE)?)?;
    let mut end = (table + count * PHDR_SIZE).max(HEADER);
    let mut any = false;
    for header in headers.chunks_exact(PHDR_SIZE) {
        any |= header.starts_with(&PT_LOAD.to_le_bytes());
        end = end.max(number(header, 8)?.checked_add(number(header, 32)?)?);
    }
    (any && end <= program.len()).then_some(end)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let value = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program whose one segment is `size` bytes from the beginning, then 100 more bytes.
    fn program(kind: u32, size: u64) -> Vec<u8> {
        let mut bytes = vec![7; 300];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[PHOFF..PHOFF + 8].copy_from_slice(&64_u64.to_le_bytes());
        bytes[PHNUM..PHNUM + 2].copy_from_slice(&1_u16.to_le_bytes());
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        bytes[72..80].copy_from_slice(&0_u64.to_le_bytes());
        bytes[96..104].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    #[test]
    fn what_is_not_loaded_is_cut_off() {
        let whole = program(PT_LOAD, 200);
        let cut = strip(whole.clone());
        assert_eq!(cut.len(), 200);
        assert_eq!(cut[64..], whole[64..200]);
        assert_eq!(
            (&cut[SHOFF..SHOFF + 8], &cut[SHNUM..SHNUM + 4]),
            (&[0; 8][..], &[0; 4][..])
        );
        assert_eq!(strip(cut.clone()), cut);
    }

    #[test]
    fn what_is_not_understood_stays() {
        for odd in [
            program(2, 200),
            program(PT_LOAD, 301),
            program(PT_LOAD, u64::MAX),
            b"#!/bin/sh".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(strip(odd.clone()), odd);
        }
        let whole = program(PT_LOAD, 200);
        for cut in 0..whole.len() {
            let _ = strip(whole[..cut].to_vec());
        }
    }
}
