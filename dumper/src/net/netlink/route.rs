//! Routes: `RTM_NEWROUTE`, `struct rtmsg`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::{Link, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST};
use super::message::{Message, Request, ip, u32_at};
use super::socket::Netlink;
use crate::net::{Prefix, Route};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
const RTPROT_STATIC: u8 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_LINK: u8 = 253;
const RTNH_F_ONLINK: u32 = 4;
/// Asks for the entry of the table, not for what would happen to a packet; IPv4 since 4.13, IPv6 since 4.18.
const RTM_F_FIB_MATCH: u32 = 0x2000;
const FIXED: usize = 12;

/// A route of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// The network.
    pub to: Prefix,
    /// The interface's number.
    pub link: Option<u32>,
    /// The router.
    pub via: Option<IpAddr>,
    /// The address packets are sent from.
    pub from: Option<IpAddr>,
    /// Whether packets get there at all.
    pub unicast: bool,
    /// Whether the router has an address of the other family.
    pub foreign_router: bool,
}

impl RouteEntry {
    /// The way a packet to `address` goes.
    ///
    /// # Errors
    /// What the kernel says: that there is none.
    pub fn to(kernel: &mut Netlink, address: IpAddr) -> io::Result<Self> {
        Self::lookup(kernel, address, 0)
    }

    /// The entry of the table that decides about `address`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn entry(kernel: &mut Netlink, address: IpAddr) -> io::Result<Self> {
        Self::lookup(kernel, address, RTM_F_FIB_MATCH)
    }

    fn lookup(kernel: &mut Netlink, address: IpAddr, flags: u32) -> io::Result<Self> {
        let mut fixed = fixed(Prefix::single(address));
        fixed[8..].copy_from_slice(&flags.to_ne_bytes());
        let request = Request::new(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_ACK, &fixed);
        let found = kernel.ask(request.with_address(RTA_DST, address), Self::read)?;
        found
            .first()
            .copied()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENETUNREACH))
    }

    /// Whether IPv6 has a default route over `link`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn defaults_v6(kernel: &mut Netlink, link: &Link) -> io::Result<Vec<Self>> {
        let all = Prefix {
            address: Ipv6Addr::UNSPECIFIED.into(),
            len: 0,
        };
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut found = kernel.ask(Request::new(RTM_GETROUTE, flags, &fixed(all)), Self::read)?;
        found.retain(|r| r.unicast && r.to == all && r.link == Some(link.index));
        Ok(found)
    }

    /// Out of a message about a route.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWROUTE {
            return None;
        }
        let [family, len, _, _, _, _, _, kind, ..] = *message.body else {
            return None;
        };
        let all = match i32::from(family) {
            libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let mut route = Self {
            to: Prefix::new(all, len)?,
            link: None,
            via: None,
            from: None,
            unicast: kind == RTN_UNICAST,
            foreign_router: false,
        };
        for (kind, value) in message.attributes(FIXED) {
            match kind {
                RTA_DST => route.to = Prefix::new(ip(value)?, len)?,
                RTA_OIF => route.link = u32_at(value, 0),
                RTA_GATEWAY => route.via = ip(value),
                RTA_PREFSRC => route.from = ip(value),
                RTA_VIA => route.foreign_router = true,
                _ => {}
            }
        }
        Some(route)
    }
}

/// Adds a route over `link`; `metric` is the lower the better, one that is there is no error. `on_link` says that the router is there
/// although no address says so.
///
/// # Errors
/// What the kernel says.
pub fn add_route(
    kernel: &mut Netlink,
    link: &Link,
    route: &Route,
    metric: u32,
    on_link: bool,
) -> io::Result<()> {
    let mut fixed = fixed(route.to);
    if route.via.is_none() {
        fixed[6] = RT_SCOPE_LINK;
    }
    if route.via.is_some() && on_link {
        fixed[8..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    }
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    let mut request = Request::new(RTM_NEWROUTE, flags, &fixed)
        .with_address(RTA_DST, network(route.to))
        .with(RTA_OIF, &link.index.to_ne_bytes())
        .with(RTA_PRIORITY, &metric.to_ne_bytes());
    if let Some(via) = route.via {
        request = request.with_address(RTA_GATEWAY, via);
    }
    match kernel.change(request) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done,
    }
}

fn fixed(to: Prefix) -> [u8; FIXED] {
    let family = family(to.address);
    [
        family,
        to.len,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        0,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ]
}

pub(super) fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u8::try_from(family).unwrap_or(0)
}

/// The address without the bits of the host: the kernel takes no others.
fn network(prefix: Prefix) -> IpAddr {
    let len = u32::from(prefix.len);
    match prefix.address {
        IpAddr::V4(a) => {
            let mask = !u32::MAX.checked_shr(len).unwrap_or(0);
            Ipv4Addr::from_bits(a.to_bits() & mask).into()
        }
        IpAddr::V6(a) => {
            let mask = !u128::MAX.checked_shr(len).unwrap_or(0);
            Ipv6Addr::from_bits(a.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Messages;
    use super::*;

    #[test]
    fn networks() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3/16"), "10.1.0.0");
        assert_eq!(of("10.1.2.3/32"), "10.1.2.3");
        assert_eq!(of("10.1.2.3/0"), "0.0.0.0");
        assert_eq!(of("fd00:1:2:3::5/48"), "fd00:1:2::");
        assert_eq!(of("fd00::5/128"), "fd00::5");
    }

    #[test]
    fn a_route_is_read() {
        let bytes = Request::new(RTM_NEWROUTE, 0, &fixed("10.1.0.0/16".parse().unwrap()))
            .with(RTA_DST, &[10, 1, 0, 0])
            .with(RTA_GATEWAY, &[10, 0, 2, 2])
            .with(RTA_PREFSRC, &[10, 0, 2, 15])
            .with(RTA_OIF, &3_u32.to_ne_bytes())
            .finish(1);
        let route = RouteEntry::read(&Messages::new(&bytes).next().unwrap()).unwrap();
        assert_eq!(route.to.to_string(), "10.1.0.0/16");
        assert_eq!((route.link, route.unicast), (Some(3), true));
        assert_eq!(route.via.unwrap().to_string(), "10.0.2.2");
        assert_eq!(route.from.unwrap().to_string(), "10.0.2.15");
        for len in 0..bytes.len() {
            super::super::read_all(&bytes[..len]);
        }
    }

    #[test]
    fn the_way_to_this_machine() {
        let mut kernel = Netlink::open().unwrap();
        let route = RouteEntry::to(&mut kernel, Ipv4Addr::LOCALHOST.into());
        assert!(route.is_err() || !route.unwrap().unicast);
    }
}
