//! Where BTF is in the kernel, its header, its strings.

use super::super::virt::{VirtMem, Window};
use super::types::{TYPE, Type, u32_at};
use crate::addr::VirtAddr;
use std::collections::HashMap;

/// 0xeb9f, version 1, no flags.
const MAGIC: [u8; 4] = [0x9f, 0xeb, 1, 0];
/// Bytes of the header in all versions so far; newer ones have more behind.
const HEADER: usize = 24;
/// A header with the place of a layout section.
const WITH_LAYOUT: u32 = 32;
/// More than the types or the names of any kernel take; real ones have 1 to 6 MiB each.
const MAX_SECTION: u32 = 32 << 20;
/// Kinds that a layout section may describe.
const MAX_KINDS: u32 = 128;
/// Bytes of the kernel's image that are searched for BTF.
const IMAGE: u64 = 128 << 20;
/// Bytes without anything mapped after which the image is over: the gaps in it are smaller.
const GAP: u64 = 8 << 20;
/// Places that look like BTF and are no BTF after which the search ends.
const MAX_FAKES: u32 = 1024;
/// Bytes of it that are looked at in one go.
const BLOCK: usize = 64 << 10;

/// The header, in virtual addresses.
pub(super) struct Header {
    pub(super) types: VirtAddr,
    pub(super) types_len: u32,
    strings: VirtAddr,
    strings_len: u32,
    /// For each kind: bytes once, bytes for each of `vlen`.
    layout: Vec<(u8, u8)>,
}

impl Header {
    pub(super) fn read(mem: &VirtMem<'_>, start: u64) -> Result<Self, String> {
        let mut raw = [0; WITH_LAYOUT as usize];
        let at = VirtAddr::new(start);
        mem.read(at, &mut raw[..HEADER])
            .map_err(|e| format!("BTF cannot be read: {e}"))?;
        if raw[..4] != MAGIC {
            return Err(format!("there is no BTF at virtual {at}"));
        }
        let len = u32_at(&raw, 4);
        let [types, types_len, strings, strings_len] = [8, 12, 16, 20].map(|at| u32_at(&raw, at));
        let fits = |at: u32, len: u32| at <= MAX_SECTION * 2 && len <= MAX_SECTION;
        let sane = (24..=4096).contains(&len)
            && fits(types, types_len)
            && fits(strings, strings_len)
            && types_len >= TYPE;
        if !sane {
            return Err(format!("the header of the BTF at virtual {at} is nonsense"));
        }
        let section = |offset: u32| {
            at.checked_add(u64::from(len) + u64::from(offset))
                .ok_or_else(|| format!("the BTF at virtual {at} wraps around"))
        };
        let layout = if len >= WITH_LAYOUT && mem.read(at, &mut raw).is_ok() {
            read_layout(mem, section(u32_at(&raw, 24))?, u32_at(&raw, 28))
        } else {
            Vec::new()
        };
        Ok(Self {
            types: section(types)?,
            types_len,
            strings: section(strings)?,
            strings_len,
            layout,
        })
    }

    /// The place of the type after `this`; `None` when it is of an unknown kind or runs out of the section.
    pub(super) fn after(&self, this: &Type) -> Option<u32> {
        let kind = usize::try_from(this.number).ok()?;
        let (once, each) = this.following().or_else(|| {
            let (once, each) = *self.layout.get(kind)?;
            Some((once.into(), each.into()))
        })?;
        let more = this.vlen.checked_mul(each)?.checked_add(once)?;
        let end = this.body().checked_add(more)?;
        (end <= self.types_len).then_some(end)
    }

    /// Where the names wanted are in the strings. Names that no type has are left out.
    pub(super) fn find_names(
        &self,
        mem: &VirtMem<'_>,
        wanted: &[&str],
    ) -> Result<HashMap<String, u32>, String> {
        let longest = wanted.iter().map(|w| w.len()).max().unwrap_or(0);
        let mut sorted: Vec<&str> = wanted.to_vec();
        sorted.sort_unstable();
        let mut names = HashMap::new();
        let mut window = Window::new(mem, self.strings, self.strings_len.into());
        let mut block = [0; 4096];
        let mut name: Vec<u8> = Vec::with_capacity(longest + 1);
        let (mut start, mut at) = (0, 0);
        while at < self.strings_len {
            let part = (self.strings_len - at).min(4096);
            let bytes = &mut block[..usize::try_from(part).unwrap_or(0)];
            window
                .read(at.into(), bytes)
                .map_err(|e| format!("the names of BTF cannot be read: {e}"))?;
            for byte in bytes.iter() {
                at += 1;
                if *byte != 0 {
                    if name.len() <= longest {
                        name.push(*byte);
                    }
                    continue;
                }
                let text = std::str::from_utf8(&name).unwrap_or_default();
                if !text.is_empty() && sorted.binary_search(&text).is_ok() {
                    names.entry(text.to_owned()).or_insert(start);
                }
                name.clear();
                start = at;
            }
        }
        Ok(names)
    }
}

/// The layout section: for each kind 4 bytes, of which the first two are sizes.
fn read_layout(mem: &VirtMem<'_>, at: VirtAddr, len: u32) -> Vec<(u8, u8)> {
    let kinds = (len / 4).min(MAX_KINDS);
    let mut raw = vec![0; usize::try_from(kinds * 4).unwrap_or(0)];
    if mem.read(at, &mut raw).is_err() {
        return Vec::new();
    }
    raw.chunks_exact(4).map(|k| (k[0], k[1])).collect()
}

/// Looks for BTF in the kernel's image from virtual `text` on: for kernels that do not say where their symbols are.
#[must_use]
pub fn search(mem: &VirtMem<'_>, text: u64) -> Option<u64> {
    let mut block = vec![0; BLOCK + HEADER];
    let start = text - text % 4096;
    let (mut mapped_to, mut fakes) = (0, 0);
    for offset in (0..IMAGE).step_by(BLOCK) {
        let at = start.checked_add(offset)?;
        match read_some(mem, at, &mut block) {
            true => mapped_to = offset,
            false if offset - mapped_to > GAP => return None,
            false => continue,
        }
        let bytes = &block[..];
        let mut from = 0;
        while let Some(found) = bytes[from..].iter().position(|b| *b == MAGIC[0]) {
            from += found;
            if bytes[from..].starts_with(&MAGIC)
                && looks_right(&bytes[from..])
                && let Some(address) = at.checked_add(from as u64)
            {
                if Header::read(mem, address).is_ok_and(|header| header.begins_right(mem)) {
                    return Some(address);
                }
                fakes += 1;
                if fakes == MAX_FAKES {
                    return None;
                }
            }
            from += 1;
        }
    }
    None
}

/// Fills `block` from `at`, with zeros where nothing is mapped; whether anything is.
fn read_some(mem: &VirtMem<'_>, at: u64, block: &mut [u8]) -> bool {
    if mem.read(VirtAddr::new(at), block).is_ok() {
        return true;
    }
    let mut any = false;
    for (page, offset) in block.chunks_mut(4096).zip((0..).step_by(4096)) {
        let read = at
            .checked_add(offset)
            .is_some_and(|here| mem.read(VirtAddr::new(here), page).is_ok());
        any |= read;
        // A hole of the image has no BTF in it.
        if !read {
            page.fill(0);
        }
    }
    any
}

/// Types come first, strings right behind them.
fn looks_right(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && u32_at(bytes, 8) == 0
        && u32_at(bytes, 12) > 1 << 16
        && u32_at(bytes, 12) <= u32_at(bytes, 16)
}

impl Header {
    /// The strings begin with an empty one, and the first types are whole: nothing but BTF has both.
    fn begins_right(&self, mem: &VirtMem<'_>) -> bool {
        let mut strings = [0; 2];
        if mem.read(self.strings, &mut strings).is_err() || strings[0] != 0 || strings[1] == 0 {
            return false;
        }
        let mut window = Window::new(mem, self.types, self.types_len.into());
        let mut at = 0;
        (0..64).all(|_| {
            let mut raw = [0; 12];
            let read = window.read(at.into(), &mut raw).is_ok();
            let next = self.after(&Type::decode(at, raw)).filter(|_| read);
            at = next.unwrap_or(at);
            next.is_some()
        })
    }
}
