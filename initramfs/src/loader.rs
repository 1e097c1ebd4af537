//! Hands kernel, image and command line to the running kernel, and says what the running kernel has.
//!
//! Source: kernel/ksysfs.c and kernel/kexec_file.c, Linux 5.10 to 7.2. Every path is below a root that tests replace.

mod explain;

pub use explain::{Facts, explain};

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use baredump::entropy;
use baredump::sys::kexec;
use baredump::target::web::Ends;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::arm64_image;
use crate::bzimage::{BzImage, BzImageError};
use crate::cmdline::TooLong;
use crate::cpio::Archive;
use crate::memory;

/// Since Linux 7.0, and before; the old names stay as links for a while.
const CRASH_SIZE: [&str; 2] = ["sys/kernel/kexec/crash_size", "sys/kernel/kexec_crash_size"];
const CRASH_LOADED: [&str; 2] = [
    "sys/kernel/kexec/crash_loaded",
    "sys/kernel/kexec_crash_loaded",
];
/// What was loaded; gone with the boot, as the loaded kernel is.
const RECORD: &str = "run/baredump/armed.json";
const HEADER_BYTES: u64 = 64 << 10;
/// Loading takes less than a second on a real machine.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Why nothing was loaded or asked.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No reservation in sysfs.
    #[error(
        "{0} does not exist: sysfs is not mounted, or this kernel was built without CONFIG_KEXEC_CORE and CONFIG_CRASH_DUMP"
    )]
    NoKexec(PathBuf),
    /// No memory reserved.
    #[error(
        "no memory is reserved for a capture kernel: add the crashkernel= that baredumpctl estimate says to the kernel command line and \
         reboot; if it is there, the kernel's log says why it was not granted"
    )]
    NoReservation,
    /// A file can't be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// No kernel.
    #[error("{path} can't be the capture kernel: {cause}")]
    Kernel {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: BzImageError,
    },
    /// Too many words.
    #[error(transparent)]
    CommandLine(#[from] TooLong),
    /// It holds a NUL.
    #[error("the capture kernel's command line contains a NUL character")]
    Nul,
    /// The kernel refused; the text explains why.
    #[error("{0}")]
    Refused(String),
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The kernel image.
    pub kernel: PathBuf,
    /// Its `uname -r`.
    pub kernel_release: String,
    /// The capture image.
    pub image: PathBuf,
    /// Its size.
    pub image_bytes: u64,
    /// The capture kernel's command line.
    pub command_line: String,
    /// CRC-32 of the image.
    #[serde(default)]
    pub image_crc32: u32,
    /// Bytes of memory that the machine had; none when the kernel did not say.
    #[serde(default)]
    pub memory: Option<u64>,
    /// When the pre-signed URLs in the image end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presigned: Option<Ends>,
}

/// What the running kernel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Is a capture kernel loaded?
    pub armed: bool,
    /// Bytes reserved by `crashkernel=`.
    pub reserved: u64,
    /// What was loaded, when we did it.
    pub loaded: Option<Record>,
}

/// The kernel image and what its header says.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: BzImage,
}

impl Kernel {
    /// Judges a kernel image.
    ///
    /// # Errors
    /// It can't be read or is none.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let read = |cause| LoadError::Read {
            path: path.to_owned(),
            cause,
        };
        let not = |cause| LoadError::Kernel {
            path: path.to_owned(),
            cause,
        };
        let mut file = File::open(path).map_err(read)?;
        let found = file.metadata().map_err(read)?.len();
        let mut bytes = Vec::new();
        (&file)
            .take(HEADER_BYTES)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        let header = if arm64_image::is_one(&bytes) {
            // Its release is anywhere in it.
            file.read_to_end(&mut bytes).map_err(read)?;
            arm64_image::parse(&bytes)
        } else {
            BzImage::parse(&bytes)
        };
        let header = header.map_err(not)?;
        if found < header.file_size {
            return Err(not(BzImageError::Short {
                wanted: header.file_size,
                found,
            }));
        }
        Ok(Self {
            path: path.to_owned(),
            header,
        })
    }

    /// Where distributions put the kernel of a release.
    #[must_use]
    pub fn places(release: &str, machine_id: Option<&str>) -> Vec<PathBuf> {
        let mut places = vec![
            format!("/boot/vmlinuz-{release}"),
            format!("/usr/lib/modules/{release}/vmlinuz"),
            format!("/lib/modules/{release}/vmlinuz"),
        ];
        for boot in machine_id
            .iter()
            .flat_map(|id| ["/boot", "/boot/efi", "/efi"].map(|dir| format!("{dir}/{id}")))
        {
            places.push(format!("{boot}/{release}/linux"));
            places.push(format!("{boot}/{release}/vmlinuz"));
        }
        places.into_iter().map(PathBuf::from).collect()
    }
}

/// Loads kernel and image into the reservation.
///
/// # Errors
/// There is no reservation, a file can't be read, or the kernel refuses: the error says what to do.
pub fn arm(
    root: &Path,
    kernel: &Kernel,
    image: &Path,
    command_line: &str,
    presigned: Option<Ends>,
) -> Result<Record, LoadError> {
    let reserved = reserved(root)?;
    if reserved == 0 {
        return Err(LoadError::NoReservation);
    }
    // The running kernel would say no too, but give up what is loaded already before that.
    if !kernel.header.signed
        && let Some(mode) = Facts::of_host(root).lockdown
    {
        let kernel = kernel.path.display().to_string();
        return Err(LoadError::Refused(explain::unsigned(&kernel, &mode)));
    }
    let open = |path: &Path| {
        File::open(path).map_err(|cause| LoadError::Read {
            path: path.to_owned(),
            cause,
        })
    };
    let (kernel_file, image_file) = (open(&kernel.path)?, open(image)?);
    let size = |file: &File| file.metadata().map_or(0, |data| data.len());
    let words = CString::new(command_line).map_err(|_| LoadError::Nul)?;
    let record = Record {
        kernel: kernel.path.clone(),
        kernel_release: kernel.header.release.clone(),
        image: image.to_owned(),
        image_bytes: size(&image_file),
        command_line: command_line.to_owned(),
        image_crc32: crc32(&image_file).map_err(|cause| LoadError::Read {
            path: image.to_owned(),
            cause,
        })?,
        // Before it is loaded: what comes at the same time is said to be too late.
        memory: memory::bytes(root),
        presigned,
    };
    let armed = || number(root, CRASH_LOADED).is_ok_and(|loaded| loaded != 0);
    let before = armed();
    let load =
        |initrd: &File| kexec::load_crash_kernel(kernel_file.as_fd(), initrd.as_fd(), &words);
    let loaded = match seeded(&image_file) {
        // A policy may forbid what is on no disk; the image alone is better than nothing.
        Ok(initrd) => load(&initrd).or_else(|_| load(&image_file)),
        Err(_) => load(&image_file),
    };
    loaded.map_err(|err| {
        let facts = Facts::collect(root, kernel, record.image_bytes, reserved);
        LoadError::Refused(explain(&err, &facts) + forget(root, before, armed()))
    })?;
    keep_record(root, &record);
    Ok(record)
}

fn crc32(mut file: &File) -> io::Result<u32> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(zlib_rs::crc32::crc32(0, &bytes))
}

/// Is the image file still the one that was loaded?
#[must_use]
pub fn is_loaded(record: &Record) -> bool {
    let file = File::open(&record.image).and_then(|file| crc32(&file));
    file.is_ok_and(|crc| crc == record.image_crc32)
}

/// The image behind an archive with random numbers for the capture kernel, new for each time it is loaded and on no disk: the image is
/// on one, perhaps beside the dumps that are encrypted with what becomes of them.
fn seeded(image: &File) -> io::Result<File> {
    let mut seed = vec![0; entropy::SEED_LEN];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let mut archive = Archive::new();
    let path = entropy::SEED.trim_start_matches('/');
    archive
        .directory("etc/baredump", 0o755)
        .and_then(|()| archive.file(path, 0o600, seed))
        .map_err(io::Error::other)?;
    let mut whole = File::from(memfd_create(c"baredump", MFdFlags::MFD_CLOEXEC)?);
    whole.write_all(&archive.to_bytes())?;
    let mut image = image;
    image.rewind()?;
    io::copy(&mut image, &mut whole)?;
    Ok(whole)
}

/// The kernel gives up what is loaded before it looks at what is to be loaded: after a failure the machine may be armed no more.
fn forget(root: &Path, before: bool, after: bool) -> &'static str {
    if !before || after {
        return "";
    }
    let _ = fs::remove_file(root.join(RECORD));
    "; the capture kernel that was loaded before is gone: nothing is armed now"
}

/// Takes the capture kernel out of the reservation.
///
/// # Errors
/// The kernel refuses.
pub fn disarm(root: &Path) -> Result<(), LoadError> {
    kexec::unload_crash_kernel()
        .map_err(|err| LoadError::Refused(explain(&err, &Facts::of_host(root))))?;
    let _ = fs::remove_file(root.join(RECORD));
    Ok(())
}

/// What the running kernel has.
///
/// # Errors
/// sysfs says nothing.
pub fn status(root: &Path) -> Result<Status, LoadError> {
    let armed = number(root, CRASH_LOADED)? != 0;
    let loaded = fs::read(root.join(RECORD))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    Ok(Status {
        armed,
        reserved: reserved(root)?,
        loaded: loaded.filter(|_| armed),
    })
}

/// Bytes reserved by `crashkernel=`.
///
/// # Errors
/// sysfs says nothing.
pub fn reserved(root: &Path) -> Result<u64, LoadError> {
    number(root, CRASH_SIZE)
}

fn number(root: &Path, places: [&str; 2]) -> Result<u64, LoadError> {
    let path = places.map(|place| root.join(place));
    let path = path
        .iter()
        .find(|path| path.exists())
        .ok_or_else(|| LoadError::NoKexec(root.join(places[1])))?;
    let read = |cause| LoadError::Read {
        path: path.clone(),
        cause,
    };
    let text = read_patiently(path).map_err(read)?;
    text.trim()
        .parse()
        .map_err(|_| read(io::ErrorKind::InvalidData.into()))
}

/// While a kernel is being loaded these files can't be read (EBUSY).
fn read_patiently(path: &Path) -> io::Result<String> {
    for _ in 0..BUSY_TRIES {
        match fs::read_to_string(path) {
            Err(err) if err.kind() == io::ErrorKind::ResourceBusy => thread::sleep(BUSY_PAUSE),
            other => return other,
        }
    }
    fs::read_to_string(path)
}

/// Only for people: without it `status` still tells whether something is loaded.
fn keep_record(root: &Path, record: &Record) {
    let path = root.join(RECORD);
    let Some(dir) = path.parent() else { return };
    let Ok(text) = serde_json::to_vec_pretty(record) else {
        return;
    };
    let _ = fs::create_dir_all(dir).and_then(|()| fs::write(&path, text));
}

#[cfg(test)]
mod tests;
