//! The socket: one request, its answers.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{Message, Messages, Request};

/// The kernel answers at once, or something is badly wrong with it.
const PATIENCE: Duration = Duration::from_secs(10);
/// As large as the kernel's largest datagram.
const BUFFER: usize = 32 << 10;
/// More links, addresses and routes than a capture kernel has.
const MAX_ANSWERS: usize = 16 << 10;

/// A connection to the kernel.
#[derive(Debug)]
pub struct Netlink {
    socket: File,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens it.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: crate::sys::socket::route_socket()?,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// Asks for a change and waits until it is done.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn change(&mut self, request: Request) -> io::Result<()> {
        self.exchange(request, |_| None::<()>).map(|_| ())
    }

    /// Asks, and reads everything in the answers.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ask<T>(
        &mut self,
        request: Request,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.exchange(request, read)
    }

    fn exchange<T>(
        &mut self,
        request: Request,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.sequence += 1;
        self.socket.write_all(&request.finish(self.sequence))?;
        let end = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        loop {
            wait_readable(&self.socket, end)?;
            let len = self.socket.read(&mut self.buffer)?;
            for message in Messages::new(self.buffer.get(..len).unwrap_or(&[])) {
                if message.sequence != self.sequence {
                    continue;
                }
                if let Some(end) = message.error() {
                    return end.map(|()| found);
                }
                if found.len() < MAX_ANSWERS {
                    found.extend(read(&message));
                }
            }
        }
    }
}

/// Waits until something can be read, or a time has come.
pub(in crate::net) fn wait_readable(file: impl AsFd, end: Instant) -> io::Result<()> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        let wait =
            PollTimeout::try_from(left.min(Duration::from_secs(60))).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, wait) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Link};
    use super::*;

    #[test]
    fn this_machine_has_lo() {
        let mut kernel = Netlink::open().unwrap();
        let links = Link::all(&mut kernel).unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(lo.loopback && lo.permanent.is_none());
        let addresses = Address::all(&mut kernel).unwrap();
        assert!(
            addresses
                .iter()
                .all(|a| links.iter().any(|l| l.index == a.link))
        );
        // Not allowed, or no such link: what the kernel says comes back, and the socket goes on.
        let nobody = Link {
            index: u32::MAX >> 1,
            ..lo.clone()
        };
        assert!(nobody.set_up(&mut kernel, true).is_err());
        assert!(Link::all(&mut kernel).is_ok());
    }

    #[test]
    fn waiting_ends() {
        let (silent, _open) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = wait_readable(&silent, Instant::now() + Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
