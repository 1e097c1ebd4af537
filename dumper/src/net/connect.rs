//! Whether a server listens: a TCP connection to one of its addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::NetError;

/// What one address gets at least, when there are several and little time.
const LEAST: Duration = Duration::from_millis(500);

/// A socket for datagrams to and from `to` alone. Nothing is sent.
///
/// # Errors
/// No way leads there.
pub fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket)
}

/// Connects to the first address that answers. Each gets an equal share of the time that is left.
///
/// # Errors
/// What each address said.
pub fn connect(addresses: &[IpAddr], port: u16, deadline: Duration) -> Result<TcpStream, NetError> {
    let end = Instant::now() + deadline;
    let (mut said, mut refused) = (Vec::new(), !addresses.is_empty());
    for (n, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            said.push(format!("{address} was not tried any more"));
            refused = false;
            continue;
        }
        let share = left / u32::try_from(addresses.len() - n).unwrap_or(1);
        let wait = share.max(LEAST.min(left));
        match TcpStream::connect_timeout(&SocketAddr::new(*address, port), wait) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                refused &= error.kind() == io::ErrorKind::ConnectionRefused;
                said.push(format!("{address} {}", reason(&error, wait)));
            }
        }
    }
    if said.is_empty() {
        said.push("there is no address to try".to_owned());
    }
    Err(NetError::Connect {
        port,
        why: said.join("; "),
        refused,
    })
}

fn reason(error: &io::Error, wait: Duration) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "refused it: the machine is there, but no server listens".to_owned()
        }
        io::ErrorKind::TimedOut => format!("did not answer within {:.1} s", wait.as_secs_f32()),
        io::ErrorKind::HostUnreachable => {
            "is unreachable: no machine has this address, or a router says so".to_owned()
        }
        io::ErrorKind::NetworkUnreachable => "is unreachable: no route leads there".to_owned(),
        _ => format!("failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_address_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dead: IpAddr = "127.0.0.2".parse().unwrap();
        let here = IpAddr::from([127, 0, 0, 1]);
        let stream = connect(&[dead, here], port, Duration::from_secs(5)).unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), here);
        let error = connect(&[dead], port, Duration::from_secs(5)).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("127.0.0.2 refused") && said.contains(&port.to_string()),
            "{said}"
        );
        assert!(connect(&[], port, Duration::from_secs(5)).is_err());
        let late = connect(&[here], port, Duration::ZERO).unwrap_err();
        assert!(late.to_string().contains("not tried"));
    }
}
