//! Where the program headers of a vmcore are, and how many: what its ELF header says, or what is there when that cannot be.
//!
//! Upstream: `fs/proc/vmcore.c` (`merge_note_headers_elf64`): one PT_NOTE behind the ELF header, then nothing but PT_LOADs, then zeros to a
//! whole page, then the notes. QEMU and makedumpfile write the same shape. A capture has one chance: a header whose fields were
//! overwritten does not hide the table behind it.

use super::VmcoreError;
use super::elf::{Ehdr, PHYS_LIMIT, PT_LOAD, PT_NOTE, Phdr};
use crate::format::In;
use zerocopy::{FromZeros, IntoBytes};

/// More program headers than any machine has: kernels count those of `/proc/vmcore` in 16 bits. Of a file that claims more the first
/// are read, which takes 10 MB.
pub(super) const MAX_PHDRS: u32 = 1 << 16;
/// Bytes at the start of a file that are searched for the table.
const SEARCHED: usize = 64 << 10;

const ET_CORE: u16 = 4;
const PN_XNUM: u16 = 0xffff;
const EHDR: u64 = size_of::<Ehdr>() as u64;
const PHDR: u64 = size_of::<Phdr>() as u64;

/// The program headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// File offset.
    pub(super) at: u64,
    /// At most so many; those that are none of a vmcore are passed over.
    pub(super) count: u32,
}

/// The table, and the sentence to warn with when the ELF header was not believed.
pub(super) fn find(file: &dyn In, header: &Ehdr) -> Result<(Table, Option<String>), VmcoreError> {
    let said = said(file, header);
    let found = match &said {
        Ok(_) => shape(file, EHDR),
        Err(_) => search(file),
    };
    let (said, found) = match (said, found) {
        (said, None) => return Ok((said?, None)),
        (Ok(said), Some(found)) if agree(file, said, found) => return Ok((said, None)),
        (said, Some(found)) => (said, found),
    };
    let why = said.map_or_else(
        |error| error.to_string(),
        |said| {
            format!(
                "it claims {} program headers at offset {}",
                said.count, said.at
            )
        },
    );
    let at = found.at;
    let warning = format!(
        "the ELF header is damaged ({why}); the program headers that are at offset {at} were taken"
    );
    Ok((found, Some(warning)))
}

/// What the ELF header says.
fn said(file: &dyn In, header: &Ehdr) -> Result<Table, VmcoreError> {
    let unsupported = |text: String| Err(VmcoreError::Unsupported(text));
    if header.ident[..4] != *b"\x7fELF" {
        return Err(VmcoreError::NotElf);
    }
    let (class, order) = (header.ident[4], header.ident[5]);
    if (class, order) != (2, 1) {
        let bits = if class == 1 { "32-bit " } else { "" };
        let order = if order == 2 { "big-endian " } else { "" };
        return unsupported(format!(
            "only 64-bit little-endian vmcores are read, this is {bits}{order}ELF of class {class}"
        ));
    }
    if header.kind.get() != ET_CORE {
        return unsupported(format!(
            "ELF type is {}, a vmcore has 4 (core)",
            header.kind
        ));
    }
    if u64::from(header.phentsize.get()) != PHDR {
        let size = header.phentsize;
        return unsupported(format!("program headers are {size} bytes, must be 56"));
    }
    let count = count(file, header)?;
    if count == 0 {
        return unsupported("it claims to have no program headers".into());
    }
    let at = header.phoff.get();
    Ok(Table { at, count })
}

/// The number of program headers; with PN_XNUM the real one is `sh_info` of section header 0.
fn count(file: &dyn In, header: &Ehdr) -> Result<u32, VmcoreError> {
    let count = u32::from(header.phnum.get());
    if header.phnum.get() != PN_XNUM || header.shoff.get() == 0 {
        return Ok(count);
    }
    let mut info = [0; 4];
    match header.shoff.get().checked_add(44) {
        Some(at) => file.read_at(at, &mut info)?,
        None => return Ok(count),
    }
    Ok(u32::from_le_bytes(info))
}

/// The first place that has the shape of a table, the usual one before all others.
fn search(file: &dyn In) -> Option<Table> {
    shape(file, EHDR).or_else(|| {
        let len = usize::try_from(file.len()).map_or(SEARCHED, |len| len.min(SEARCHED));
        let mut bytes = vec![0; len];
        file.read_at(0, &mut bytes).ok()?;
        let places = (0u64..).step_by(8).zip(bytes.chunks_exact(8));
        let mut notes = places.filter(|(_, word)| word.starts_with(&PT_NOTE.to_le_bytes()));
        notes.find_map(|(at, _)| shape(file, at))
    })
}

/// A PT_NOTE at `at`, PT_LOADs of memory behind it, and room for more up to the notes.
fn shape(file: &dyn In, at: u64) -> Option<Table> {
    let note = read(file, at).filter(|phdr| phdr.kind.get() == PT_NOTE)?;
    let end = note.offset.get();
    let room = end.checked_sub(at)? / PHDR;
    let count = u32::try_from(room).ok()?.min(MAX_PHDRS);
    let table = Table { at, count };
    (count > 1 && end <= file.len() && is_memory(file, table, 1)).then_some(table)
}

/// Whether entry `index` of the table is a PT_LOAD that makes sense.
fn is_memory(file: &dyn In, table: Table, index: u32) -> bool {
    let at = table.at.checked_add(u64::from(index) * PHDR);
    let Some(load) = at.and_then(|at| read(file, at)) else {
        return false;
    };
    let end = load.paddr.get().checked_add(load.memsz.get());
    load.kind.get() == PT_LOAD
        && load.memsz.get() != 0
        && load.filesz.get() <= load.memsz.get()
        && end.is_some_and(|end| end <= PHYS_LIMIT)
}

/// Whether what is said fits what is there: the same place, nothing left out, and no more than there is room for. Where memory goes on
/// behind the room, it is the place of the notes that is wrong.
fn agree(file: &dyn In, said: Table, found: Table) -> bool {
    let has_room = said.count <= found.count || is_memory(file, found, found.count);
    let leaves_out = said.count < found.count && is_memory(file, found, said.count);
    said.at == found.at && has_room && !leaves_out
}

fn read(file: &dyn In, at: u64) -> Option<Phdr> {
    let mut phdr = Phdr::new_zeroed();
    file.read_at(at, phdr.as_mut_bytes()).ok()?;
    Some(phdr)
}
