//! The notes that a dump carries over from its vmcore: what is in them, and what the headers must say about them.

use super::{c_string, u32_at};
use anyhow::{Context, Result, ensure};

/// What a walk over a note segment finds.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// `NT_PRSTATUS` notes.
    cpus: u32,
    /// Place of the VMCOREINFO text.
    text: Option<(usize, usize)>,
    /// Whether every note ends inside the segment.
    whole: bool,
}

/// Walks the notes up to the first that can't be.
pub(super) fn walk(notes: &[u8]) -> Notes {
    let (mut at, mut found) = (
        0,
        Notes {
            whole: true,
            ..Notes::default()
        },
    );
    while at + 12 <= notes.len() {
        let (name, desc) = (u32_at(notes, at) as usize, u32_at(notes, at + 4) as usize);
        if name == 0 {
            break;
        }
        let desc_at = at + 12 + name.next_multiple_of(4);
        if desc_at + desc > notes.len() {
            found.whole = false;
            break;
        }
        match (&notes[at + 12..at + 12 + name], u32_at(notes, at + 8)) {
            (b"CORE\0", 1) => found.cpus += 1,
            (b"VMCOREINFO\0", 0) => found.text = found.text.or(Some((desc_at, desc))),
            _ => {}
        }
        at = desc_at + desc.next_multiple_of(4);
    }
    found
}

impl Notes {
    /// As many NT_PRSTATUS as `nr_cpus`, and VMCOREINFO exactly where the sub header says.
    pub(super) fn check(&self, nr_cpus: u32, place: (usize, usize)) -> Result<()> {
        ensure!(self.whole, "a note ends beyond the notes");
        ensure!(
            self.cpus == nr_cpus,
            "nr_cpus {nr_cpus} but {} NT_PRSTATUS notes",
            self.cpus
        );
        match self.text {
            Some(text) => ensure!(
                text == place,
                "VMCOREINFO is at {place:x?}, its note at {text:x?}"
            ),
            None => ensure!(
                place.1 == 0,
                "size_vmcoreinfo {} without such a note",
                place.1
            ),
        }
        Ok(())
    }
}

/// The six fields of `struct new_utsname` at the start of `bytes`; of a damaged kernel they need not be text.
pub(super) fn utsname(bytes: &[u8], sane: bool) -> Result<[String; 6]> {
    let mut all: [String; 6] = Default::default();
    for (i, field) in all.iter_mut().enumerate() {
        let raw = &bytes[i * 65..][..65];
        *field = match c_string(raw) {
            Err(_) if !sane => String::from_utf8_lossy(raw).into_owned(),
            text => text.with_context(|| format!("utsname field {i}"))?,
        };
    }
    Ok(all)
}
