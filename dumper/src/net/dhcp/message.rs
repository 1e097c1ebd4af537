//! DHCP messages.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::net::{Mac, Prefix, Route};

const FIXED: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// `sname` and `file`, which may hold options.
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
/// Relays drop what is shorter than a BOOTP message.
const MIN_LEN: usize = 300;
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const MTU: u8 = 26;
const NTP: u8 = 42;
const ADDRESS: u8 = 50;
const LEASE: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const WANTED: u8 = 55;
const MAX_SIZE: u8 = 57;
const CLIENT: u8 = 61;
const ROUTES: u8 = 121;
/// More than any server has reason to say.
const MAX_SERVERS: usize = 8;
const MAX_ROUTES: usize = 64;
/// Smaller ones are mistakes, or meant badly.
const MTU_RANGE: std::ops::RangeInclusive<u16> = 576..=9216;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who has addresses?
    Discover = 1,
    /// I have this one.
    Offer = 2,
    /// Give me this one.
    Request = 3,
    /// It is yours.
    Ack = 5,
    /// It is not.
    Nak = 6,
}

/// An address and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address in its network.
    pub address: Prefix,
    /// Who gave it.
    pub server: Ipv4Addr,
    /// How long it is ours; `None` when the server does not say.
    pub time: Option<Duration>,
    /// The default router.
    pub gateway: Option<IpAddr>,
    /// Further routes.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Time servers.
    pub ntp: Vec<IpAddr>,
    /// The name the server has for this machine.
    pub host_name: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Offer, ack or nak.
    pub kind: Kind,
    /// Who says it.
    pub server: Ipv4Addr,
    /// What it gives; `None` in a nak.
    pub lease: Option<Lease>,
}

impl Reply {
    /// A server's answer to `xid` of `mac`; `None` for everything else, and for what no machine can use.
    #[must_use]
    pub fn parse(bytes: &[u8], xid: u32, mac: Mac) -> Option<Self> {
        let header: &[u8; 34] = bytes.first_chunk()?;
        let ours = header[4..8] == xid.to_be_bytes() && header[28..] == mac.0;
        if header[..3] != [2, 1, 6] || !ours || bytes.get(FIXED..FIXED + 4)? != COOKIE {
            return None;
        }
        let options = Options::of(bytes);
        let kind = match options.one(KIND)?.as_slice() {
            [2] => Kind::Offer,
            [5] => Kind::Ack,
            [6] => Kind::Nak,
            _ => return None,
        };
        let server = options.addresses(SERVER).next()?;
        let address = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        let lease = match kind {
            Kind::Nak => None,
            _ => Some(lease(&options, address, server)?),
        };
        Some(Self {
            kind,
            server,
            lease,
        })
    }
}

fn lease(options: &Options<'_>, address: Ipv4Addr, server: Ipv4Addr) -> Option<Lease> {
    if !is_host(address) {
        return None;
    }
    let mask = options.addresses(MASK).next().map(Ipv4Addr::to_bits);
    let len = mask.map_or_else(|| Some(class(address)), mask_len)?;
    let (mut gateway, mut routes) = (options.addresses(ROUTER).find(|a| is_host(*a)), Vec::new());
    if let Some(bytes) = options.one(ROUTES) {
        // RFC 3442: who says 121 means it instead of 3.
        routes = classless(&bytes);
        gateway = None;
        routes.retain(|route| {
            let default = route.to.len == 0;
            if default && let Some(IpAddr::V4(via)) = route.via {
                gateway = gateway.or(Some(via));
            }
            !default
        });
    }
    let four = |bytes: Vec<u8>| bytes.as_slice().try_into().ok().map(u32::from_be_bytes);
    let two = |bytes: Vec<u8>| bytes.as_slice().try_into().ok().map(u16::from_be_bytes);
    let time = options.one(LEASE).and_then(four);
    let mtu = options
        .one(MTU)
        .and_then(two)
        .filter(|mtu| MTU_RANGE.contains(mtu));
    Some(Lease {
        address: Prefix::new(address.into(), len)?,
        server,
        // All bits: for ever.
        time: time
            .filter(|t| *t != u32::MAX)
            .map(|t| Duration::from_secs(t.into())),
        gateway: gateway.map(IpAddr::V4),
        routes,
        dns: options.hosts(DNS),
        ntp: options.hosts(NTP),
        host_name: options.one(HOST_NAME).and_then(host_name),
        mtu: mtu.map(u32::from),
    })
}

/// Letters, digits, dots and dashes, or nothing.
fn host_name(bytes: Vec<u8>) -> Option<String> {
    let mut name = String::from_utf8(bytes).ok()?;
    name.truncate(name.trim_end_matches('\0').len());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

fn is_host(address: Ipv4Addr) -> bool {
    let never = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !never && !address.is_broadcast() && address.octets()[0] != 0
}

fn mask_len(mask: u32) -> Option<u8> {
    let len = mask.leading_ones();
    (mask.count_ones() == len).then(|| u8::try_from(len).unwrap_or(32))
}

/// The network of an address for which the server has no mask.
fn class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

fn classless(mut bytes: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some((len, rest)) = bytes.split_first() {
        let significant = usize::from(len.div_ceil(8));
        let Some((to, via)) = rest
            .get(..significant)
            .zip(rest.get(significant..).and_then(<[u8]>::first_chunk::<4>))
        else {
            break;
        };
        let mut network = [0; 4];
        for (byte, from) in network.iter_mut().zip(to) {
            *byte = *from;
        }
        let via = Ipv4Addr::from(*via);
        let Some(to) = Prefix::new(Ipv4Addr::from(network).into(), *len) else {
            break;
        };
        if routes.len() == MAX_ROUTES {
            break;
        }
        routes.push(Route {
            to,
            // 0.0.0.0: on the link.
            via: (!via.is_unspecified()).then_some(IpAddr::V4(via)),
        });
        bytes = rest.get(significant + 4..).unwrap_or(&[]);
    }
    routes
}

/// All options of a message, wherever they are.
struct Options<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Options<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let mut all = Self(Vec::new());
        all.read(bytes.get(FIXED + 4..).unwrap_or(&[]));
        let overload = all
            .one(OVERLOAD)
            .and_then(|v| v.first().copied())
            .unwrap_or(0);
        if overload & 1 != 0 {
            all.read(bytes.get(FILE).unwrap_or(&[]));
        }
        if overload & 2 != 0 {
            all.read(bytes.get(SNAME).unwrap_or(&[]));
        }
        all
    }

    fn read(&mut self, mut bytes: &'a [u8]) {
        while let Some((code, rest)) = bytes.split_first() {
            bytes = match code {
                0 => rest,
                255 => return,
                _ => {
                    let Some((len, rest)) = rest.split_first() else {
                        return;
                    };
                    let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else {
                        return;
                    };
                    self.0.push((*code, value));
                    rest
                }
            };
        }
    }

    /// All parts of an option, joined.
    fn one(&self, code: u8) -> Option<Vec<u8>> {
        let mut parts = self.0.iter().filter(|(found, _)| *found == code).peekable();
        parts.peek()?;
        Some(parts.flat_map(|(_, value)| value.iter().copied()).collect())
    }

    fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> {
        let bytes = self.one(code).unwrap_or_default();
        let found: Vec<Ipv4Addr> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|c: &[u8; 4]| (*c).into())
            .collect();
        found.into_iter()
    }

    fn hosts(&self, code: u8) -> Vec<IpAddr> {
        let hosts = self.addresses(code).filter(|a| is_host(*a));
        hosts.take(MAX_SERVERS).map(IpAddr::V4).collect()
    }
}

/// What the client says: discover, or request of what was offered.
#[must_use]
pub(super) fn build(
    kind: Kind,
    xid: u32,
    mac: Mac,
    seconds: u16,
    offer: Option<&Lease>,
) -> Vec<u8> {
    let mut bytes = vec![0; FIXED];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(room) = bytes.get_mut(at..at + value.len()) {
            room.copy_from_slice(value);
        }
    };
    put(0, &[1, 1, 6, 0]);
    put(4, &xid.to_be_bytes());
    put(8, &seconds.to_be_bytes());
    // Broadcast: there is no address yet that an answer could be sent to.
    put(10, &[0x80, 0]);
    put(28, &mac.0);
    bytes.extend_from_slice(&COOKIE);
    let mut option = |code: u8, value: &[u8]| {
        bytes.extend_from_slice(&[code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        bytes.extend_from_slice(value);
    };
    option(KIND, &[kind as u8]);
    let [a, b, c, d, e, f] = mac.0;
    option(CLIENT, &[1, a, b, c, d, e, f]);
    option(MAX_SIZE, &1500_u16.to_be_bytes());
    if let Some(Lease {
        address: Prefix {
            address: IpAddr::V4(address),
            ..
        },
        server,
        ..
    }) = offer
    {
        option(ADDRESS, &address.octets());
        option(SERVER, &server.octets());
    }
    option(
        WANTED,
        &[
            MASK, ROUTES, ROUTER, DNS, HOST_NAME, MTU, NTP, LEASE, SERVER,
        ],
    );
    bytes.push(255);
    bytes.resize(bytes.len().max(MIN_LEN), 0);
    bytes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::net::dhcp) const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

    /// A server's message.
    pub(in crate::net::dhcp) fn reply(address: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut bytes = build(Kind::Discover, 7, MAC, 0, None);
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&address);
        bytes.truncate(FIXED + 4);
        bytes.extend_from_slice(options);
        bytes
    }

    fn parse(options: &[u8]) -> Option<Reply> {
        Reply::parse(&reply([10, 0, 2, 15], options), 7, MAC)
    }

    const ACK: &[u8] = &[53, 1, 5, 54, 4, 10, 0, 2, 2];

    fn lease(more: &[u8]) -> Lease {
        parse(&[ACK, more, &[255]].concat()).unwrap().lease.unwrap()
    }

    #[test]
    fn a_whole_lease() {
        let found = lease(&[
            1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 6, 8, 10, 0, 2, 3, 10, 0, 2, 4, 0, 51, 4, 0,
            0, 0x0e, 0x10, 26, 2, 5, 0, 42, 4, 10, 0, 2, 9, 12, 4, b'h', b'o', b's', b't',
        ]);
        assert_eq!(found.address.to_string(), "10.0.2.15/24");
        assert_eq!(found.server, Ipv4Addr::new(10, 0, 2, 2));
        assert_eq!(found.gateway.unwrap().to_string(), "10.0.2.2");
        assert_eq!((found.dns.len(), found.ntp.len()), (2, 1));
        assert_eq!(found.time, Some(Duration::from_secs(3600)));
        assert_eq!(
            (found.mtu, found.host_name.as_deref()),
            (Some(1280), Some("host"))
        );
    }

    #[test]
    fn classless_routes_win() {
        let found = lease(&[
            3, 4, 10, 0, 2, 2, 121, 5, 0, 10, 0, 2, 7, 121, 15, 16, 10, 1, 10, 0, 2, 3, 24, 10, 7,
            7, 0, 0, 0, 0,
        ]);
        assert_eq!(found.gateway.unwrap().to_string(), "10.0.2.7");
        let routes: Vec<String> = found.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.1.0.0/16@10.0.2.3", "10.7.7.0/24"]);
        // Without a default in it there is none.
        let found = lease(&[3, 4, 10, 0, 2, 2, 121, 7, 16, 10, 1, 10, 0, 2, 3]);
        assert_eq!((found.gateway, found.routes.len()), (None, 1));
        assert!(classless(&[33, 1, 2, 3, 4, 5, 6, 7, 8, 9]).is_empty());
        assert!(classless(&[255; 64]).is_empty());
        assert_eq!(classless(&[0; 500]).len(), MAX_ROUTES);
    }

    #[test]
    fn options_in_other_fields() {
        let mut bytes = reply([10, 0, 2, 15], &[53, 1, 5, 52, 1, 3, 255]);
        bytes[FILE.start..FILE.start + 7].copy_from_slice(&[54, 4, 10, 0, 2, 2, 255]);
        bytes[SNAME.start..SNAME.start + 7].copy_from_slice(&[1, 4, 255, 255, 0, 0, 255]);
        let found = Reply::parse(&bytes, 7, MAC).unwrap().lease.unwrap();
        assert_eq!(found.address.to_string(), "10.0.2.15/16");
    }

    #[test]
    fn what_is_not_for_us_or_makes_no_sense() {
        let good = reply([10, 0, 2, 15], ACK);
        assert!(Reply::parse(&good, 7, MAC).is_some());
        assert_eq!(Reply::parse(&good, 8, MAC), None);
        assert_eq!(Reply::parse(&good, 7, Mac([1; 6])), None);
        assert_eq!(parse(&[54, 4, 10, 0, 2, 2]), None);
        assert_eq!(parse(&[53, 1, 5]), None);
        assert_eq!(parse(&[ACK, &[1, 4, 255, 0, 255, 0]].concat()), None);
        for address in [[0; 4], [127, 0, 0, 1], [255; 4], [224, 0, 0, 1]] {
            assert_eq!(Reply::parse(&reply(address, ACK), 7, MAC), None);
        }
        let odd = lease(&[
            26, 2, 0, 68, 51, 3, 0, 0, 1, 6, 3, 1, 2, 3, 12, 2, b'\n', b'x',
        ]);
        assert_eq!(
            (odd.mtu, odd.time, odd.dns.len(), odd.host_name),
            (None, None, 0, None)
        );
        assert_eq!(parse(&[53, 1, 6, 54, 4, 10, 0, 2, 2]).unwrap().lease, None);
    }

    #[test]
    fn every_truncation() {
        let whole = reply(
            [10, 0, 2, 15],
            &[ACK, &[121, 7, 16, 10, 1, 10, 0, 2, 3, 52, 1, 3, 255]].concat(),
        );
        for len in 0..whole.len() {
            let _ = Reply::parse(&whole[..len], 7, MAC);
        }
    }

    #[test]
    fn what_the_client_says() {
        let discover = build(Kind::Discover, 7, MAC, 3, None);
        assert_eq!(discover.len(), MIN_LEN);
        assert_eq!(discover[10], 0x80);
        let request = build(Kind::Request, 7, MAC, 3, Some(&lease(&[])));
        let options = Options::of(&request);
        assert_eq!(options.one(ADDRESS), Some(vec![10, 0, 2, 15]));
        assert_eq!(options.one(SERVER), Some(vec![10, 0, 2, 2]));
        assert_eq!(options.one(KIND), Some(vec![3]));
        assert_eq!(
            options
                .one(ADDRESS)
                .and(Options::of(&discover).one(ADDRESS)),
            None
        );
    }
}
