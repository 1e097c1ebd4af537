//! Names to addresses: those stored in the image, else a question to the name servers.

mod message;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::NetError;
use super::connect::udp;
use super::random::random;
pub use message::{Answer, Type, answer};

const PORT: u16 = 53;
/// How long one server has for one answer.
const WAIT: Duration = Duration::from_secs(2);
/// Servers that are asked.
const MAX_SERVERS: usize = 6;
/// As large as an answer without extensions can be.
const BUFFER: usize = 512;
/// Stray packets while waiting for one answer.
const MAX_STRAY: usize = 64;

/// The addresses of a server: itself when it is one, those stored with the image, or what [`ask`] gets.
///
/// # Errors
/// No address is known, and no server gives one.
pub fn resolve(
    name: &str,
    stored: &BTreeMap<String, Vec<IpAddr>>,
    servers: &[IpAddr],
    deadline: Duration,
) -> Result<Vec<IpAddr>, NetError> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse() {
        return Ok(vec![address]);
    }
    match stored.get(name) {
        Some(addresses) if !addresses.is_empty() => Ok(addresses.clone()),
        _ => ask(name, servers, deadline),
    }
}

/// Asks the name servers, whatever is stored: for when no stored address answers. The name is taken as a whole, no domain is added.
///
/// # Errors
/// What the servers said.
pub fn ask(name: &str, servers: &[IpAddr], deadline: Duration) -> Result<Vec<IpAddr>, NetError> {
    let failed = |why: String| NetError::Resolve {
        name: name.to_owned(),
        why,
    };
    if servers.is_empty() {
        return Err(failed(
            "no address was stored with the image, and no name server is known".to_owned(),
        ));
    }
    let end = Instant::now() + deadline;
    let mut why = "there was no time to ask".to_owned();
    while Instant::now() < end {
        for server in servers.iter().take(MAX_SERVERS) {
            match ask_one(name, *server, end) {
                Ok(found) if !found.is_empty() => return Ok(found),
                // Another server may know other names.
                Ok(_) => why = format!("name server {server} knows no address of it"),
                Err(error) => why = format!("name server {server}: {error}"),
            }
        }
        std::thread::sleep(
            Duration::from_millis(200).min(end.saturating_duration_since(Instant::now())),
        );
    }
    Err(failed(why))
}

fn ask_one(name: &str, server: IpAddr, end: Instant) -> Result<Vec<IpAddr>, String> {
    let socket = udp(SocketAddr::new(server, PORT)).map_err(|e| e.to_string())?;
    let mut found = exchange(&socket, name, Type::A, end)?;
    // The addresses of the other family are a gift: their lack is no failure.
    found.extend(exchange(&socket, name, Type::Aaaa, end).unwrap_or_default());
    Ok(found)
}

fn exchange(
    socket: &UdpSocket,
    name: &str,
    kind: Type,
    end: Instant,
) -> Result<Vec<IpAddr>, String> {
    let id = u16::try_from(random() >> 16).unwrap_or(1);
    let query = message::query(id, name, kind).ok_or("it is no name that can be asked for")?;
    socket.send(&query).map_err(|e| e.to_string())?;
    let end = end.min(Instant::now() + WAIT);
    let mut buffer = [0; BUFFER];
    for _ in 0..MAX_STRAY {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket
            .set_read_timeout(Some(left))
            .map_err(|e| e.to_string())?;
        let len = match socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e.to_string()),
        };
        let bytes = buffer.get(..len).unwrap_or(&[]);
        match answer(bytes, id, name, kind) {
            Answer::Addresses(found) => return Ok(found),
            Answer::Failed(why) => return Err(why.to_owned()),
            Answer::NotOurs => {}
        }
    }
    Err("it did not answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_comes_first() {
        let stored = BTreeMap::from([("dumps".to_owned(), vec![IpAddr::from([10, 0, 2, 2])])]);
        let of = |name| resolve(name, &stored, &[], Duration::ZERO);
        assert_eq!(of("dumps").unwrap(), [IpAddr::from([10, 0, 2, 2])]);
        assert_eq!(of("[fd00::1]").unwrap()[0].to_string(), "fd00::1");
        assert_eq!(of("10.1.1.1").unwrap()[0].to_string(), "10.1.1.1");
        assert!(of("other").unwrap_err().to_string().contains("other"));
    }

    #[test]
    fn a_real_conversation() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let there = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            let mut reply = buffer[..len].to_vec();
            server.send_to(b"stray", from).unwrap();
            reply[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
            reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 2, 2]);
            server.send_to(&reply, from).unwrap();
        });
        let end = Instant::now() + Duration::from_secs(5);
        let found = exchange(&client, "dumps.example", Type::A, end).unwrap();
        there.join().unwrap();
        assert_eq!(found, [IpAddr::from([10, 0, 2, 2])]);
    }
}
