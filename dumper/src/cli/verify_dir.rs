//! `baredump verify DIR`: the files of a capture against its report, then the dump.

use super::files::digest;
use super::verify::dump_files;
use super::{Done, Failure, print};
use crate::format::In;
use crate::manifest::{self, Manifest, checksum};
use crate::report::{FileEntry, Status};
use crate::target::{FileIn, parts_of};
use crc32fast::Hasher;
use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Files that are named because no report lists them.
const MAX_STRANGERS: usize = 64;

pub(super) fn run(dir: &Path) -> Done {
    let report = dir.join(manifest::NAME);
    if fs::symlink_metadata(&report).is_err() {
        return unreported(dir, "");
    }
    let manifest = read(&report)?;
    let parts = manifest.parts();
    let whole = joined_by_hand(dir, &manifest, &parts);
    let replaced = match whole {
        Some(_) => replaced(dir, &parts),
        None => HashSet::new(),
    };
    let mut faults = 0;
    for entry in &manifest.files {
        if replaced.contains(entry.name.as_str()) {
            continue;
        }
        let verdict = judge(&dir.join(&entry.name), entry);
        faults += usize::from(verdict.is_err());
        say(dir, &entry.name, &verdict.unwrap_or_else(|fault| fault))?;
    }
    if let Some(entry) = manifest.joined.as_ref().filter(|_| faults == 0) {
        let path = dir.join(&entry.name);
        let verdict = match whole {
            Some(_) => judge(&path, entry),
            None => judge_joined(&path, entry),
        };
        faults += usize::from(verdict.is_err());
        say(dir, &entry.name, &verdict.unwrap_or_else(|fault| fault))?;
    }
    for name in strangers(dir, &manifest)? {
        say(dir, &name, "not listed in report.json")?;
    }
    let dumps = dumps(dir, &manifest);
    if faults > 0 {
        return Err(Failure::Failed(format!(
            "{}: {faults} of {} files are missing or changed",
            dir.display(),
            manifest.files.len()
        )));
    }
    if !dumps.is_empty() {
        dump_files(&dumps)?;
    }
    match manifest.outcome.status {
        Status::Started if dumps.is_empty() => unreported(dir, " its end"),
        _ => ended(&report, &manifest),
    }
}

/// A capture that ended between the name of the dump and that of its report: a dump has its final name only when it is whole.
fn unreported(dir: &Path, what: &str) -> Done {
    let names = ["vmcore", "vmcore.flat"].map(|name| dir.join(name));
    let Some(dump) = names.into_iter().find(|path| is_dump(path)) else {
        let report = dir.join(manifest::NAME);
        return Err(Failure::Failed(match what {
            "" => format!("{}: there is no report and no dump", report.display()),
            _ => format!("{}: the capture did not come to its end", report.display()),
        }));
    };
    dump_files(&[dump])?;
    let text = format!(
        "the report is missing{what}: the capture ended just before it; the dump holds, though without a checksum"
    );
    say(dir, manifest::NAME, &text)
}

/// What of the joined file is said, where somebody has put it in the place of its first part.
fn joined_by_hand<'a>(
    dir: &Path,
    manifest: &'a Manifest,
    parts: &[&FileEntry],
) -> Option<&'a FileEntry> {
    let joined = manifest.joined.as_ref()?;
    let first = parts.first()?.bytes;
    let found = open(&dir.join(&joined.name)).ok()?.metadata().ok()?.len();
    (found == joined.bytes && found != first).then_some(joined)
}

/// The parts that a joined file has taken the place of: the first, and those that are gone.
fn replaced<'a>(dir: &Path, parts: &[&'a FileEntry]) -> HashSet<&'a str> {
    let names = parts.iter().map(|part| part.name.as_str()).enumerate();
    let gone = names
        .filter(|(number, name)| *number == 0 || fs::symlink_metadata(dir.join(name)).is_err());
    gone.map(|(_, name)| name).collect()
}

fn read(report: &Path) -> Result<Manifest, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::Failed(format!("{}: {e}", report.display()));
    let file = open(report).map_err(|e| failed(&e))?;
    let mut text = Vec::new();
    let read = file.take(manifest::MAX + 1).read_to_end(&mut text);
    read.map_err(|e| failed(&e))?;
    Manifest::parse(&text).map_err(|e| failed(&e))
}

/// Opens a regular file, and nothing that a link leads to.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|e| match e.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("a symbolic link, which no capture makes"),
        _ => e,
    })?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("no regular file")),
    }
}

/// What holds of a file, or what is wrong with it.
fn judge(path: &Path, entry: &FileEntry) -> Result<String, String> {
    let file = open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => "MISSING: the report lists it".into(),
        _ => unreadable(e),
    })?;
    let file = FileIn::of(file).map_err(unreadable)?;
    judge_bytes(file.len(), entry, |crc| digest(crc, &file))
}

/// The same for the parts of a file, joined; one of them is open at a time.
fn judge_joined(path: &Path, entry: &FileEntry) -> Result<String, String> {
    let parts = parts_of(path);
    let mut bytes = 0;
    for part in &parts {
        let file = open(part).map_err(unreadable)?;
        bytes += file.metadata().map_err(unreadable)?.len();
    }
    let verdict = judge_bytes(bytes, entry, |crc| {
        let mut parts = parts.iter();
        parts.try_for_each(|part| digest(crc, &FileIn::of(open(part)?)?))
    });
    verdict.map(|text| format!("its {} parts joined: {text}", parts.len()))
}

fn unreadable(error: io::Error) -> String {
    format!("UNREADABLE: {error}")
}

fn judge_bytes(
    bytes: u64,
    entry: &FileEntry,
    digest: impl FnOnce(&mut Hasher) -> io::Result<()>,
) -> Result<String, String> {
    if bytes != entry.bytes {
        return Err(format!(
            "CHANGED: {bytes} bytes, the report says {}",
            entry.bytes
        ));
    }
    let Some(expected) = checksum(entry) else {
        return Ok(format!("{bytes} bytes; its checksum is not known"));
    };
    let mut crc = Hasher::new();
    digest(&mut crc).map_err(unreadable)?;
    let found = crc.finalize();
    if found != expected {
        return Err(format!(
            "CHANGED: crc32 {found:08x}, the report says {expected:08x}"
        ));
    }
    Ok(format!("ok: {bytes} bytes, crc32 {found:08x}"))
}

/// Some of what is beside the report and not in it.
fn strangers(dir: &Path, manifest: &Manifest) -> Result<Vec<String>, Failure> {
    let failed = |e: io::Error| Failure::Failed(format!("{}: {e}", dir.display()));
    let listed: BTreeSet<_> = manifest.files.iter().map(|f| f.name.as_str()).collect();
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if name != manifest::NAME && !listed.contains(&*name) && names.len() < MAX_STRANGERS {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The dump that is listed, or the parts of it; an encrypted one is none.
fn dumps(dir: &Path, manifest: &Manifest) -> Vec<PathBuf> {
    let names = manifest.files.iter().map(|file| file.name.as_str());
    let dumps = names.filter(|name| name.starts_with("vmcore") && is_dump(&dir.join(name)));
    dumps.map(|name| dir.join(name)).collect()
}

fn is_dump(path: &Path) -> bool {
    let mut first = [0; 16];
    let read = open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && (first.starts_with(b"KDUMP   ") || first == crate::format::flat::SIGNATURE)
}

/// What the report says of the capture itself.
fn ended(report: &Path, manifest: &Manifest) -> Done {
    let reason = manifest.outcome.reason.as_deref();
    let reason = crate::report::bounded(reason.unwrap_or("no reason is given"));
    match manifest.outcome.status {
        Status::Complete => Ok(()),
        Status::Partial => Err(Failure::Partial(format!(
            "{}: the dump is partial: {reason}",
            report.display()
        ))),
        Status::Failed => Err(Failure::Failed(format!(
            "{}: there is no dump: {reason}",
            report.display()
        ))),
        Status::Started => Err(Failure::Failed(format!(
            "{}: the capture did not come to its end",
            report.display()
        ))),
    }
}

fn say(dir: &Path, name: &str, text: &str) -> Done {
    let line = format!("{}: {text}\n", dir.join(name).display());
    print(&super::harmless(&line))
}
