//! Sockets that the standard library does not make.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Ethernet frames that hold IPv4.
const ETH_P_IP: u16 = 0x0800;
/// `AF_PACKET` as an address has it, and the size of such an address.
const AF_PACKET: libc::sa_family_t = 17;
const SOCKADDR_LL: libc::socklen_t = 20;
/// `ETHTOOL_GPERMADDR` of `linux/ethtool.h`.
const ETHTOOL_GPERMADDR: u32 = 0x20;
/// `SIOCETHTOOL` of `linux/sockios.h`.
const SIOCETHTOOL: u32 = 0x8946;

/// To ask and change the kernel's network: each write is a request, each read a datagram of messages.
///
/// # Errors
/// As socket(2).
pub fn route_socket() -> io::Result<File> {
    socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
}

/// Whole Ethernet frames with IPv4 of one interface; reading does not wait.
///
/// # Errors
/// As socket(2) and bind(2).
pub fn packet_socket(interface: u32) -> io::Result<File> {
    let invalid = |_| io::Error::from_raw_os_error(libc::ENODEV);
    let interface = libc::c_int::try_from(interface).map_err(invalid)?;
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
    // Nothing is received before the socket is bound to its interface: the protocol comes with bind.
    let file = socket(libc::AF_PACKET, kind, 0)?;
    // SAFETY: zeros are a valid sockaddr_ll; bind reads no more than its size.
    let done = unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = AF_PACKET;
        address.sll_protocol = ETH_P_IP.to_be();
        address.sll_ifindex = interface;
        libc::bind(file.as_raw_fd(), (&raw const address).cast(), SOCKADDR_LL)
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Has the kernel ask the other side of a TCP connection whether it is still there, and end the connection when it is silent for half
/// a minute.
///
/// # Errors
/// As setsockopt(2).
pub fn keep_alive(socket: BorrowedFd<'_>) -> io::Result<()> {
    let options = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 10),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 5),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 4),
    ];
    for (level, name, value) in options {
        let (value, size): (libc::c_int, _) = (value, size_of::<libc::c_int>());
        let size = libc::socklen_t::try_from(size).unwrap_or(4);
        // SAFETY: the kernel reads an int that lives for the call, and no more than its size.
        let done = unsafe {
            let fd = socket.as_raw_fd();
            libc::setsockopt(fd, level, name, (&raw const value).cast(), size)
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<File> {
    // SAFETY: the call takes no pointer; the descriptor is new and ours.
    unsafe {
        let fd = libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd).into())
    }
}

/// The address an interface was made with, as its driver says; `None` when it says nothing, or zeros, or it is no Ethernet address.
#[must_use]
pub fn permanent_address(interface: &str) -> Option<[u8; 6]> {
    /// `struct ethtool_perm_addr` with room for any address.
    #[repr(C)]
    struct PermanentAddress {
        command: u32,
        size: u32,
        data: [u8; 32],
    }
    let file = socket(libc::AF_INET, libc::SOCK_DGRAM, 0).ok()?;
    let mut answer = PermanentAddress {
        command: ETHTOOL_GPERMADDR,
        size: 32,
        data: [0; 32],
    };
    // SAFETY: zeros are a valid ifreq, the name ends with a NUL as it is shorter than its field, and the answer is as large as it
    // says and outlives the call.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        if interface.len() >= request.ifr_name.len() {
            return None;
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_data = (&raw mut answer).cast();
        libc::ioctl(file.as_raw_fd(), SIOCETHTOOL as _, &raw mut request)
    };
    let [a, b, c, d, e, f, ..] = answer.data;
    let address = [a, b, c, d, e, f];
    (done == 0 && answer.size == 6 && address != [0; 6]).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_this_machine() {
        route_socket().unwrap();
        assert_eq!(permanent_address("lo"), None);
        assert_eq!(permanent_address("no such interface, and too long"), None);
        assert!(packet_socket(u32::MAX).is_err());
    }
}
