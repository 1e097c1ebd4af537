//! What is said of a crash without a dump: one line, or the tail of the log, to a log server.
//!
//! RFC 5424 messages, over UDP one for each datagram (RFC 5426), over TCP with octet counting (RFC 6587, 3.4.1).

use super::file::TargetError;
use super::name::rfc3339;
use super::spec::Transport;
use crate::net;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Facility kern, severity emergency: what a kernel's panic is.
const PANIC: u8 = 0;
/// Facility kern, severity notice: the lines before it.
const NOTICE: u8 = 5;
/// The longest message: what every receiver must take is 480 bytes, what they should is 2048 (RFC 5424, 6.1).
const LONGEST: usize = 1024;
/// Lines that are sent at most.
const MOST: usize = 400;
/// Between two datagrams: there is nothing that slows a sender down.
const PAUSE: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// One line that names host, release and the class of the panic, without anything that the log alone knows.
pub fn line(host: Option<&str>, release: Option<&str>, panic: Option<&str>) -> String {
    format!(
        "kernel crash on {}, release {}: {}",
        host.unwrap_or("an unknown host"),
        release.unwrap_or("unknown"),
        class(panic.unwrap_or_default())
    )
}

/// What kind of panic a line of the kernel's log tells of: words of ours, so that nothing of the line gets out.
fn class(panic: &str) -> &'static str {
    const CLASSES: &[(&str, &str)] = &[
        ("sysrq triggered", "panic asked for by sysrq"),
        ("Out of memory", "out of memory"),
        ("out of memory", "out of memory"),
        ("Attempted to kill init", "init died"),
        ("Attempted to kill the idle", "idle task died"),
        ("VFS: Unable to mount root", "no root file system"),
        ("hung_task", "hung task"),
        ("softlockup", "soft lockup"),
        ("soft lockup", "soft lockup"),
        ("hard LOCKUP", "hard lockup"),
        ("NMI", "non-maskable interrupt"),
        ("Machine Check", "machine check"),
        ("machine check", "machine check"),
        ("stack-protector", "stack corruption"),
        (
            "Fatal exception in interrupt",
            "fatal exception in interrupt",
        ),
        ("Fatal exception", "fatal exception"),
        ("RCU Stall", "RCU stall"),
        ("INFO: rcu", "RCU stall"),
        ("blocked for more than", "hung task"),
        ("stack guard page", "stack overflow"),
        ("double fault", "double fault"),
        ("NULL pointer dereference", "NULL pointer dereference"),
        ("nable to handle", "access to a bad address"),
        ("kernel BUG at", "kernel BUG"),
        ("general protection fault", "general protection fault"),
        ("divide error", "division by zero"),
        ("invalid opcode", "invalid instruction"),
        ("Undefined instruction", "invalid instruction"),
        ("SError", "error of the hardware"),
        ("synchronous external abort", "error of the hardware"),
        ("Internal error", "fatal exception"),
        ("Oops", "fatal exception"),
        ("WARNING: ", "warning"),
        ("BUG: ", "kernel bug"),
        ("panic", "panic"),
    ];
    CLASSES
        .iter()
        .find(|(word, _)| panic.contains(word))
        .map_or("no panic line found", |(_, class)| class)
}

/// Sends the beacon, then the lines of `log`, to the first address that takes them.
///
/// # Errors
/// When none does; over UDP a message that nobody heard is no error.
pub fn send(
    addresses: &[SocketAddr],
    transport: Transport,
    host: &str,
    beacon: &str,
    log: &str,
) -> Result<(), TargetError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        let sent = match transport {
            Transport::Udp => datagrams(*address, host, beacon, log),
            Transport::Tcp => stream(*address, host, beacon, log),
        };
        match sent {
            Ok(()) => return Ok(()),
            Err(e) => last = e,
        }
    }
    let place = addresses
        .first()
        .map_or_else(|| "no address".into(), ToString::to_string);
    Err(TargetError::Remote {
        place,
        why: format!("the log server takes nothing: {last}; see whether it runs and listens there"),
    })
}

fn datagrams(to: SocketAddr, host: &str, beacon: &str, log: &str) -> io::Result<()> {
    let socket = net::udp(to)?;
    for message in messages(host, beacon, log) {
        socket.send(message.as_bytes())?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn stream(to: SocketAddr, host: &str, beacon: &str, log: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    for message in messages(host, beacon, log) {
        write!(stream, "{} {message}", message.len())?;
    }
    stream.flush()?;
    stream.shutdown(std::net::Shutdown::Write)
}

/// The messages: the beacon, then the last lines of the log.
fn messages<'a>(host: &'a str, beacon: &'a str, log: &'a str) -> impl Iterator<Item = String> + 'a {
    let lines = log.lines().count();
    let log = log.lines().skip(lines.saturating_sub(MOST));
    let both = std::iter::once((PANIC, beacon)).chain(log.map(|line| (NOTICE, line)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.map_or(0, |d| d.as_secs())).unwrap_or(0);
    both.map(move |(severity, text)| message(severity, now, host, text))
}

/// One message; what no header may have is `?` in it.
fn message(severity: u8, now: i64, host: &str, text: &str) -> String {
    let host: String = host
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .take(255)
        .collect();
    let host = if host.is_empty() { "-".into() } else { host };
    let mut message = format!("<{severity}>1 {} {host} baredump - - - ", rfc3339(now));
    for c in text.chars() {
        if message.len() + c.len_utf8() > LONGEST {
            break;
        }
        message.push(if c.is_control() { ' ' } else { c });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a_message_is_bounded_and_clean() {
        let text = message(
            PANIC,
            0,
            "my host\n",
            &format!("a\tb\n{}", "ä".repeat(2000)),
        );
        assert!(
            text.starts_with("<0>1 1970-01-01T00:00:00Z my?host? baredump - - - a b ä"),
            "{text}"
        );
        assert!(text.len() <= LONGEST && text.len() > LONGEST - 3);
        assert!(message(NOTICE, 0, "", "x").contains("Z - baredump"));
    }

    #[test]
    fn the_beacon_tells_nothing_of_the_log() {
        let panic = "[  1.0] Kernel panic - not syncing: Fatal exception: secret=hunter2";
        let text = line(Some("h"), Some("6.1"), Some(panic));
        assert_eq!(text, "kernel crash on h, release 6.1: fatal exception");
        assert!(line(None, None, None).ends_with("no panic line found"));
        let oops = "BUG: kernel NULL pointer dereference, address: secret";
        let text = line(None, None, Some(oops));
        assert!(
            text.ends_with("unknown: NULL pointer dereference"),
            "{text}"
        );
    }

    #[test]
    fn octets_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        send(&[to], Transport::Tcp, "h", "beacon", "one\ntwo\n").unwrap();
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        let mut rest = text.as_str();
        let mut count = 0;
        while let Some((len, after)) = rest.split_once(' ') {
            rest = &after[len.parse::<usize>().unwrap()..];
            count += 1;
        }
        assert_eq!((count, rest), (3, ""));
        drop(listener);
        let error = send(&[to], Transport::Tcp, "h", "b", "")
            .unwrap_err()
            .to_string();
        assert!(error.contains("log server takes nothing"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_sent() {
        let log: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let all: Vec<_> = messages("h", "b", &log).collect();
        assert_eq!(all.len(), MOST + 1);
        assert!(all[MOST].ends_with("line 999"));
    }
}
