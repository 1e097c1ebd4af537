//! `s3:` targets: the directory of a dump is a prefix, a file is an object, and a file larger than a part is a multipart upload.
//!
//! S3 renames nothing, and an object is there only when its upload was completed. So a file is uploaded under its final name and
//! completed by `commit`: whatever dies before, nothing half-written has that name, nothing is copied, and a key that may only put
//! objects is enough. Meanwhile a small note stands under the incomplete name that says which upload holds the parts; what a
//! capture that died or a partial dump has sent can so be made a file of by hand ([`note`]) until the server aborts old uploads.
//! What fits in one part is kept in memory and put under the name that it gets.
//!
//! An upload has at most 10,000 parts. After 9,900 of them a file goes on in the object `NAME.2`, `NAME.3`, …; joined with cat(1)
//! they are the file. Its first object is completed last.

mod bucket;
pub(super) mod credentials;
mod note;
mod object;
pub(super) mod sign;
mod upload;
pub(super) mod xml;

use super::client::Client;
use super::failure::Failure;
use super::names::{MAX_TWINS, authority, encode, join, numbered, twin};
use super::remarks::Remarks;
use crate::target::file::TargetError;
use crate::target::place::{Manners, Part, Pending, Place};
use crate::target::spec::{Kind, TargetSpec};
use bucket::{Bucket, Call};
use credentials::Credentials;
use note::Note;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use upload::Upload;

/// Parts of one object.
const PARTS: usize = 9900;
/// The smallest part: an object of [`PARTS`] of them is followed by another one, a smaller object is not.
const SMALLEST_PART: u64 = 5 << 20;
/// A listing of objects is not read: those of one file are looked for up to here.
const MOST_OBJECTS: u32 = 10_000;

/// Checks a file of keys.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    Credentials::parse(text).map(|_| ())
}

/// Takes out of a body whatever can be in one.
pub(super) fn judge(body: &[u8]) {
    xml::code(body);
    xml::text(body, "UploadId");
    Note::parse(body);
}

/// Whether the server of a bucket is spoken to with TLS: Amazon's, which no endpoint names, is.
pub(super) fn is_tls(endpoint: Option<&str>) -> bool {
    endpoint.is_none_or(|url| url.starts_with("https:"))
}

/// Where requests to the bucket of a target go.
pub(super) struct Where<'a> {
    bucket: &'a str,
    pub(super) region: &'a str,
    pub(super) tls: bool,
    /// The server's name, of which the bucket's may be a part.
    pub(super) host: String,
    /// The server as requests name it.
    pub(super) authority: String,
    /// In front of every key: `/` or `/BUCKET/`.
    pub(super) base: String,
    /// Bytes of a part.
    part: usize,
}

impl<'a> Where<'a> {
    /// None when the target is no bucket.
    pub(super) fn of(spec: &'a TargetSpec) -> Option<Self> {
        let Kind::S3 {
            bucket,
            endpoint,
            region,
            part,
            ..
        } = &spec.kind
        else {
            return None;
        };
        let (server, port) = spec.server()?;
        // Amazon's servers have names for buckets; a certificate is for one level of them.
        let (host, base) = match endpoint.is_none() && !bucket.contains('.') {
            true => (format!("{bucket}.{server}"), "/".to_owned()),
            false => (server, format!("/{}/", encode(bucket, false))),
        };
        let tls = is_tls(endpoint.as_deref());
        Some(Self {
            bucket,
            region,
            tls,
            authority: authority(&host, port, tls),
            host,
            base,
            part: usize::from(*part) << 20,
        })
    }
}

/// The directory of one dump.
pub(super) struct S3Place {
    bucket: Mutex<Bucket>,
    name: String,
    path: String,
    part: usize,
    parts: usize,
    /// A smaller object is the last of its file.
    full: u64,
    shown: String,
    /// The objects of the file that was completed last.
    completed: Mutex<Vec<Part>>,
}

impl S3Place {
    /// Speaks to the bucket; nothing is sent yet.
    pub(super) fn open(
        at: &Where<'_>,
        client: Client,
        secrets: &Path,
        path: &str,
    ) -> Result<Self, TargetError> {
        const FILE: &str = "s3_credentials";
        let shown = format!("bucket {} at {}", at.bucket, at.authority);
        let failed = |why: String| TargetError::Remote {
            place: shown.clone(),
            why,
        };
        let text = fs::read_to_string(secrets.join(FILE)).map_err(|e| {
            failed(format!(
                "cannot read {FILE} ({e}): name the file with `s3_credentials` and build the image anew"
            ))
        })?;
        let keys = Credentials::parse(&text).map_err(|why| failed(format!("{FILE}: {why}")))?;
        let bucket = Bucket {
            client,
            keys,
            region: at.region.into(),
            host: at.authority.clone(),
            base: at.base.clone(),
            signs_payload: !at.tls,
            checksums: false,
            clock: super::clock::Clock::default(),
            remarks: Remarks::default(),
        };
        Ok(Self {
            bucket: Mutex::new(bucket),
            name: at.bucket.into(),
            path: path.into(),
            part: at.part,
            parts: PARTS,
            full: SMALLEST_PART * PARTS as u64,
            shown,
            completed: Mutex::default(),
        })
    }

    /// Takes the first name that has no report yet. A key that may not look has to trust the name, which has time and boot in it.
    pub(super) fn create(mut self, prefix: &str, name: &str) -> Result<Self, TargetError> {
        for number in 1..=MAX_TWINS {
            self.path = join(prefix, &twin(name, number));
            match self.head("report.json") {
                Ok(Some(_)) => {}
                Ok(None) | Err(Failure::Status { .. }) => return Ok(self),
                Err(e) => return Err(self.failed(&e)),
            }
        }
        Err(self.failed_with(&format!(
            "has {MAX_TWINS} dumps called {name}: remove old dumps"
        )))
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn completed(&self) -> MutexGuard<'_, Vec<Part>> {
        self.completed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the objects of a file that was completed: this place need not ask for them.
    fn remember(&self, parts: Vec<Part>) {
        *self.completed() = parts;
    }

    fn key(&self, name: &str) -> String {
        join(&self.path, name)
    }

    fn failed(&self, failure: &Failure) -> TargetError {
        self.failed_with(&failure.to_string())
    }

    fn failed_with(&self, why: &str) -> TargetError {
        TargetError::Remote {
            place: self.shown.clone(),
            why: why.into(),
        }
    }

    /// Size of one object, none when there is none.
    fn head(&self, name: &str) -> Result<Option<u64>, Failure> {
        let key = self.key(name);
        let call = Call {
            method: "HEAD",
            key: &key,
            ..Call::default()
        };
        match self.bucket().call(&call) {
            Ok(reply) => {
                let length = reply.header("content-length").unwrap_or_default();
                let length = length.parse().ok();
                length.map(Some).ok_or(Failure::Reply("has no length"))
            }
            Err(e) if e.status() == Some(404) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Forgets the objects of a file that gets another content, or none.
    fn forget(&self, name: &str) {
        let mut completed = self.completed();
        if completed.first().is_some_and(|first| first.name == name) {
            completed.clear();
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.forget(name);
        let key = self.key(name);
        let call = Call {
            method: "PUT",
            key: &key,
            body: bytes,
            ..Call::default()
        };
        self.bucket().call(&call).map(|_| ())
    }

    fn delete(&self, name: &str) -> Result<(), Failure> {
        self.forget(name);
        let key = self.key(name);
        let call = Call {
            method: "DELETE",
            key: &key,
            ..Call::default()
        };
        match self.bucket().call(&call) {
            Err(e) if e.status() != Some(404) => Err(e),
            _ => Ok(()),
        }
    }

    /// The note under this name, if that is what is there.
    fn note(&self, name: &str) -> Result<Option<Note>, Failure> {
        if self.head(name)?.is_none_or(|size| size > note::LARGEST) {
            return Ok(None);
        }
        let key = self.key(name);
        let call = Call {
            method: "GET",
            key: &key,
            ..Call::default()
        };
        let reply = self.bucket().call(&call)?;
        // Whose upload it is is not believed: only ours are aborted.
        let ours = |note: &Note| note.key.starts_with(&join(&self.path, ""));
        Ok(Note::parse(&reply.body).filter(ours))
    }
}

impl Place for S3Place {
    fn path(&self) -> &str {
        &self.path
    }

    fn manners(&self) -> Manners {
        Manners {
            any_offset: false,
            keeps_modes: false,
            renames: true,
            syncs: true,
        }
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        Ok(Box::new(Upload::begin(self, incomplete, name)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool, TargetError> {
        self.forget(to);
        let copy = || {
            if self.head(from)?.is_none() {
                return Ok(false);
            }
            let source = format!("/{}/{}", self.name, encode(&self.key(from), true));
            let key = self.key(to);
            let call = Call {
                method: "PUT",
                key: &key,
                header: Some(("x-amz-copy-source", &source)),
                ..Call::default()
            };
            let reply = self.bucket().call(&call)?;
            // A copy that fails late says so with status 200.
            if !xml::has(&reply.body, "CopyObjectResult") {
                let code = xml::code(&reply.body);
                return Err(Failure::Status {
                    status: reply.status,
                    code,
                });
            }
            self.delete(from).map(|()| true)
        };
        copy().map_err(|e| self.failed(&e))
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        if let Ok(Some(note)) = self.note(name) {
            object::abort(self, &note.key, &note.upload);
        }
        self.delete(name).map_err(|e| self.failed(&e))
    }

    /// The report is there, so an error says that we may not look.
    fn can_look(&self) -> bool {
        self.head("report.json").is_ok()
    }

    fn size(&self, name: &str) -> Option<u64> {
        let parts = self.parts(name);
        (!parts.is_empty()).then(|| parts.iter().map(|part| part.bytes).sum())
    }

    fn parts(&self, name: &str) -> Vec<Part> {
        let known = self.completed();
        if known.first().is_some_and(|first| first.name == name) {
            return known.clone();
        }
        drop(known);
        let mut parts: Vec<Part> = Vec::new();
        for number in 1..MOST_OBJECTS {
            let name = numbered(name, number);
            let Ok(Some(bytes)) = self.head(&name) else {
                break;
            };
            parts.push(Part::new(&name, bytes));
            if bytes < self.full {
                break;
            }
        }
        parts
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), TargetError> {
        self.put(name, bytes).map_err(|e| self.failed(&e))
    }

    fn remarks(&self) -> Vec<String> {
        self.bucket().remarks.list()
    }
}

#[cfg(test)]
mod tests;
