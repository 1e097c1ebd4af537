//! The capture image: everything that the capture kernel finds in its initramfs.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::compress::{CompressError, Compression};
use crate::cpio::{Archive, CpioError, Entry, Node};
use crate::decompress;
use crate::firmware::Firmware;
use crate::modules::{Closure, Options};

/// List of modules in load order, one line each: path and parameters.
pub const MODULE_LIST: &str = "etc/baredump/modules";
/// `uname -r` of the kernel that the modules belong to.
pub const RELEASE_FILE: &str = "etc/baredump/release";
/// What the image was made of.
pub const SOURCE_FILE: &str = "etc/baredump/source";
/// The configuration.
pub const CONFIG_FILE: &str = "etc/baredump.toml";

/// Mount points and places that PID 1 wants to find.
const EMPTY_DIRS: [&str; 7] = ["dev", "mnt", "proc", "run", "sys", "tmp", "etc/baredump"];

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ImageError {
    /// An entry that can't be.
    #[error(transparent)]
    Archive(#[from] CpioError),
    /// The compressor failed.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// A parameter that would be read as the next module.
    #[error("the parameters of module {0} contain a line break; correct them in modprobe.d")]
    Parameters(String),
    /// A path that is no UTF-8.
    #[error("what the image is made of can't be written down: {0}")]
    Source(#[from] serde_json::Error),
    /// Not an image of ours.
    #[error("it is no capture image: {0}")]
    NoImage(String),
}

/// What an image was made of on the machine that it is for: whether it still fits is told by looking again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file with the configuration.
    pub config: PathBuf,
    /// It must be there.
    pub config_is_needed: bool,
    /// Targets in the place of those in it, as they were given.
    pub targets: Vec<String>,
    /// Drivers that are part of the kernel.
    pub builtin: BTreeSet<String>,
}

/// What goes into an image.
#[derive(Debug)]
pub struct Contents<'a> {
    /// `uname -r` of the capture kernel.
    pub release: &'a str,
    /// The static binary that becomes PID 1.
    pub binary: Vec<u8>,
    /// The configuration as TOML.
    pub config: String,
    /// Modules in load order.
    pub modules: &'a Closure,
    /// Module parameters.
    pub options: &'a Options,
    /// Firmware.
    pub firmware: &'a Firmware,
    /// Files below `/etc/baredump` that nobody else may read: keys, and what the host's network is like.
    pub private: Vec<(&'static str, Vec<u8>)>,
    /// What it is made of; none in an image for another machine.
    pub source: Option<Source>,
}

/// Puts the archive together.
///
/// # Errors
/// A name or a parameter that can't be in an image.
pub fn assemble(contents: Contents<'_>) -> Result<Archive, ImageError> {
    let mut archive = Archive::new();
    for dir in EMPTY_DIRS {
        archive.directory(dir, 0o755)?;
    }
    // The kernel opens it for PID 1 before anything is mounted.
    archive.char_device("dev/console", 0o600, 5, 1)?;
    // Without a console the descriptors 0 to 2 are closed, and Rust's start-up opens this in their place or aborts.
    archive.char_device("dev/null", 0o666, 1, 3)?;
    archive.file("init", 0o755, contents.binary)?;
    archive.file(CONFIG_FILE, 0o600, contents.config.into_bytes())?;
    for (name, bytes) in contents.private {
        archive.file(&format!("etc/baredump/{name}"), 0o600, bytes)?;
    }
    archive.file(
        RELEASE_FILE,
        0o644,
        format!("{}\n", contents.release).into_bytes(),
    )?;
    if let Some(source) = &contents.source {
        let text = serde_json::to_vec(source)?;
        archive.file(SOURCE_FILE, 0o600, text)?;
    }
    let mut list = String::new();
    for module in &contents.modules.load {
        let path = format!("/lib/modules/{}.ko", module.name);
        let parameters = contents.options.parameters(&module.name);
        if parameters.contains(['\n', '\r', '\0']) {
            return Err(ImageError::Parameters(module.name.clone()));
        }
        list.push_str(format!("{path} {parameters}").trim_end());
        list.push('\n');
        archive.file(&path, 0o644, module.bytes.clone())?;
    }
    archive.file(MODULE_LIST, 0o644, list.into_bytes())?;
    for (name, bytes) in &contents.firmware.files {
        archive.file(&format!("lib/firmware/{name}"), 0o644, bytes.clone())?;
    }
    Ok(archive)
}

/// The bytes of the image file.
///
/// # Errors
/// The compressor's.
pub fn pack(archive: &Archive, compression: Compression) -> Result<Vec<u8>, ImageError> {
    Ok(compression.compress(&archive.to_bytes())?)
}

/// Reads an image back.
///
/// # Errors
/// It is damaged, or no image that [`pack`] makes.
pub fn unpack(bytes: &[u8]) -> Result<Archive, ImageError> {
    let plain = match bytes {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => decompress::zstd(bytes).map_err(ImageError::NoImage)?,
        [0x1f, 0x8b, ..] => decompress::gzip(bytes).map_err(ImageError::NoImage)?,
        _ => bytes.to_vec(),
    };
    Ok(Archive::from_bytes(&plain)?)
}

/// The kernel release that an image was built for; none when it says nothing.
#[must_use]
pub fn release(archive: &Archive) -> Option<String> {
    let text = archive.file_bytes(RELEASE_FILE)?;
    Some(String::from_utf8_lossy(text).trim().to_owned())
}

/// Can the kernel start the image's program?
///
/// # Errors
/// It is not there, no program that may be executed, or needs a loader.
pub fn check(archive: &Archive) -> Result<(), ImageError> {
    let bad = |why: &str| Err(ImageError::NoImage(why.to_owned()));
    match archive.entry("init") {
        None => bad("it has no /init, with which the kernel would start"),
        Some(entry) if entry.mode & 0o111 == 0 => bad("its /init may not be executed"),
        Some(Entry {
            node: Node::File(bytes),
            ..
        }) if is_static_elf(bytes) == Some(true) => Ok(()),
        Some(_) => bad("its /init is no static program"),
    }
}

/// What an image was made of; none when it is for another machine, or from an older baredumpctl.
#[must_use]
pub fn source(archive: &Archive) -> Option<Source> {
    serde_json::from_slice(archive.file_bytes(SOURCE_FILE)?).ok()
}

/// Can the program run where there is no dynamic loader? None when it is no 64-bit little-endian ELF program.
#[must_use]
pub fn is_static_elf(bytes: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    const PHDR_SIZE: usize = 56;
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = u64::from_le_bytes(*bytes.get(32..)?.first_chunk()?);
    let count = usize::from(u16::from_le_bytes(*bytes.get(56..)?.first_chunk()?));
    let headers = bytes
        .get(usize::try_from(table).ok()?..)?
        .chunks_exact(PHDR_SIZE)
        .take(count);
    let mut kinds =
        headers.filter_map(|header| header.first_chunk().copied().map(u32::from_le_bytes));
    Some(!kinds.any(|kind| kind == PT_INTERP))
}

/// Writes a file of mode 0600 that is either whole or not there.
///
/// # Errors
/// Those of the file system; the temporary file is gone then.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let is_new = !dir.exists();
    fs::create_dir_all(dir)?;
    let mut name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    name.push(format!(".{}-incomplete", std::process::id()));
    let temporary = dir.join(name);
    let result = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(above) if is_new && above != Path::new("") => File::open(above)?.sync_all(),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that an earlier process of this id left behind.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::{ModInfo, Module};
    use std::os::unix::fs::PermissionsExt;

    fn archive(parameters: &str) -> Result<Archive, ImageError> {
        let module = |name: &str| Module {
            name: name.to_owned(),
            path: format!("/{name}.ko.xz").into(),
            bytes: name.as_bytes().to_vec(),
            info: ModInfo::default(),
        };
        let modules = Closure {
            load: vec![module("virtio"), module("abc")],
            ..Closure::default()
        };
        let mut options = Options::default();
        options.parse(&format!("options abc {parameters}\n"));
        let mut firmware = Firmware::default();
        firmware.files.insert("x/y.bin".to_owned(), vec![1, 2]);
        assemble(Contents {
            release: "6.1.0",
            binary: b"\x7fELF".to_vec(),
            config: "level = 31\n".to_owned(),
            modules: &modules,
            options: &options,
            firmware: &firmware,
            private: vec![("ssh_key", b"secret".to_vec())],
            source: Some(Source::default()),
        })
    }

    #[test]
    fn contents() {
        let archive = archive("a=1 b=\"x y\"").unwrap();
        assert_eq!(
            archive.file_bytes("etc/baredump/ssh_key"),
            Some(b"secret".as_slice())
        );
        let list = String::from_utf8(archive.file_bytes(MODULE_LIST).unwrap().to_vec()).unwrap();
        assert_eq!(
            list,
            "/lib/modules/virtio.ko\n/lib/modules/abc.ko a=1 b=\"x y\"\n"
        );
        assert_eq!(
            archive.file_bytes("/lib/firmware/x/y.bin"),
            Some(&[1, 2][..])
        );
        assert_eq!(archive.file_bytes("/init"), Some(&b"\x7fELF"[..]));
        let node = |name| {
            archive
                .entry(name)
                .map(|entry| (entry.node.clone(), entry.mode))
        };
        let console = (Node::CharDevice(5, 1), 0o600);
        assert_eq!(node("dev/console"), Some(console));
        assert_eq!(node("dev/null"), Some((Node::CharDevice(1, 3), 0o666)));
        assert_eq!(source(&archive), Some(Source::default()));
        assert!(matches!(
            self::archive("a=\0"),
            Err(ImageError::Parameters(_))
        ));
    }

    #[test]
    fn release_is_found_again() {
        let archive = archive("").unwrap();
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let bytes = pack(&archive, compression).unwrap();
            assert_eq!(
                release(&unpack(&bytes).unwrap()).as_deref(),
                Some("6.1.0"),
                "{compression:?}"
            );
        }
        assert!(unpack(b"\x28\xb5\x2f\xfdgarbage").is_err());
        assert!(unpack(b"text").is_err());
    }

    #[test]
    fn a_program_that_the_kernel_cannot_start_is_told() {
        let error = |mode: u32, bytes: &[u8]| {
            let mut archive = Archive::new();
            archive.file("init", mode, bytes.to_vec()).unwrap();
            check(&archive).map_err(|error| error.to_string())
        };
        let mut program = vec![0; 64 + 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (program[32], program[56], program[64]) = (64, 1, 1);
        assert_eq!(error(0o755, &program), Ok(()));
        assert!(
            error(0o644, &program)
                .unwrap_err()
                .contains("may not be executed")
        );
        assert!(
            error(0o755, b"#!/bin/sh")
                .unwrap_err()
                .contains("no static")
        );
        program[64] = 3;
        assert!(error(0o755, &program).unwrap_err().contains("no static"));
        assert!(
            check(&Archive::new())
                .unwrap_err()
                .to_string()
                .contains("no /init")
        );
    }

    #[test]
    fn dynamic_programs_are_told_apart() {
        let mut program = vec![0; 64 + 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (program[32], program[56], program[64]) = (64, 1, 1);
        assert_eq!(is_static_elf(&program), Some(true));
        program[64] = 3;
        assert_eq!(is_static_elf(&program), Some(false));
        assert_eq!(is_static_elf(b"#!/bin/sh"), None);
        assert_eq!(is_static_elf(&program[..40]), None);
    }

    #[test]
    fn file_is_private_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/image");
        write_file(&path, b"one").unwrap();
        write_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
        assert!(write_file(Path::new("/proc/nothing/image"), b"").is_err());
    }
}
