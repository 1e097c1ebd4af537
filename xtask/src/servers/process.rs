//! A server's process: it writes to a log, is waited for until it is ready, and ends with the value, its children with it.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take until it is ready; two emulators may be busy beside it.
const READY: Duration = Duration::from_secs(30);
/// The first port of servers: below those that the kernel gives to connections, so that none of these takes it.
const PORTS: u16 = 20_000;
/// Lines of a log that an error shows.
const TAIL: usize = 10;

/// A running server. Dropped, it and its children are killed, each by its id.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with arguments and environment; what it says goes to `log`.
    ///
    /// # Errors
    /// When it is not installed or cannot be started.
    pub(crate) fn start(name: &'static str, command: &Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().to_string_lossy().into_owned();
        // setpriv: the kernel kills the server when the thread that started it is gone, whatever became of it.
        let child = Command::new(qemu::find_tool("setpriv")?)
            .args(["--pdeathsig", "KILL", "--"])
            .arg(qemu::find_tool(&program)?)
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name,
            child,
            log: log.to_path_buf(),
        })
    }

    /// Waits until `ready`.
    ///
    /// # Errors
    /// When the server ends before, or is not ready in time; with the end of its log.
    pub(crate) fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.name, self.tail());
            }
            if ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "{} is not ready after {} s: {}",
            self.name,
            READY.as_secs(),
            self.tail()
        )
    }

    /// The last lines of what it said.
    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Ok(id) = i32::try_from(self.child.id()) else {
            return;
        };
        let children = descendants(id);
        // The parent first, so that it starts no other; both fail harmlessly when it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for id in children {
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

/// All processes that descend from one.
fn descendants(root: i32) -> Vec<i32> {
    let pairs: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((id, parent(&stat)?))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(pairs.iter().filter(|pair| pair.1 == one).map(|pair| pair.0));
        next += 1;
    }
    found.split_off(1)
}

/// The parent in a line of `/proc/PID/stat`; the name before it, in brackets, may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

/// A port of loopback that nobody has, over IPv4, IPv6, TCP and UDP, and that no other server of this run is given.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run on this machine begins elsewhere.
    let first = u16::try_from(std::process::id() % 100)? * 100;
    for _ in 0..10_000 {
        let port = PORTS + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if is_free(port) {
            return Ok(port);
        }
    }
    bail!("no port of loopback is free")
}

fn is_free(port: u16) -> bool {
    let four = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    TcpListener::bind(four).is_ok()
        && TcpListener::bind(six).is_ok()
        && UdpSocket::bind(four).is_ok()
}

/// Whether somebody listens.
pub(crate) fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_found_behind_odd_names() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 nonsense"), None);
    }

    #[test]
    fn children_end_with_their_server() {
        let log = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo up; wait"]);
        let mut process = Process::start("a shell", &command, &log).unwrap();
        process
            .wait_until(|| fs::read_to_string(&log).is_ok_and(|text| text.contains("up")))
            .unwrap();
        let children = descendants(i32::try_from(process.child.id()).unwrap());
        assert_eq!(children.len(), 1);
        drop(process);
        let ended = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", children[0]));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while !ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(ended());
        fs::remove_file(&log).unwrap();
    }

    #[test]
    fn a_server_that_ends_says_why() {
        let log = std::env::temp_dir().join(format!("xtask-process-end-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such option; exit 3"]);
        let mut process = Process::start("a shell", &command, &log).unwrap();
        let error = process.wait_until(|| false).unwrap_err().to_string();
        assert!(error.contains("no such option"), "{error}");
        fs::remove_file(&log).unwrap();
    }

    #[test]
    fn ports_differ() {
        assert_ne!(free_port().unwrap(), free_port().unwrap());
    }
}
