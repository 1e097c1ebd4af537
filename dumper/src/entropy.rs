//! Random numbers for keys, in a kernel that has just started.
//!
//! A capture kernel has seen few interrupts, so getrandom(2) may block: for ever before Linux 5.4, a second or so since (it then counts
//! the jitter of its clock). What makes it ready at once: `random.trust_cpu` with a CPU that has RDRAND, the seed that kexec_file_load(2)
//! hands on (x86, from Linux 6.0), and [`seed`]: a file that `baredumpctl arm` puts beside the image, with random numbers of the host that
//! are on no disk, and which the kernel is told to count. Who arms in another way gives none. The command line with the dead kernel's
//! boot id and the clock are mixed in.
//!
//! Nothing here waits without a deadline.

use crate::sys::random::{SEED_MAX, credit, getrandom};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The seed, until it has served.
pub const SEED: &str = "/etc/baredump/seed";
/// Bytes of a seed.
pub const SEED_LEN: usize = SEED_MAX;
/// Fewer bytes are no seed.
const SEED_MIN: usize = 32;
/// How long is waited for the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there are no random numbers.
#[derive(Debug, thiserror::Error)]
pub enum EntropyError {
    /// The host's.
    #[error("no seed of random numbers from {path}: {source}: arm anew with baredumpctl arm")]
    Seed {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel's.
    #[error(
        "the kernel has no random numbers yet, after {seconds} s: arm anew with baredumpctl arm, or add random.trust_cpu=on to the capture kernel's command line"
    )]
    NotReady {
        /// How long was waited.
        seconds: u64,
    },
}

/// Gives the kernel the seed in the file `path`, which is removed: it serves once. Call it as root, as early as /dev, /proc and the command
/// line are there.
///
/// # Errors
/// When there is no seed, or the kernel does not take it. Random numbers may come nevertheless.
pub fn seed(path: &Path) -> Result<(), EntropyError> {
    let device = OpenOptions::new().write(true).open("/dev/urandom");
    let given = device.and_then(|mut device| {
        // What is not counted first: it is in the pool when the seed makes the kernel ready.
        device.write_all(&circumstances())?;
        credit(device.as_fd(), &read_seed(path)?)
    });
    given.map_err(|source| EntropyError::Seed {
        path: path.display().to_string(),
        source,
    })?;
    let _ = fs::remove_file(path);
    Ok(())
}

fn read_seed(path: &Path) -> io::Result<Vec<u8>> {
    let mut seed = Vec::new();
    let limit = SEED_MAX as u64;
    File::open(path)?.take(limit).read_to_end(&mut seed)?;
    if seed.len() < SEED_MIN {
        let what = format!("it has {} bytes instead of {SEED_LEN}", seed.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(seed)
}

/// What no other start of this image has.
fn circumstances() -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open("/proc/cmdline") {
        let _ = file.take(8192).read_to_end(&mut bytes);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    bytes.extend(now.unwrap_or_default().as_nanos().to_le_bytes());
    bytes
}

/// Fills `buf` with random numbers fit for keys.
///
/// # Errors
/// When the kernel has none within 10 s.
pub fn fill(buf: &mut [u8]) -> io::Result<()> {
    match fill_now(buf) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
        result => return result,
    }
    // The step that should have given it may have died.
    let _ = seed(Path::new(SEED));
    wait(PATIENCE)?;
    fill_now(buf)
}

fn fill_now(mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match getrandom(buf, false) {
            Ok(got) => {
                buf = buf
                    .split_at_mut_checked(got)
                    .map_or(&mut [], |(_, rest)| rest)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Lets the kernel get ready. Only a call that blocks makes it do so, and a call cannot be given a deadline: a thread makes it.
fn wait(patience: Duration) -> io::Result<()> {
    let (say, ready) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        while getrandom(&mut [0], true).is_err_and(|e| e.kind() == io::ErrorKind::Interrupted) {}
        let _ = say.send(());
    })?;
    ready.recv_timeout(patience).map_err(|_| {
        io::Error::other(EntropyError::NotReady {
            seconds: patience.as_secs(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_differ() {
        let mut numbers = [[0; 600]; 2];
        numbers.iter_mut().for_each(|n| fill(n).unwrap());
        assert_ne!(numbers[0], numbers[1]);
        assert_ne!(&numbers[0][..300], &numbers[0][300..]);
        assert!(numbers[0][568..].iter().any(|byte| *byte != 0));
        wait(PATIENCE).unwrap();
    }

    #[test]
    fn a_seed_that_is_none_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        let missing = seed(&path).unwrap_err().to_string();
        assert!(missing.contains("seed: No such file"), "{missing}");
        fs::write(&path, [1; 31]).unwrap();
        let short = seed(&path).unwrap_err().to_string();
        assert!(short.contains("it has 31 bytes instead of 512"), "{short}");
        assert!(path.exists());
    }
}
