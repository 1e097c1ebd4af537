//! Tells a cluster that this machine is busy with its dump, so that it is fenced only when that is over: the datagrams of
//! fence_kdump_send(8), fence-agents 4.x: two 32-bit numbers in host order, magic and version, to UDP port 7410, again and again.

use crate::config::MAX_FENCE_HOSTS;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const MAGIC: u32 = 0x1b30_2a40;
const VERSION: u32 = 1;
/// fence_kdump_send's own interval is 10 s; the listener waits a minute by default.
const INTERVAL: Duration = Duration::from_secs(5);

/// Who is told, and when the next time is. Allocates nothing.
#[derive(Default)]
pub(super) struct Fence {
    hosts: heapless::Vec<SocketAddr, MAX_FENCE_HOSTS>,
    sockets: Option<[Option<UdpSocket>; 2]>,
    last: Option<Instant>,
}

impl Fence {
    /// Adds a host, `ADDRESS:PORT`. What is no such thing is left out: the config step has judged it.
    pub(super) fn add(&mut self, host: &str) {
        if let Ok(host) = host.parse()
            && !self.hosts.contains(&host)
        {
            let _ = self.hosts.push(host);
        }
    }

    /// The network is up: from now on they are told.
    pub(super) fn begin(&mut self) {
        if self.hosts.is_empty() || self.sockets.is_some() {
            return;
        }
        self.sockets = Some(["0.0.0.0:0", "[::]:0"].map(socket));
        self.tick();
    }

    /// Tells them when it is time. An address that cannot be reached now may be later.
    pub(super) fn tick(&mut self) {
        let Some([v4, v6]) = &self.sockets else {
            return;
        };
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last = Some(Instant::now());
        for host in &self.hosts {
            let socket = if host.is_ipv4() { v4 } else { v6 };
            if let Some(socket) = socket {
                let _ = socket.send_to(&message(), host);
            }
        }
    }
}

fn message() -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
    bytes[4..].copy_from_slice(&VERSION.to_ne_bytes());
    bytes
}

/// PID 1 must never wait for the network.
fn socket(any: &str) -> Option<UdpSocket> {
    let socket = UdpSocket::bind(any.parse::<SocketAddr>().ok()?).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_the_beginning_on() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        listener
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut fence = Fence::default();
        for host in ["nobody", &listener.local_addr().unwrap().to_string()] {
            fence.add(host);
        }
        assert_eq!(fence.hosts.len(), 1);
        fence.tick();
        assert!(fence.last.is_none());
        fence.begin();
        let mut bytes = [0; 64];
        assert_eq!(listener.recv(&mut bytes).unwrap(), 8);
        assert_eq!(bytes[..4], 0x1b30_2a40u32.to_ne_bytes());
        assert_eq!(bytes[4..8], 1u32.to_ne_bytes());
        let before = fence.last;
        fence.tick();
        assert_eq!(fence.last, before);
    }
}
