//! A node of a cluster that waits with fencing: it listens for the datagrams of fence_kdump_send(8), as fence_kdump(8) does.

use super::process::free_port;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What it heard, in the directory of a run.
const FILE: &str = "fence";
/// How often it looks whether it should end.
const LOOK: Duration = Duration::from_millis(20);

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Since the node was started.
    pub(crate) at: Duration,
    /// Its bytes in hex.
    pub(crate) bytes: String,
}

/// A node that listens until it is dropped; what it heard is then in the directory.
#[derive(Debug)]
pub(crate) struct Fence {
    /// Its port.
    pub(crate) port: u16,
    ended: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Fence {
    /// Starts listening on loopback.
    ///
    /// # Errors
    /// When there is no port.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let port = free_port()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).context("cannot listen")?;
        socket.set_read_timeout(Some(LOOK))?;
        let (ended, file) = (Arc::new(AtomicBool::new(false)), dir.join(FILE));
        let listener = {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || listen(&socket, &ended, &file))
        };
        Ok(Self {
            port,
            ended,
            listener: Some(listener),
        })
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn listen(socket: &UdpSocket, ended: &AtomicBool, file: &PathBuf) {
    let (start, mut text, mut buffer) = (Instant::now(), String::new(), [0; 64]);
    while !ended.load(Ordering::Relaxed) {
        let Ok(bytes) = socket.recv(&mut buffer) else {
            continue;
        };
        let _ = write!(text, "{} ", start.elapsed().as_millis());
        for byte in &buffer[..bytes] {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    // Who finds no file says so.
    let _ = fs::write(file, text);
}

/// What a node heard in a run, in its order.
///
/// # Errors
/// When none listened.
pub(crate) fn heard(dir: &Path) -> Result<Vec<Heard>> {
    let text = fs::read_to_string(dir.join(FILE)).context("no node listened")?;
    let line = |line: &str| {
        let (at, bytes) = line.split_once(' ')?;
        Some(Heard {
            at: Duration::from_millis(at.parse().ok()?),
            bytes: bytes.to_owned(),
        })
    };
    Ok(text.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_kept_in_their_order() {
        let dir = std::env::temp_dir().join(format!("xtask-fence-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let fence = Fence::start(&dir).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for bytes in [&[0xab, 1][..], &[2]] {
            sender
                .send_to(bytes, (Ipv4Addr::LOCALHOST, fence.port))
                .unwrap();
        }
        std::thread::sleep(10 * LOOK);
        drop(fence);
        let heard = heard(&dir).unwrap();
        let bytes: Vec<_> = heard.iter().map(|one| one.bytes.as_str()).collect();
        assert_eq!(bytes, ["ab01", "02"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
