//! A claimed partition as a place of dumps: files are streams, one after the other, and end at a block that says so.

use super::block::{self, Block, Kind};
use super::header::{Header, State, show_id};
use super::journal::{Entry, Journal, is_name};
use super::{BLOCK, KEPT_BACK, PAYLOAD};
use crate::format::Out;
use crate::target::file::TargetError;
use crate::target::place::{Manners, Pending, Place};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What may fill the partition to its end.
const LAST: &str = "report.json";
/// After so many bytes the next step is told again where the journal is.
const TELL: u64 = 64 << 20;

/// A partition that was found to be the claimed one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawDevice {
    /// Its node.
    pub node: PathBuf,
    /// Id of the claim, 32 hex digits.
    pub id: String,
    /// The file in which one step of a capture tells the next how far the journal goes.
    pub ledger: PathBuf,
}

/// Looks whether the partition at `node` is the claimed one and has room for a dump.
///
/// # Errors
/// When it is not, or holds a dump that was not taken.
pub fn reach(node: &Path, id: Option<&str>, ledger: PathBuf) -> Result<RawDevice, TargetError> {
    let Some(id) = id else {
        return Err(refused(
            node,
            "the target has no id=: build the image with baredumpctl image on this machine, which reads it from the claimed partition",
        ));
    };
    let (device, header) = open(node, id, false)?;
    // A capture that died before its first file left nothing to take.
    let is_empty = || Journal::read(&device, &header).is_ok_and(|journal| journal.files.is_empty());
    if header.state == State::Dump && !is_empty() {
        return Err(refused(
            node,
            "it holds a dump that was not taken: run 'baredump recover' on it",
        ));
    }
    Ok(RawDevice {
        node: node.into(),
        id: id.into(),
        ledger,
    })
}

fn refused(node: &Path, why: impl std::fmt::Display) -> TargetError {
    TargetError::Remote {
        place: node.display().to_string(),
        why: why.to_string(),
    }
}

/// Opens the claimed partition; of anything else nothing is written, as it is not open for that.
fn open(node: &Path, id: &str, write: bool) -> Result<(File, Header), TargetError> {
    let failed = |e: &dyn std::fmt::Display| refused(node, e);
    let mut options = File::options();
    let device = options.read(true).open(node).map_err(|e| failed(&e))?;
    let header = Header::read(&device).map_err(|e| failed(&e))?;
    if show_id(&header.id) != id {
        return Err(refused(
            node,
            "it was claimed again since the image was built: build the image anew with baredumpctl image",
        ));
    }
    if !write {
        return Ok((device, header));
    }
    let device = options.write(true).open(node).map_err(|e| failed(&e))?;
    Ok((device, header))
}

/// The directory of a dump in the journal of a claimed partition.
pub struct RawPlace {
    device: File,
    header: Header,
    path: String,
    ledger: PathBuf,
    journal: Mutex<Journal>,
}

impl RawPlace {
    /// Begins a dump: from here on the partition is not free any more.
    ///
    /// # Errors
    /// When it is not the claimed partition, or holds a dump that was not taken.
    pub fn create(raw: &RawDevice, name: &str) -> Result<Self, TargetError> {
        reach(&raw.node, Some(&raw.id), raw.ledger.clone())?;
        let (device, mut header) = open(&raw.node, &raw.id, true)?;
        header.state = State::Dump;
        header.dumps = header.dumps.wrapping_add(1);
        header.name = crate::report::cut(name, 255).to_owned();
        header.write(&device).map_err(|e| refused(&raw.node, e))?;
        let place = Self::of(raw, device, header, Journal::default());
        place.tell(&place.journal());
        Ok(place)
    }

    /// Opens the dump that an earlier step began.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(raw: &RawDevice, path: &str) -> Result<Self, TargetError> {
        let (device, header) = open(&raw.node, &raw.id, true)?;
        if header.state != State::Dump || path != path_of(&raw.node, &header.name) {
            return Err(refused(&raw.node, format!("it holds no dump {path}")));
        }
        let told = fs::read(&raw.ledger).ok();
        let mut journal: Journal = told
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        journal
            .follow(&device, &header)
            .map_err(|e| refused(&raw.node, e))?;
        Ok(Self::of(raw, device, header, journal))
    }

    fn of(raw: &RawDevice, device: File, header: Header, journal: Journal) -> Self {
        Self {
            device,
            path: path_of(&raw.node, &header.name),
            header,
            ledger: raw.ledger.clone(),
            journal: Mutex::new(journal),
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the next step where the journal is. That it cannot be told costs a walk over the blocks.
    fn tell(&self, journal: &Journal) {
        let new = self.ledger.with_extension("new");
        let _ = serde_json::to_vec(journal)
            .map_err(io::Error::from)
            .and_then(|json| fs::write(&new, json))
            .and_then(|()| fs::rename(&new, &self.ledger));
    }

    /// Appends a block; `bytes` has room for its head at its start.
    fn append(&self, kind: Kind, file: u32, bytes: &mut [u8], last: bool) -> io::Result<()> {
        let mut journal = self.journal();
        let Some((head, payload)) = bytes.split_first_chunk_mut::<{ block::LEN }>() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let block = Block {
            number: journal.next,
            kind,
            file,
            len: u32::try_from(payload.len()).unwrap_or(0),
            crc: crc32fast::hash(payload),
        };
        let kept_back = if last { 0 } else { KEPT_BACK };
        if journal.at + block.room() > self.header.end().saturating_sub(kept_back) {
            return Err(Errno::ENOSPC.into());
        }
        *head = block.encode(&self.header);
        let names = if kind == Kind::Data {
            String::new()
        } else {
            String::from_utf8_lossy(payload).into_owned()
        };
        self.device.write_all_at(bytes, journal.at)?;
        let before = journal.at / TELL;
        journal.take(&block, &names);
        if kind != Kind::Data || journal.at / TELL != before {
            self.tell(&journal);
        }
        Ok(())
    }

    /// Appends a block of names, which is on the device when this returns.
    fn note(&self, kind: Kind, file: u32, names: &str, last: bool) -> io::Result<()> {
        let mut bytes = vec![0; block::LEN];
        bytes.extend_from_slice(names.as_bytes());
        self.append(kind, file, &mut bytes, last)?;
        self.device.sync_data()
    }

    fn failed(&self, action: &'static str, name: &str) -> impl FnOnce(io::Error) -> TargetError {
        let path = Path::new(&self.path).join(name);
        move |source| match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC) => TargetError::Remote {
                place: path.display().to_string(),
                why: format!(
                    "cannot {action} it, the partition is full: claim a larger one, or dump less with a higher level"
                ),
            },
            _ => TargetError::Path {
                action,
                path,
                source,
            },
        }
    }
}

/// How the directory is named in reports.
fn path_of(node: &Path, name: &str) -> String {
    format!("{}/{name}", node.display())
}

impl Place for RawPlace {
    fn path(&self) -> &str {
        &self.path
    }

    fn manners(&self) -> Manners {
        Manners {
            any_offset: false,
            keeps_modes: true,
            renames: true,
            syncs: true,
        }
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        if !is_name(incomplete) || !is_name(name) {
            return Err(self.failed("make", name)(Errno::EINVAL.into()));
        }
        let file = self.journal().next_file;
        let last = name == LAST;
        self.note(Kind::Begin, file, &format!("{incomplete}\n{name}"), last)
            .map_err(self.failed("make", incomplete))?;
        Ok(Box::new(RawPending {
            name: name.into(),
            out: RawOut {
                place: self,
                file,
                last,
                state: Mutex::new(Buffer::default()),
            },
        }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        if self.journal().named(from).is_none() {
            return Ok(false);
        }
        self.note(Kind::Rename, 0, &format!("{from}\n{to}"), true)
            .map_err(self.failed("rename", from))?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        if self.journal().named(name).is_none() {
            return Ok(());
        }
        self.note(Kind::Remove, 0, name, true)
            .map_err(self.failed("remove", name))
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.journal().named(name).map(|file: &Entry| file.bytes)
    }
}

struct RawPending<'a> {
    name: String,
    out: RawOut<'a>,
}

impl RawPending<'_> {
    fn end(&self, kind: Kind) -> Result<(), TargetError> {
        let flushed = match self.out.flush() {
            // What did not fit is missing in a file that is incomplete anyway.
            Err(e) if kind == Kind::Keep && e.kind() == io::ErrorKind::StorageFull => Ok(()),
            result => result,
        };
        let ended = flushed.and_then(|()| {
            // All of the file is on the device before the block that says so.
            self.out.place.device.sync_data()?;
            self.out.place.note(kind, self.out.file, "", true)
        });
        ended.map_err(self.out.place.failed("write", &self.name))
    }
}

impl Pending for RawPending<'_> {
    fn out(&self) -> &dyn Out {
        &self.out
    }

    fn written(&self) -> u64 {
        self.out.state().written
    }

    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        self.end(Kind::Keep)
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        self.end(Kind::Commit)
    }
}

/// What waits for a block to be full.
#[derive(Default)]
struct Buffer {
    /// Room for the head, then the payload.
    bytes: Vec<u8>,
    written: u64,
}

struct RawOut<'a> {
    place: &'a RawPlace,
    file: u32,
    last: bool,
    state: Mutex<Buffer>,
}

impl RawOut<'_> {
    fn state(&self) -> MutexGuard<'_, Buffer> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self) -> io::Result<()> {
        self.write_out(&mut self.state())
    }

    fn write_out(&self, state: &mut Buffer) -> io::Result<()> {
        if state.bytes.len() > block::LEN {
            self.place
                .append(Kind::Data, self.file, &mut state.bytes, self.last)?;
        }
        state.bytes.clear();
        Ok(())
    }
}

impl Out for RawOut<'_> {
    fn write_at(&self, offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset != state.written {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a raw partition takes streams only",
            ));
        }
        while !bytes.is_empty() {
            if state.bytes.is_empty() {
                state.bytes.reserve(BLOCK);
                state.bytes.resize(block::LEN, 0);
            }
            let room = block::LEN + PAYLOAD - state.bytes.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            state.bytes.extend_from_slice(now);
            if state.bytes.len() == block::LEN + PAYLOAD {
                self.write_out(&mut state)?;
            }
            state.written += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.flush()?;
        self.place.device.sync_data()
    }

    fn has_holes(&self) -> bool {
        false
    }

    fn is_stream(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
