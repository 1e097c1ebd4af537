//! A file on its way to a bucket: a part in memory, the parts before it at the server.

use super::S3Place;
use super::object::Object;
use crate::format::Out;
use crate::target::file::TargetError;
use crate::target::place::{Part, Pending};
use crate::target::web::failure::Failure;
use crate::target::web::names::numbered;
use crate::target::web::piece::Piece;
use crate::target::web::stream::in_turn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file under its incomplete name.
pub(super) struct Upload<'a> {
    place: &'a S3Place,
    incomplete: String,
    name: String,
    /// Bytes taken so far; asked for while a part is on its way.
    at: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// The part in memory.
    part: Piece,
    /// The first object: completed last.
    first: Option<Object>,
    /// The object after it that is being written.
    more: Option<Object>,
    /// How many objects there are.
    objects: u32,
    /// Those between the first and the one that is being written.
    between: Vec<Part>,
    /// Why nothing more goes there.
    failed: Option<String>,
    /// It has been kept or committed.
    done: bool,
}

impl<'a> Upload<'a> {
    pub(super) fn begin(place: &'a S3Place, incomplete: &str, name: &str) -> Self {
        Self {
            place,
            incomplete: incomplete.into(),
            name: name.into(),
            at: AtomicU64::new(0),
            state: Mutex::new(State {
                part: Piece::new(place.part),
                first: None,
                more: None,
                objects: 0,
                between: Vec::new(),
                failed: None,
                done: false,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes into the part, and sends it whenever it is full.
    fn take(&self, state: &mut State, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if state.part.is_full() {
                self.flush(state).map_err(|e| self.gone(state, &e))?;
            }
            self.early(state)?;
            let count = state.part.take(bytes)?;
            self.at.fetch_add(count as u64, Ordering::Relaxed);
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Has a part that follows others sent while it is being made.
    fn early(&self, state: &mut State) -> io::Result<()> {
        if state.part.is_empty() && state.first.is_some() {
            self.next_object(state).map_err(|e| self.gone(state, &e))?;
            let object = state.more.as_ref().or(state.first.as_ref());
            let sending = object.and_then(|object| object.begin_part(self.place, self.place.part));
            state.part.send_early(sending);
        }
        Ok(())
    }

    /// Remembers that nothing more goes to the server.
    fn gone(&self, state: &mut State, failure: &Failure) -> io::Error {
        state.failed = Some(failure.to_string());
        io::Error::other(self.place.failed(failure).to_string())
    }

    /// Goes on in another object when one is full.
    fn next_object(&self, state: &mut State) -> Result<(), Failure> {
        let last = state.more.as_ref().or(state.first.as_ref());
        if last.is_none_or(|object| object.parts() < self.place.parts) {
            return Ok(());
        }
        if let Some(object) = state.more.take() {
            object.complete(self.place)?;
            state.between.push(object.listed());
        }
        state.objects += 1;
        let name = numbered(&self.name, state.objects);
        state.more = Some(Object::create(self.place, &name)?);
        Ok(())
    }

    /// Sends the part in memory, as far as that has not happened.
    fn flush(&self, state: &mut State) -> Result<(), Failure> {
        if state.first.is_none() {
            let object = Object::create(self.place, &self.name)?;
            let note = object.note(self.place).text(&self.place.name);
            state.objects = 1;
            state.first = Some(object);
            self.place.put(&self.incomplete, note.as_bytes())?;
        }
        self.next_object(state)?;
        let sending = state.part.sent();
        if let Some(object) = state.more.as_mut().or(state.first.as_mut()) {
            let bytes = state.part.bytes();
            let sent = sending.map(|sending| object.end_part(self.place, sending, bytes));
            if !matches!(sent, Some(Ok(()))) {
                object.part(self.place, bytes)?;
            }
        }
        state.part.clear();
        Ok(())
    }

    /// Everything that was written is at the server.
    fn end(&self, state: &mut State) -> Result<(), Failure> {
        if !state.part.is_empty() {
            self.flush(state)?;
        }
        Ok(())
    }

    fn finish(&self, state: &mut State) -> Result<(), Failure> {
        self.end(state)?;
        for object in [&state.more, &state.first].into_iter().flatten() {
            object.complete(self.place)?;
        }
        // From here on the file is there, whatever becomes of the note.
        state.done = true;
        let ends = |object: &Option<Object>| object.as_ref().map(Object::listed);
        let (first, last) = (ends(&state.first), ends(&state.more));
        let between = std::mem::take(&mut state.between);
        let parts = first.into_iter().chain(between).chain(last).collect();
        self.place.remember(parts);
        if let Err(e) = self.place.delete(&self.incomplete) {
            let text = format!("{} could not be removed: {e}", self.incomplete);
            self.place.bucket().remarks.add(&text);
        }
        let mut bucket = self.place.bucket();
        bucket.remarks.objects(&self.name, state.objects as usize);
        Ok(())
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
        self.take(&mut state, bytes)
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

    /// What fits in one part gets the incomplete name; else the note that has it says where the parts are.
    fn keep(self: Box<Self>) -> Result<(), TargetError> {
        let mut state = self.state();
        self.refuse(&state)?;
        let kept = match state.first {
            None => self.place.put(&self.incomplete, state.part.bytes()),
            // Only the first object has the final name.
            Some(_) => self.end(&mut state).and_then(|()| match &state.more {
                Some(object) => object.complete(self.place),
                None => Ok(()),
            }),
        };
        state.done = true;
        kept.map_err(|e| self.place.failed(&e))
    }

    fn commit(self: Box<Self>) -> Result<(), TargetError> {
        let mut state = self.state();
        self.refuse(&state)?;
        if state.first.is_none() {
            state.done = true;
            let put = self.place.put(&self.name, state.part.bytes());
            return put.map_err(|e| self.place.failed(&e));
        }
        // What is sent stays at the server when this fails.
        let finished = self.finish(&mut state);
        state.done = true;
        finished.map_err(|e| self.place.failed(&e))
    }
}

/// What was neither kept nor committed is given up, unless the server is gone anyway.
impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let state = self.state();
        if state.done || state.failed.is_some() {
            return;
        }
        let Some(first) = &state.first else { return };
        for object in [Some(first), state.more.as_ref()].into_iter().flatten() {
            object.abort(self.place);
        }
        for number in 2..=state.objects {
            let _ = self.place.delete(&numbered(&self.name, number));
        }
        let _ = self.place.delete(&self.incomplete);
    }
}
