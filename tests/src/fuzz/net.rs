//! What the network says: DHCP frames, DNS answers, the kernel's messages; and the lines that describe interfaces.

use baredump::net::dhcp::{self, Reply};
use baredump::net::dns::{self, Type};
use baredump::net::{Interface, Mac, netlink};

const XID: u32 = 7;
const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const NAME: &str = "dumps.example";
const ROUTES_MAX: usize = 64;

/// A frame, or the message in one.
pub(super) fn dhcp(data: &[u8]) {
    for message in [dhcp::payload(data), Some(data)].into_iter().flatten() {
        if let Some(lease) = Reply::parse(message, XID, MAC).and_then(|reply| reply.lease) {
            assert!(lease.routes.len() <= ROUTES_MAX && lease.dns.len() <= 8);
        }
    }
}

pub(super) fn dhcp_seeds() -> Vec<Vec<u8>> {
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[4..8].copy_from_slice(&XID.to_be_bytes());
    message[16..20].copy_from_slice(&[10, 0, 2, 15]);
    message[28..34].copy_from_slice(&MAC.0);
    message.extend_from_slice(&[
        99, 130, 83, 99, 53, 1, 5, 54, 4, 10, 0, 2, 2, 1, 4, 255, 255, 255, 0,
    ]);
    message.extend_from_slice(&[
        3, 4, 10, 0, 2, 2, 6, 4, 10, 0, 2, 3, 51, 4, 0, 1, 81, 128, 26, 2, 5, 0,
    ]);
    message.extend_from_slice(&[121, 7, 16, 10, 1, 10, 0, 2, 3, 12, 1, b'h', 52, 1, 3, 255]);
    vec![framed(&message), message]
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = |more: usize| {
        u16::try_from(message.len() + more)
            .unwrap_or(0)
            .to_be_bytes()
    };
    let mut frame = vec![0xff; 12];
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&len(28));
    frame.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 2, 255, 255, 255, 255]);
    let sum: u32 = frame[14..]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = !u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap_or(0);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&[0, 67, 0, 68]);
    frame.extend_from_slice(&len(8));
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(message);
    frame
}

/// An answer of a name server.
pub(super) fn dns(data: &[u8]) {
    for kind in [Type::A, Type::Aaaa] {
        let _ = dns::answer(data, 7, NAME, kind);
    }
}

pub(super) fn dns_seeds() -> Vec<Vec<u8>> {
    let mut answer = vec![0, 7, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
    answer.extend_from_slice(b"\x05dumps\x07example\0\0\x01\0\x01");
    answer.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x09\0\x04\x01w\xc0\x12");
    answer.extend_from_slice(b"\x01w\xc0\x12\0\x01\0\x01\0\0\0\x09\0\x04\x0a\0\x02\x02");
    vec![answer]
}

/// A datagram of the kernel.
pub(super) fn netlink(data: &[u8]) {
    assert!(netlink::read_all(data) <= data.len());
}

pub(super) fn netlink_seeds() -> Vec<Vec<u8>> {
    let fixed = [2, 24, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let name = (3, &b"eth0.5\0"[..]);
    let request = |kind: u16, len: usize| {
        let attributes = [
            (1, &[10, 0, 2, 15][..]),
            name,
            (4, &[1, 0, 0, 0][..]),
            (18, VLAN),
        ];
        let request = netlink::Request::new(kind, 0, &fixed[..len]);
        let whole = attributes
            .iter()
            .fold(request, |r, (kind, value)| r.with(*kind, value));
        whole.finish(1)
    };
    vec![[request(16, 16), request(20, 8), request(24, 12)].concat()]
}

/// The attributes of a VLAN.
const VLAN: &[u8] = &[
    9, 0, 1, 0, b'v', b'l', b'a', b'n', 0, 0, 0, 0, 12, 0, 2, 0, 6, 0, 1, 0, 5, 0, 0, 0,
];

/// A line: what can be read is written as what reads the same.
pub(super) fn interface(data: &[u8]) {
    let Ok(found) = String::from_utf8_lossy(data).parse::<Interface>() else {
        return;
    };
    assert_eq!(found.to_string().parse::<Interface>().ok(), Some(found));
}

pub(super) fn interface_seeds() -> Vec<Vec<u8>> {
    [
        "eth0:mac=52:54:00:12:34:56;dhcp;mtu=1500",
        "b:bus=0000:00:03.0;address=10.0.2.15/24;gateway=10.0.2.2;route=10.1.0.0/16@10.0.2.3",
        "v:vlan=5;on=b;slaac;address=fd00::5/64;dns=fd00::1",
        "bond0:bond=active-backup;on=A+B;miimon=100;primary=A;dhcp",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}
