//! A file on its way through pre-signed URLs: a piece in memory, the pieces before it at the server.

use super::PresignedPlace;
use crate::format::Out;
use crate::target::file::TargetError;
use crate::target::place::{Part, Pending};
use crate::target::web::names::numbered;
use crate::target::web::piece::Piece;
use crate::target::web::stream::in_turn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file that is being sent.
pub(super) struct Upload<'a> {
    place: &'a PresignedPlace,
    name: String,
    /// Bytes taken so far; asked for while a piece is on its way.
    at: AtomicU64,
    state: Mutex<State>,
}

struct State {
    piece: Piece,
    /// Pieces at the server.
    sent: u32,
    /// Why nothing more goes there.
    failed: Option<String>,
}

impl<'a> Upload<'a> {
    pub(super) fn begin(place: &'a PresignedPlace, name: &str) -> Self {
        Self {
            place,
            name: name.into(),
            at: AtomicU64::new(0),
            state: Mutex::new(State {
                piece: Piece::new(place.part),
                sent: 0,
                failed: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes into the piece, and sends it whenever it is full. A piece that follows others is sent while it is being made.
    fn take(&self, state: &mut State, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if state.piece.is_full() {
                self.flush(state)?;
            }
            if state.piece.is_empty() && state.sent > 0 {
                let name = numbered(&self.name, state.sent + 1);
                if self.place.urls.target(&name).is_none() {
                    return Err(self.place.used_up(&name));
                }
                let sending = self.place.begin_put(&name, self.place.part);
                state.piece.send_early(sending);
            }
            let count = state.piece.take(bytes).map_err(|e| e.to_string())?;
            self.at.fetch_add(count as u64, Ordering::Relaxed);
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Puts the piece, as far as that has not happened.
    fn flush(&self, state: &mut State) -> Result<(), String> {
        let name = numbered(&self.name, state.sent + 1);
        let sent = state.piece.sent();
        if !sent.is_some_and(|sending| self.place.end_put(sending)) {
            self.place.put(&name, state.piece.bytes())?;
        }
        let part = Part {
            name,
            bytes: state.piece.bytes().len() as u64,
            crc32: Some(crc32fast::hash(state.piece.bytes())),
        };
        state.piece.clear();
        state.sent += 1;
        let mut shared = self.place.state();
        let added = shared.ledger.add(&self.name, part);
        shared.wrote(added);
        Ok(())
    }

    /// Everything that was written is at the server.
    fn end(&self) -> Result<(), TargetError> {
        let mut state = self.state();
        let ended = match &state.failed {
            Some(why) => Err(why.clone()),
            None if state.piece.is_empty() && state.sent > 0 => Ok(()),
            None => self.flush(&mut state),
        };
        ended.map_err(|why| self.place.failed(&why))
    }

    /// Says how the pieces become a file, and which are none of it.
    fn remark(&self) {
        let mut shared = self.place.state();
        let (name, (parts, most)) = (&self.name, shared.ledger.counts(&self.name));
        shared.remarks.objects(name, parts);
        if most > parts {
            shared.remarks.add(&format!(
                "{name}.{} to {name}.{most} are of an attempt before: leave them out",
                parts + 1
            ));
        }
    }
}

impl Out for Upload<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        in_turn(state.failed.as_deref(), offset, self.written())?;
        self.take(&mut state, bytes).map_err(|why| {
            state.failed = Some(why.clone());
            io::Error::other(self.place.failed(&why).to_string())
        })
    }

    fn is_stream(&self) -> bool {
        true
    }
}

impl Pending for Upload<'_> {
    fn out(&self) -> &dyn Out {
        self
    }

    fn written(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    /// There is no other name: what is there has the final one.
    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        self.end()?;
        self.remark();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        self.end()?;
        let mut shared = self.place.state();
        let completed = shared.ledger.complete(&self.name);
        shared.wrote(completed);
        drop(shared);
        self.remark();
        Ok(())
    }
}
