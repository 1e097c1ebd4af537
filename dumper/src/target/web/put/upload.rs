//! A file on its way to a web server: small ones in memory, larger ones as a body that is being sent.

use super::{PutPlace, good};
use crate::format::Out;
use crate::target::file::TargetError;
use crate::target::place::Pending;
use crate::target::web::client::Sending;
use crate::target::web::failure::Failure;
use crate::target::web::stream::in_turn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A larger file is sent in chunks. Before that no request is open, so that a server does not lose its patience with a dump whose
/// pages are not yet chosen.
const HELD: usize = 1 << 20;
/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;

/// A file under its incomplete name.
pub(super) struct Upload<'a> {
    place: &'a PutPlace,
    incomplete: String,
    name: String,
    at: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Vec<u8>,
    sending: Option<Sending>,
    failed: Option<String>,
}

impl<'a> Upload<'a> {
    pub(super) fn begin(place: &'a PutPlace, incomplete: &str, name: &str) -> Self {
        Self {
            place,
            incomplete: incomplete.into(),
            name: name.into(),
            at: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that it is put under.
    fn first_name(&self) -> &str {
        match self.place.renames {
            true => &self.incomplete,
            false => &self.name,
        }
    }

    fn take(&self, state: &mut State, bytes: &[u8]) -> Result<(), Failure> {
        let limit = if state.sending.is_some() { CHUNK } else { HELD };
        if state.held.len() + bytes.len() > limit {
            if state.sending.is_none() {
                let head = self.place.head_of("PUT", self.first_name());
                state.sending = Some(self.place.client().begin(&head, None)?);
            }
            let held = std::mem::take(&mut state.held);
            if let Some(sending) = &mut state.sending {
                sending.chunk(&held)?;
                if bytes.len() >= CHUNK {
                    return sending.chunk(bytes);
                }
            }
        }
        state.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the file under `name` or the name it has.
    fn end(&self, state: &mut State, name: &str) -> Result<(), Failure> {
        let Some(mut sending) = state.sending.take() else {
            return self.place.put(name, &state.held);
        };
        sending.chunk(&state.held)?;
        sending.last_chunk()?;
        // The server may have to copy it all before it answers.
        let mut client = self.place.client();
        client.patient(true);
        let reply = client.end(sending);
        client.patient(false);
        good(reply?).map(|_| ())
    }

    /// Gives it its final name. The answer to a try before the last one can be lost: then it has the name already.
    fn rename(&self, from: &str) -> Result<(), Failure> {
        self.place.client().patient(true);
        let moved = self.place.moves(from, &self.name);
        self.place.client().patient(false);
        match moved {
            Err(e) if e.status() == Some(404) => match self.place.head(&self.name) {
                Ok(Some(bytes)) if bytes == self.written() => Ok(()),
                _ => Err(e),
            },
            moved => moved,
        }
    }

    fn refuse(&self, state: &State) -> Result<(), TargetError> {
        match &state.failed {
            Some(why) => Err(self.place.failed_with(why)),
            None => Ok(()),
        }
    }
}

impl Out for Upload<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        in_turn(state.failed.as_deref(), offset, self.written())?;
        if let Err(e) = self.take(&mut state, bytes) {
            // The connection ends without the end of the body.
            state.sending = None;
            state.failed = Some(e.to_string());
            return Err(io::Error::other(self.place.failed(&e).to_string()));
        }
        self.at.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
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

    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        let mut state = self.state();
        self.refuse(&state)?;
        if state.sending.is_some() && !self.place.renames {
            return Err(self.place.failed_with(
                "the server renames nothing, and what is not whole must not have the final name: allow MOVE there",
            ));
        }
        self.end(&mut state, &self.incomplete)
            .map_err(|e| self.place.failed(&e))
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        let mut state = self.state();
        self.refuse(&state)?;
        let first = self.first_name();
        let done = self
            .end(&mut state, first)
            .and_then(|()| match self.place.renames {
                true => self.rename(first),
                false => Ok(()),
            });
        done.map_err(|e| self.place.failed(&e))
    }
}
