//! A proxy before a server, that fails in the middle of a transfer: it stalls, it dies, or it becomes very slow.

use super::process::free_port;
use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Connections stay open, new ones are taken, nothing goes through any more.
    Stall,
    /// Connections are closed, new ones refused.
    Die,
    /// Bytes still come through, 16 KiB and then a pause.
    Slow(Duration),
    /// Everything comes through, but the next word of the server so much later, once.
    Late(Duration),
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Its port.
    pub(crate) port: u16,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    fault: Fault,
    /// Bytes that clients may still send.
    left: AtomicU64,
    ended: AtomicBool,
    /// What comes late has come.
    came: AtomicBool,
}

/// How often threads look whether they should end.
const LOOK: Duration = Duration::from_millis(20);

impl Proxy {
    /// Starts a proxy that fails when clients have sent `bytes`.
    ///
    /// # Errors
    /// When there is no port.
    pub(crate) fn start(server: SocketAddr, fault: Fault, bytes: u64) -> Result<Self> {
        let port = free_port()?;
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("cannot listen")?;
        socket.set_nonblocking(true)?;
        let state = Arc::new(State {
            server,
            fault,
            left: AtomicU64::new(bytes),
            ended: AtomicBool::new(false),
            came: AtomicBool::new(false),
        });
        let listener = {
            let state = Arc::clone(&state);
            std::thread::spawn(move || listen(&socket, &state))
        };
        Ok(Self {
            port,
            state,
            listener: Some(listener),
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl State {
    fn failed(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Whether bytes come through all the same.
    fn carries(&self) -> bool {
        matches!(self.fault, Fault::Slow(_) | Fault::Late(_))
    }

    /// Whether sockets are to be closed.
    fn closes(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || (self.failed() && self.fault == Fault::Die)
    }
}

/// Takes connections until the end; who dies drops the socket.
fn listen(socket: &TcpListener, state: &Arc<State>) {
    let mut threads = Vec::new();
    while !state.closes() {
        match socket.accept() {
            Ok((client, _)) => {
                let state = Arc::clone(state);
                threads.push(std::thread::spawn(move || {
                    // A connection that fails is the guest's business.
                    let _ = connect(&client, &state);
                }));
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Carries one connection, one thread each way.
fn connect(client: &TcpStream, state: &Arc<State>) -> std::io::Result<()> {
    let server = TcpStream::connect(state.server)?;
    for socket in [client, &server] {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(LOOK))?;
        socket.set_write_timeout(Some(LOOK))?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| carry(&server, client, state, false));
        carry(client, &server, state, true);
    });
    Ok(())
}

/// Carries bytes one way until an end closes or the proxy fails.
fn carry(mut from: &TcpStream, to: &TcpStream, state: &State, counted: bool) {
    let mut buffer = [0; 16 << 10];
    while !state.closes() {
        match (state.failed(), state.fault) {
            (true, Fault::Slow(pause)) if counted => std::thread::sleep(pause),
            (true, Fault::Stall | Fault::Die) => {
                std::thread::sleep(LOOK);
                continue;
            }
            _ => {}
        }
        let bytes = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) if waits(error.kind()) => continue,
            Err(_) => break,
        };
        // What a slow one still takes it carries.
        if counted && !take(&state.left, bytes) && !state.carries() {
            continue;
        }
        if let Fault::Late(pause) = state.fault
            && !counted
            && state.failed()
            && !state.came.swap(true, Ordering::Relaxed)
        {
            std::thread::sleep(pause);
        }
        if !send(to, &buffer[..bytes], state) {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// Takes bytes from those that are left; not when it is the last.
fn take(left: &AtomicU64, bytes: usize) -> bool {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        Some(left.saturating_sub(bytes))
    });
    before.is_ok_and(|before| before > bytes)
}

fn send(mut to: &TcpStream, mut bytes: &[u8], state: &State) -> bool {
    while !bytes.is_empty() && !state.closes() {
        match to.write(bytes) {
            Ok(0) => return false,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if waits(error.kind()) => {}
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}

fn waits(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(200);

    /// A server that counts what it gets, a proxy before it, and a client.
    fn scene(fault: Fault) -> (Proxy, TcpStream, JoinHandle<u64>) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let counter = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0)
        });
        let proxy = Proxy::start(address, fault, 100_000).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        client.write_all(&[7; 50_000]).unwrap();
        (proxy, client, counter)
    }

    fn overfill(proxy: &Proxy, client: &mut TcpStream) {
        let _ = client.write_all(&[7; 60_000]);
        while !proxy.state.failed() {
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn the_dead_refuse() {
        let (proxy, mut client, counter) = scene(Fault::Die);
        overfill(&proxy, &mut client);
        assert!((50_000..100_000).contains(&counter.join().unwrap()));
        std::thread::sleep(10 * LOOK);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).is_err());
        let closed = client.read(&mut [0; 10]);
        assert!(matches!(closed, Ok(0)) || closed.is_err());
    }

    #[test]
    fn the_slow_still_carry_everything() {
        let (proxy, mut client, counter) = scene(Fault::Slow(SLOW));
        overfill(&proxy, &mut client);
        let start = std::time::Instant::now();
        client.write_all(&[7; 50_000]).unwrap();
        drop(client);
        assert_eq!(counter.join().unwrap(), 160_000);
        assert!(start.elapsed() >= 2 * SLOW);
    }

    #[test]
    fn the_late_say_it_later() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            stream.read_exact(&mut [0; 200]).unwrap();
            stream.write_all(b"done").unwrap();
        });
        let proxy = Proxy::start(address, Fault::Late(5 * SLOW), 100).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        let start = std::time::Instant::now();
        client.write_all(&[7; 200]).unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        assert!(start.elapsed() >= 5 * SLOW);
        answers.join().unwrap();
    }

    #[test]
    fn the_stalled_say_nothing() {
        let (proxy, mut client, counter) = scene(Fault::Stall);
        overfill(&proxy, &mut client);
        client.set_read_timeout(Some(10 * LOOK)).unwrap();
        assert!(waits(client.read(&mut [0; 10]).unwrap_err().kind()));
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).is_ok());
        drop(proxy);
        assert!((50_000..100_000).contains(&counter.join().unwrap()));
    }
}
