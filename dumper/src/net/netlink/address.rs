//! Addresses of interfaces: `RTM_NEWADDR`, `struct ifaddrmsg`.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::link::{Link, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST};
use super::message::{Message, Request, ip, u32_at};
use super::socket::Netlink;
use crate::net::Prefix;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// On an IPv6 address; on an IPv4 one it is a further address of a network.
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_PERMANENT: u32 = 0x80;
const IFA_F_OPTIMISTIC: u32 = 0x04;
/// Scopes from this one on do not leave the link.
const SCOPE_LINK: u8 = 253;
const FIXED: usize = 8;

/// An address that an interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's number.
    pub link: u32,
    /// The address in its network.
    pub prefix: Prefix,
    /// Whether it means something beyond the link.
    pub global: bool,
    flags: u32,
}

impl Address {
    /// All addresses of all interfaces.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn all(kernel: &mut Netlink) -> io::Result<Vec<Self>> {
        let request = Request::new(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, &[0; FIXED]);
        kernel.ask(request, Self::read)
    }

    /// Out of a message about an address.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWADDR {
            return None;
        }
        let [_, len, flags, scope, ..] = *message.body else {
            return None;
        };
        let mut flags = u32::from(flags);
        let (mut local, mut peer) = (None, None);
        for (kind, value) in message.attributes(FIXED) {
            match kind {
                IFA_LOCAL => local = ip(value),
                IFA_ADDRESS => peer = ip(value),
                IFA_FLAGS => flags = u32_at(value, 0)?,
                _ => {}
            }
        }
        Some(Self {
            link: u32_at(message.body, 4)?,
            prefix: Prefix::new(local.or(peer)?, len)?,
            global: scope < SCOPE_LINK,
            flags,
        })
    }

    /// One as a test wants it.
    #[doc(hidden)]
    #[must_use]
    pub fn of(link: u32, prefix: Prefix, permanent: bool) -> Self {
        Self {
            link,
            prefix,
            global: true,
            flags: if permanent { IFA_F_PERMANENT } else { 0 },
        }
    }

    /// Whether it stays: neither a lease nor what a router says.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.flags & IFA_F_PERMANENT != 0
    }

    /// Whether somebody else on the link has it.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.flags & IFA_F_DADFAILED != 0
    }

    /// Whether it is an IPv6 address that changes from day to day.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.prefix.address.is_ipv6() && self.flags & IFA_F_TEMPORARY != 0
    }

    /// Whether packets beyond the link can be sent from it now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let waits = self.flags & IFA_F_TENTATIVE != 0 && self.flags & IFA_F_OPTIMISTIC == 0;
        self.global && !waits && !self.is_duplicate() && self.flags & IFA_F_DEPRECATED == 0
    }

    /// Gives `link` an address; one that it has is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(kernel: &mut Netlink, link: &Link, prefix: Prefix) -> io::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
        let mut request = Request::new(RTM_NEWADDR, flags, &fixed(link, prefix))
            .with_address(IFA_LOCAL, prefix.address)
            .with_address(IFA_ADDRESS, prefix.address);
        if let Some(broadcast) = broadcast(prefix) {
            request = request.with_address(IFA_BROADCAST, broadcast);
        }
        match kernel.change(request) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            done => done,
        }
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(kernel: &mut Netlink, link: &Link, prefix: Prefix) -> io::Result<()> {
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        let request = Request::new(RTM_DELADDR, flags, &fixed(link, prefix));
        kernel.change(request.with_address(IFA_LOCAL, prefix.address))
    }
}

fn fixed(link: &Link, prefix: Prefix) -> [u8; FIXED] {
    let mut fixed = [
        super::route::family(prefix.address),
        prefix.len,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    fixed[4..].copy_from_slice(&link.index.to_ne_bytes());
    fixed
}

fn broadcast(prefix: Prefix) -> Option<IpAddr> {
    let IpAddr::V4(address) = prefix.address else {
        return None;
    };
    let host = u32::MAX.checked_shr(prefix.len.into())?;
    // Networks of one or two have none.
    (host > 1).then(|| Ipv4Addr::from_bits(address.to_bits() | host).into())
}

#[cfg(test)]
mod tests {
    use super::super::message::Messages;
    use super::*;

    fn read(flags: u32, scope: u8, address: &[u8], len: u8) -> Option<Address> {
        let fixed = [10, len, 0, scope, 3, 0, 0, 0];
        let bytes = Request::new(RTM_NEWADDR, 0, &fixed)
            .with(IFA_ADDRESS, address)
            .with(IFA_FLAGS, &flags.to_ne_bytes())
            .finish(1);
        Address::read(&Messages::new(&bytes).next()?)
    }

    #[test]
    fn usable_or_not() {
        let v6 = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(read(IFA_F_PERMANENT, 0, &v6, 64).unwrap().is_usable());
        // fec0::/10 has a scope of its own.
        assert!(read(0, 200, &v6, 64).unwrap().is_usable());
        assert!(!read(0, SCOPE_LINK, &v6, 64).unwrap().is_usable());
        assert!(!read(IFA_F_TENTATIVE, 0, &v6, 64).unwrap().is_usable());
        assert!(!read(IFA_F_DEPRECATED, 0, &v6, 64).unwrap().is_usable());
        let duplicate = read(IFA_F_DADFAILED | IFA_F_TENTATIVE, 0, &v6, 64).unwrap();
        assert!(duplicate.is_duplicate() && !duplicate.is_usable());
        assert_eq!(read(0, 0, &v6, 129), None);
        assert_eq!(read(0, 0, &v6[..7], 64), None);
    }

    #[test]
    fn broadcast_addresses() {
        let of = |text: &str| broadcast(text.parse().unwrap()).map(|ip| ip.to_string());
        assert_eq!(of("10.0.2.15/24").as_deref(), Some("10.0.2.255"));
        assert_eq!(of("10.0.2.15/32"), None);
        assert_eq!(of("10.0.2.15/31"), None);
        assert_eq!(of("10.0.2.15/0").as_deref(), Some("255.255.255.255"));
        assert_eq!(of("fd00::1/64"), None);
    }
}
