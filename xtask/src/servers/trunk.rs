//! A switch between a guest's network card and QEMU's user network, whose port to the guest is a trunk: frames go through with an 802.1Q
//! tag of one VLAN only, and are without it on the other side.

use super::process::free_port;
use anyhow::{Context, Result};
use qemu::net::{Cable, Wire};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The type of a tagged frame.
const TAGGED: [u8; 2] = [0x81, 0x00];
/// Destination and source, which stand before the tag.
const ADDRESSES: usize = 12;
/// How often threads look whether they should end.
const LOOK: Duration = Duration::from_millis(100);

/// A running switch.
#[derive(Debug)]
pub(crate) struct Trunk {
    /// The cable for the card.
    pub(crate) cable: Cable,
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Trunk {
    /// Starts a switch for one VLAN.
    ///
    /// # Errors
    /// When there are no ports.
    pub(crate) fn start(vlan: u16) -> Result<Self> {
        let wire = || -> Result<Wire> {
            Ok(Wire {
                qemu: free_port()?,
                carrier: free_port()?,
            })
        };
        let (card, network) = (wire()?, wire()?);
        let ended = Arc::new(AtomicBool::new(false));
        let (card_end, network_end) = (open(card)?, open(network)?);
        let up = carry(&card_end, &network_end, &ended, move |frame| {
            strip(frame, vlan)
        })?;
        let down = carry(&network_end, &card_end, &ended, move |frame| {
            tag(frame, vlan)
        })?;
        Ok(Self {
            cable: Cable::Carried { card, network },
            ended,
            threads: vec![up, down],
        })
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn open(wire: Wire) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, wire.carrier)).context("cannot bind")?;
    socket.connect((Ipv4Addr::LOCALHOST, wire.qemu))?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

/// Carries frames one way in a thread of its own. A lost one is what networks do.
fn carry(
    from: &UdpSocket,
    to: &UdpSocket,
    ended: &Arc<AtomicBool>,
    change: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> Result<JoinHandle<()>> {
    let (from, to, ended) = (from.try_clone()?, to.try_clone()?, Arc::clone(ended));
    Ok(std::thread::spawn(move || {
        let mut frame = [0; 64 << 10];
        while !ended.load(Ordering::Relaxed) {
            if let Ok(length) = from.recv(&mut frame)
                && let Some(changed) = change(&frame[..length])
            {
                let _ = to.send(&changed);
            }
        }
    }))
}

/// A frame without its tag; none when it has another one, or none.
fn strip(frame: &[u8], vlan: u16) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    let (number, rest) = rest.strip_prefix(&TAGGED)?.split_at_checked(2)?;
    // The upper four bits are priority and drop eligibility.
    let number = u16::from_be_bytes(number.try_into().ok()?) & 0x0fff;
    (number == vlan).then(|| [addresses, rest].concat())
}

/// A frame with a tag.
fn tag(frame: &[u8], vlan: u16) -> Option<Vec<u8>> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    Some([addresses, &TAGGED, &vlan.to_be_bytes(), rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let plain = [&[1; 12][..], &[8, 0, 9, 9]].concat();
        let tagged = tag(&plain, 5).unwrap();
        assert_eq!(
            tagged,
            [&[1; 12][..], &[0x81, 0, 0, 5, 8, 0, 9, 9]].concat()
        );
        assert_eq!(strip(&tagged, 5).unwrap(), plain);
        assert_eq!(strip(&tagged, 6), None);
        assert_eq!(strip(&plain, 5), None);
        assert_eq!(strip(&[0; 3], 5), None);
    }

    #[test]
    fn frames_go_through() {
        let trunk = Trunk::start(5).unwrap();
        let Cable::Carried { card, network } = trunk.cable else {
            panic!("{:?}", trunk.cable);
        };
        let end = |wire: Wire| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, wire.qemu)).unwrap();
            socket.connect((Ipv4Addr::LOCALHOST, wire.carrier)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
            socket
        };
        let (card, network) = (end(card), end(network));
        network.send(&[3; 14]).unwrap();
        let mut frame = [0; 100];
        let length = card.recv(&mut frame).unwrap();
        assert_eq!(length, 18);
        card.send(&frame[..length]).unwrap();
        assert_eq!(network.recv(&mut frame).unwrap(), 14);
    }
}
