//! `https:` and `http:` targets: one PUT for each file, below `URL/NAME/`.
//!
//! A server that knows WebDAV's MOVE (RFC 4918; Apache's mod_dav, nginx with `dav_methods PUT MOVE`) gets a file under its
//! incomplete name and renames it when it is whole. Whether it does is seen when the directory is made or opened: its report is
//! renamed and renamed back. A server that does not rename gets every file under its final name, and `report.json` says so
//! (`renames: false`). A dump that ends too early is then a chunked body without its last chunk, which no server may take for a
//! file (RFC 9112, 8); so there a partial dump is lost.
//!
//! The length of a dump is not known before its end: its body is chunked. What is smaller than 1 MiB has a length, and is sent
//! again when the connection breaks.

mod upload;

use super::client::{Client, Head};
use super::failure::Failure;
use super::names::{MAX_TWINS, encode, join, twin};
use super::reply::Reply;
use super::retry::persist;
use crate::target::file::TargetError;
use crate::target::place::{Manners, Pending, Place};
use std::sync::{Mutex, MutexGuard, PoisonError};
use upload::Upload;

const REPORT: &str = "report.json";
const REPORT_AWAY: &str = "report.json-incomplete";

/// The directory of one dump.
pub(super) struct PutPlace {
    client: Mutex<Client>,
    /// `https://host`.
    origin: String,
    host: String,
    path: String,
    renames: bool,
}

impl PutPlace {
    /// Speaks to the server; nothing is sent yet.
    pub(super) fn of(client: Client, tls: bool, host: String, path: &str) -> Self {
        let scheme = if tls { "https" } else { "http" };
        Self {
            client: Mutex::new(client),
            origin: format!("{scheme}://{host}"),
            host,
            path: format!("/{}", path.trim_matches('/')),
            renames: false,
        }
    }

    /// Takes the first name that has no report yet. A server that does not let us look has to be trusted to have none.
    pub(super) fn create(mut self, name: &str) -> Result<Self, TargetError> {
        let base = std::mem::take(&mut self.path);
        for number in 1..=MAX_TWINS {
            self.path = format!("/{}", join(base.trim_matches('/'), &twin(name, number)));
            match self.head(REPORT) {
                Ok(Some(_)) => continue,
                Ok(None) | Err(Failure::Status { .. }) => {}
                Err(e) => return Err(self.failed(&e)),
            }
            let begun = self.put(REPORT, b"{}\n");
            begun.map_err(|e| self.failed(&e))?;
            self.renames = self.can_rename();
            return Ok(self);
        }
        Err(self.failed_with(&format!(
            "has {MAX_TWINS} dumps called {name}: remove old dumps"
        )))
    }

    /// Opens a directory.
    pub(super) fn open(mut self, path: &str) -> Self {
        self.path = path.into();
        self.renames = self.can_rename();
        self
    }

    /// Renames the report and renames it back, from wherever it is.
    fn can_rename(&self) -> bool {
        let there = self.moves(REPORT, REPORT_AWAY).is_ok();
        let back = self.moves(REPORT_AWAY, REPORT).is_ok();
        there || back
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, failure: &Failure) -> TargetError {
        self.failed_with(&failure.to_string())
    }

    fn failed_with(&self, why: &str) -> TargetError {
        TargetError::Remote {
            place: format!("{}{}", self.origin, self.path),
            why: why.into(),
        }
    }

    fn target(&self, name: &str) -> String {
        encode(&format!("{}/{name}", self.path), true)
    }

    fn head_of(&self, method: &'static str, name: &str) -> Head {
        Head {
            method,
            target: self.target(name),
            headers: vec![("host", self.host.clone())],
        }
    }

    /// Sends a request until it succeeds, or cannot.
    fn ask(&self, head: &Head, body: &[u8]) -> Result<Reply, Failure> {
        let mut client = self.client();
        let limit = client.whole();
        let once = |client: &mut Client| good(client.exchange(head, body)?);
        persist(&mut *client, limit, once, |_, _| {})
    }

    /// Puts a file; the directory is made when that is what the server lacks.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let head = self.head_of("PUT", name);
        match self.ask(&head, bytes) {
            Err(e) if matches!(e.status(), Some(403 | 404 | 409)) => {
                // Why that fails is less than why the file cannot be put.
                if self.ask(&self.head_of("MKCOL", ""), b"").is_err() {
                    return Err(e);
                }
                self.ask(&head, bytes).map(|_| ())
            }
            done => done.map(|_| ()),
        }
    }

    fn moves(&self, from: &str, to: &str) -> Result<(), Failure> {
        let mut head = self.head_of("MOVE", from);
        let to = format!("{}{}", self.origin, self.target(to));
        head.headers.push(("destination", to));
        head.headers.push(("overwrite", "T".into()));
        self.ask(&head, b"").map(|_| ())
    }

    /// Size of a file, none when there is none.
    fn head(&self, name: &str) -> Result<Option<u64>, Failure> {
        match self.ask(&self.head_of("HEAD", name), b"") {
            Ok(reply) => {
                let length = reply.header("content-length").unwrap_or_default();
                let length = length.parse().ok();
                length.map(Some).ok_or(Failure::Reply("has no length"))
            }
            Err(e) if matches!(e.status(), Some(404 | 410)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// A reply that says yes.
fn good(reply: Reply) -> Result<Reply, Failure> {
    match reply.status {
        200..=299 => Ok(reply),
        status => Err(Failure::Status {
            status,
            code: String::new(),
        }),
    }
}

impl Place for PutPlace {
    fn path(&self) -> &str {
        &self.path
    }

    fn manners(&self) -> Manners {
        Manners {
            any_offset: false,
            keeps_modes: false,
            renames: self.renames,
            syncs: false,
        }
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        Ok(Box::new(Upload::begin(self, incomplete, name)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        match self.moves(from, to) {
            Ok(()) => Ok(true),
            Err(e) if e.status() == Some(404) => Ok(false),
            Err(_) if matches!(self.head(from), Ok(None)) => Ok(false),
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        match self.ask(&self.head_of("DELETE", name), b"") {
            Ok(_) => Ok(()),
            Err(e) if matches!(e.status(), Some(404 | 410)) => Ok(()),
            Err(_) if matches!(self.head(name), Ok(None)) => Ok(()),
            Err(e) => Err(self.failed(&e)),
        }
    }

    /// The report is there, so an error says that we may not look.
    fn can_look(&self) -> bool {
        self.head(REPORT).is_ok()
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.head(name).ok().flatten()
    }
}

#[cfg(test)]
mod tests;
