//! Pushes bytes to an SSH server as a dump goes there, and says how fast and with how much memory.
//!
//! `ssh_push sftp://user@host:port/dir[?way=exec] KEY[,CERTIFICATE] KNOWN_HOSTS MIB [STALL_SECONDS]`

use baredump::target::ssh::{Keys, Login, Timeouts, connect};
use baredump::target::{Kind, Place, TargetSpec};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() {
    if let Err(e) = run(&std::env::args().collect::<Vec<_>>()) {
        println!("failed: {e}\npeak RSS {}", peak());
        std::process::exit(1);
    }
}

fn run(args: &[String]) -> Result<()> {
    let [_, target, key, known_hosts, mib, rest @ ..] = args else {
        return Err("TARGET KEY[,CERTIFICATE] KNOWN_HOSTS MIB [STALL_SECONDS]".into());
    };
    let spec: TargetSpec = target.parse()?;
    let port = spec.server().ok_or("no server")?.1;
    let Kind::Sftp {
        user,
        host,
        path,
        way,
        ..
    } = &spec.kind
    else {
        return Err("not sftp:".into());
    };
    let (key, cert) = key.split_once(',').unwrap_or((key, ""));
    let cert = (!cert.is_empty()).then_some(Path::new(cert));
    let keys = Keys::read(Path::new(key), cert, Path::new(known_hosts))?;
    keys.check(&spec)?;
    let login = Login {
        user: user.clone(),
        host: host.clone(),
        port,
    };
    let addresses: Vec<_> = (host.as_str(), port).to_socket_addrs()?.collect();
    let stall = rest.first().map_or(Ok(60), |s| s.parse())?;
    let timeouts = Timeouts {
        connect: Duration::from_secs(20),
        stall: Duration::from_secs(stall),
    };
    let start = Instant::now();
    let session = connect(&login, &addresses, &keys, timeouts)?;
    println!("connected after {:.2} s", start.elapsed().as_secs_f64());
    let place = session.place(path, "host-20260101T000000Z-12345678", *way)?;
    println!("{} {:?}", place.path(), place.manners());
    push(place.as_ref(), mib.parse()?)?;
    place.replace("report.json", b"{}")?;
    place.replace("report.json", b"{1}")?;
    let again = session.open(place.path(), *way)?;
    println!(
        "vmcore {:?} report {:?} nothing {:?}",
        again.size("vmcore"),
        again.size("report.json"),
        again.size("x")
    );
    println!("peak RSS {}", peak());
    Ok(())
}

fn push(place: &dyn Place, mib: usize) -> Result<()> {
    let mut chunk = vec![0u8; 256 << 10];
    let mut state = 1u64;
    for word in chunk.chunks_exact_mut(8) {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        word.copy_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    let start = Instant::now();
    let pending = place.begin("vmcore-incomplete", "vmcore")?;
    for n in 0..mib * 4 {
        let offset = n * chunk.len();
        chunk[..8].copy_from_slice(&offset.to_le_bytes());
        pending.out().write_at(offset as u64, &chunk)?;
    }
    if !pending.out().is_stream() {
        let mut back = vec![0; chunk.len()];
        let offset = (mib * 2) * chunk.len();
        pending.out().read_back(offset as u64, &mut back)?;
        let same = back[8..] == chunk[8..] && back[..8] == offset.to_le_bytes();
        println!("read back: {same}");
    }
    pending.commit()?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{mib} MiB in {seconds:.2} s: {:.1} MiB/s",
        mib as f64 / seconds
    );
    Ok(())
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or_default().into()
}
