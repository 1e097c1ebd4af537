//! `s3:` targets without keys: pre-signed URLs, each of which lets one object be put until it ends.
//!
//! A URL renames, lists, sizes and removes nothing. So a file goes in pieces of `part=` MiB to `NAME`, `NAME.2`, … under its final
//! name, and cat(1) joins them; `report.json` says `renames: false`. What a capture has sent when it dies stays there. What was put is
//! kept in a file of the capture kernel ([`ledger`]), for the report and for an attempt after this one, which begins anew with the same
//! URLs.
//!
//! That the URLs are over by this machine's clock is said, and they are tried all the same: the clock may be wrong.

mod ends;
mod ledger;
mod make;
mod site;
#[cfg(test)]
mod tests;
mod upload;
mod urls;

use super::client::{Client, Head, Sending};
use super::clock::{self, Clock};
use super::failure::Failure;
use super::remarks::Remarks;
use super::retry::persist;
use super::s3::xml;
use crate::target::file::TargetError;
use crate::target::place::{Manners, Part, Pending, Place};
use crate::target::reached::Access;
use crate::target::spec::{Kind, TargetSpec};
use ledger::Ledger;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use upload::Upload;
use urls::Urls;

pub use ends::Ends;
pub use make::{LONGEST, Wish, make};

/// The file of the image.
pub(super) const FILE: &str = "presigned";
const REPORT: &str = "report.json";

/// What a set of URLs is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presigned {
    /// Pieces of the vmcore.
    pub pieces: u32,
    /// Bytes of it.
    pub room: u64,
    /// When they end.
    pub ends: Ends,
}

/// Checks a file of URLs for a target, whose dumps are sealed or not, and whose logs are.
///
/// # Errors
/// Says which line is wrong or which file has no URL, and nothing of a query.
pub fn check(text: &str, spec: &TargetSpec, sealed: bool, log: bool) -> Result<Presigned, String> {
    let urls = Urls::parse(text, spec)?;
    let [vmcore, dmesg] = names(sealed, log);
    for name in [&*vmcore, &*dmesg, REPORT] {
        if urls.target(name).is_none() {
            return Err(format!(
                "it has no URL for {name}: make a set with baredumpctl presign{}",
                if sealed { " --sealed" } else { "" }
            ));
        }
    }
    let pieces = urls.pieces(&vmcore);
    Ok(Presigned {
        pieces,
        room: u64::from(pieces) * part(spec) as u64,
        ends: urls.ends,
    })
}

/// When the first of the URLs in a file ends, whatever else is wrong with it.
pub fn ends(text: &str) -> Option<Ends> {
    let query = |(_, line): (u32, &str)| Ends::of(line.split_once('?')?.1);
    urls::lines(text).filter_map(query).min()
}

/// What the files are called.
fn names(sealed: bool, log: bool) -> [String; 2] {
    let age = |sealed: bool| if sealed { ".age" } else { "" };
    [
        format!("vmcore.flat{}", age(sealed)),
        format!("vmcore-dmesg.txt{}", age(log)),
    ]
}

/// Bytes of a piece.
fn part(spec: &TargetSpec) -> usize {
    match spec.kind {
        Kind::S3 { part, .. } => usize::from(part) << 20,
        _ => 0,
    }
}

/// The directory of one dump.
pub(super) struct PresignedPlace {
    urls: Urls,
    part: usize,
    state: Mutex<State>,
}

struct State {
    client: Client,
    ledger: Ledger,
    /// The later of our clock and the time when the image was built, until the server says another.
    now: i64,
    remarks: Remarks,
}

impl PresignedPlace {
    /// Reads the URLs; nothing is sent yet. `client` makes one for a server by its name.
    pub(super) fn open(
        spec: &TargetSpec,
        access: &Access,
        client: impl FnOnce(&str) -> Result<Client, TargetError>,
    ) -> Result<Self, TargetError> {
        let failed = |why: String| TargetError::Remote {
            place: spec.to_string(),
            why: format!("{FILE}: {why}"),
        };
        let text = fs::read_to_string(access.secrets.join(FILE));
        let text = text.map_err(|e| failed(e.to_string()))?;
        let urls = Urls::parse(&text, spec).map_err(failed)?;
        let now = clock::own().max(clock::built(&access.secrets));
        let mut state = State {
            client: client(&urls.host)?,
            ledger: Ledger::open(&access.ledger),
            now,
            remarks: Remarks::default(),
        };
        if urls.ends.is_over_at(now) {
            state.remarks.add(&format!(
                "the pre-signed URLs ended {} by this machine's clock: they are tried all the same",
                urls.ends
            ));
        }
        Ok(Self {
            urls,
            part: part(spec),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, why: &str) -> TargetError {
        TargetError::Remote {
            place: format!("{} at {}", self.urls.dir, self.urls.authority),
            why: why.into(),
        }
    }

    /// What a request for a file begins with.
    fn head(&self, name: &str) -> Option<Head> {
        Some(Head {
            method: "PUT",
            target: self.urls.target(name)?.to_owned(),
            headers: vec![("host", self.urls.authority.clone())],
        })
    }

    /// Begins to put an object that is still being made.
    fn begin_put(&self, name: &str, length: usize) -> Option<Sending> {
        let head = self.head(name)?;
        self.state().client.begin(&head, Some(length)).ok()
    }

    /// Ends an object that was sent while it was made; whether the server has it.
    fn end_put(&self, sending: Sending) -> bool {
        let reply = self.state().client.end(sending);
        reply.is_ok_and(|reply| (200..300).contains(&reply.status))
    }

    /// Puts an object, until it succeeds or cannot. The error is what it says to a person.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let head = self.head(name).ok_or_else(|| self.used_up(name))?;
        let mut state = self.state();
        let limit = state.client.whole();
        let once = |state: &mut State| {
            let reply = state.client.exchange(&head, bytes)?;
            if (200..300).contains(&reply.status) {
                return Ok(());
            }
            state.heed(reply.header("date").unwrap_or_default());
            Err(Failure::Status {
                status: reply.status,
                code: xml::code(&reply.body),
            })
        };
        let again = |state: &mut State, failure: &Failure| {
            state.remarks.again(name, failure);
        };
        let sent = persist(&mut *state, limit, once, again);
        sent.map_err(|failure| refusal(name, &failure, self.urls.ends, state.now))
    }

    /// Why there is no URL for a file, or for more of it.
    fn used_up(&self, name: &str) -> String {
        let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let pieces = self.urls.pieces(base.trim_end_matches('.'));
        match pieces {
            0 => format!(
                "there is no pre-signed URL for {name}: make a new set with baredumpctl presign"
            ),
            _ => format!(
                "the pre-signed URLs are used up: there is room for {pieces} × {} MiB, and none for {name}: make more with baredumpctl presign --room",
                self.part >> 20
            ),
        }
    }
}

impl State {
    /// Takes the server's time.
    fn heed(&mut self, date: &str) {
        let mut clock = Clock::default();
        if clock.heed(date) {
            self.now = clock.now();
        }
    }

    /// What the ledger did not take is a remark: the objects are there.
    fn wrote(&mut self, ledger: std::io::Result<()>) {
        if let Err(e) = ledger {
            self.remarks
                .add(&format!("what was put could not be written down: {e}"));
        }
    }
}

/// What a person should know of a refusal: keys are of no use here.
fn refusal(name: &str, failure: &Failure, ends: Ends, now: i64) -> String {
    let Failure::Status {
        status: status @ (400 | 401 | 403),
        code,
    } = failure
    else {
        return format!("{name}: {failure}");
    };
    let gap = if code.is_empty() { "" } else { " " };
    let said = format!("the server says {status}{gap}{code} to the URL for {name}");
    match ends.is_over_at(now) {
        true => format!(
            "the pre-signed URLs ended {ends}: make new ones and build the image anew ({said})"
        ),
        false => format!(
            "{said}: see whether it is pre-signed for PUT, with a key that is good and may put objects there"
        ),
    }
}

impl Place for PresignedPlace {
    fn path(&self) -> &str {
        &self.urls.dir
    }

    fn manners(&self) -> Manners {
        Manners {
            any_offset: false,
            keeps_modes: false,
            renames: false,
            syncs: true,
        }
    }

    /// Sizes come from the ledger, which counts what was committed.
    fn names_whole(&self) -> bool {
        true
    }

    fn begin(&self, incomplete: &str, name: &str) -> Result<Box<dyn Pending + '_>, TargetError> {
        if self.urls.target(name).is_none() {
            return Err(self.failed(&self.used_up(name)));
        }
        let mut state = self.state();
        let begun = state.ledger.begin(incomplete, name);
        state.wrote(begun);
        drop(state);
        Ok(Box::new(Upload::begin(self, name)))
    }

    fn rename(&self, from: &str, _: &str) -> Result<bool, TargetError> {
        match self.size(from) {
            None => Ok(false),
            Some(_) => Err(self.failed("a pre-signed URL renames nothing")),
        }
    }

    fn remove(&self, name: &str) -> Result<(), TargetError> {
        match self.size(name) {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.failed("a pre-signed URL removes nothing")),
        }
    }

    fn size(&self, name: &str) -> Option<u64> {
        let state = self.state();
        let parts = state.ledger.parts(name)?;
        Some(parts.iter().map(|part| part.bytes).sum())
    }

    fn parts(&self, name: &str) -> Vec<Part> {
        self.state().ledger.parts(name).unwrap_or_default().to_vec()
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), TargetError> {
        self.put(name, bytes).map_err(|why| self.failed(&why))
    }

    fn remarks(&self) -> Vec<String> {
        self.state().remarks.list()
    }
}
