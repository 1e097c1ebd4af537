//! Ethernet, IPv4 and UDP around a DHCP message: before there is an address, the kernel's own UDP can't be used.

use crate::net::Mac;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const ETH_P_IP: [u8; 2] = [8, 0];
const PROTOCOL_UDP: u8 = 17;
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// A frame from `mac` to everybody.
#[must_use]
pub(super) fn broadcast(mac: Mac, message: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(UDP + message.len()).unwrap_or(u16::MAX);
    let total = udp_len.saturating_add(20);
    let mut frame = Vec::with_capacity(ETHERNET + usize::from(total));
    frame.extend_from_slice(&Mac::BROADCAST.0);
    frame.extend_from_slice(&mac.0);
    frame.extend_from_slice(&ETH_P_IP);
    let [high, low] = total.to_be_bytes();
    let mut ip = [0; IPV4];
    ip[..4].copy_from_slice(&[0x45, 0x10, high, low]);
    ip[8..10].copy_from_slice(&[64, PROTOCOL_UDP]);
    ip[16..].copy_from_slice(&[255; 4]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&ip);
    let mut udp = Vec::with_capacity(usize::from(udp_len));
    for word in [CLIENT, SERVER, udp_len, 0] {
        udp.extend_from_slice(&word.to_be_bytes());
    }
    udp.extend_from_slice(message);
    let sum = udp_checksum(&udp, udp_len);
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(&udp);
    frame
}

/// The DHCP message in a frame to a client's port. The checksum of UDP is not looked at: between virtual machines it is not there yet.
#[must_use]
pub fn payload(frame: &[u8]) -> Option<&[u8]> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    if ethernet.get(12..)? != ETH_P_IP {
        return None;
    }
    let header_len = usize::from(packet.first()? & 15) * 4;
    let header = packet.get(..header_len)?;
    let &[
        version,
        _,
        high,
        low,
        _,
        _,
        fragment,
        offset,
        _,
        protocol,
        ..,
    ] = header
    else {
        return None;
    };
    let whole = fragment & 0x3f == 0 && offset == 0;
    if version >> 4 != 4
        || header_len < IPV4
        || protocol != PROTOCOL_UDP
        || !whole
        || checksum(header) != 0
    {
        return None;
    }
    // Short frames are padded: the packet says where it ends.
    let udp = packet.get(header_len..usize::from(u16::from_be_bytes([high, low])))?;
    let &[_, _, to_high, to_low, len_high, len_low, _, _, ..] = udp else {
        return None;
    };
    if u16::from_be_bytes([to_high, to_low]) != CLIENT {
        return None;
    }
    udp.get(UDP..usize::from(u16::from_be_bytes([len_high, len_low])))
}

fn udp_checksum(udp: &[u8], len: u16) -> u16 {
    let [high, low] = len.to_be_bytes();
    // From 0.0.0.0 to everybody.
    let pseudo = [0, 0, 0, 0, 255, 255, 255, 255, 0, PROTOCOL_UDP, high, low];
    match checksum(&[&pseudo, udp].concat()) {
        0 => u16::MAX,
        sum => sum,
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            u32::from(u16::from_be_bytes([
                pair[0],
                pair.get(1).copied().unwrap_or(0),
            ]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server would answer.
    fn answer(message: &[u8]) -> Vec<u8> {
        let mut frame = broadcast(Mac([2; 6]), message);
        frame[ETHERNET + IPV4..ETHERNET + IPV4 + 4].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn in_and_out() {
        let mut frame = answer(b"hello");
        assert_eq!(payload(&frame), Some(&b"hello"[..]));
        // With padding.
        frame.resize(60, 0);
        assert_eq!(payload(&frame), Some(&b"hello"[..]));
        assert_eq!(payload(&broadcast(Mac([2; 6]), b"hello")), None);
    }

    #[test]
    fn checksums() {
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8,
            0, 0xc7,
        ];
        assert_eq!(checksum(&header), 0);
        assert_eq!(checksum(&[1]), !0x100);
    }

    #[test]
    fn hostile_frames() {
        let whole = answer(b"hello");
        for len in 0..whole.len() {
            assert_eq!(payload(&whole[..len]), None);
        }
        for at in 0..ETHERNET + IPV4 + UDP {
            for value in [0, 1, 0x0f, 0x40, 0xff] {
                let mut bad = whole.clone();
                bad[at] = value;
                let _ = payload(&bad);
            }
        }
    }
}
