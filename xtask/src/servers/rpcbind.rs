//! rpcbind, with which a server of NFS version 3 registers. Its sockets are made here and handed over as systemd does it, because its own
//! are bound to every address: its option `-h` ends it with a double free (rpcbind 1.2.6).

use super::process::{Process, answers};
use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// Its port.
const PORT: u16 = 111;
/// The socket by which programs of this machine find it.
const LOCAL: &str = "/run/rpcbind.sock";
/// Moves the descriptors that follow to 3 and on, and names them as systemd does.
const HAND_OVER: &str = "n=3; for fd; do eval \"exec $n<&$fd\"; n=$((n + 1)); done; \
    LISTEN_PID=$$ LISTEN_FDS=$# exec rpcbind -f -w";

/// Starts it where none runs.
///
/// # Errors
/// When it is not ready in time, or xtask may not have its port.
pub(super) fn start(dir: &Path) -> Result<Option<Process>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    if answers(address) {
        return Ok(None);
    }
    let sockets = sockets()
        .context("NFS version 3 needs rpcbind on port 111, for which xtask must be root")?;
    let mut command = Command::new("bash");
    command.args(["-c", HAND_OVER, "rpcbind"]);
    for socket in &sockets {
        fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
        command.arg(socket.as_raw_fd().to_string());
    }
    let mut server = Process::start("rpcbind", &command, &dir.join("rpcbind.log"))?;
    drop(sockets);
    server.wait_until(|| answers(address))?;
    Ok(Some(server))
}

/// One socket for each transport that it knows.
fn sockets() -> Result<Vec<OwnedFd>> {
    let _ = fs::remove_file(LOCAL);
    let mut sockets = vec![OwnedFd::from(UnixListener::bind(LOCAL)?)];
    for address in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        sockets.push(TcpListener::bind((address, PORT))?.into());
        sockets.push(UdpSocket::bind((address, PORT))?.into());
    }
    Ok(sockets)
}
