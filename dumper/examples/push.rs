//! Sends a stream of so many bytes to a server as a capture would, and says how fast and with what memory:
//! `push TARGET ADDRESS:PORT SECRETS MIB [keep|drop]`.

use baredump::target::{Access, Reached, TargetSpec};
use std::time::{Duration, Instant};

type Any = Box<dyn std::error::Error>;

const BLOCK: usize = 60_000;

fn main() {
    if let Err(error) = run() {
        eprintln!("push: {error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Any> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, address, secrets, mib, end @ ..] = args.as_slice() else {
        return Err("TARGET ADDRESS:PORT SECRETS MIB [keep|drop] are needed".into());
    };
    let spec: TargetSpec = target.parse()?;
    let access = Access {
        secrets: secrets.into(),
        ledger: std::path::Path::new(secrets).join("ledger"),
        timeout: Duration::from_secs(5),
        patience: Duration::from_secs(20),
        last: Duration::from_secs(60),
    };
    let reached = Reached::Server(vec![address.parse()?]);
    let size = mib.parse::<u64>()? << 20;

    let place = reached.create(&spec, &access, "host-20260101T000000Z-01234567")?;
    println!("{} {:?}", place.path(), place.manners());
    place.replace("report.json", b"{\"outcome\":{}}")?;
    let start = Instant::now();
    let pending = place.begin("vmcore.flat-incomplete", "vmcore.flat")?;
    let (mut block, mut at, mut crc) = (vec![0u8; BLOCK], 0, crc32fast::Hasher::new());
    let mut state = 1u64;
    while at < size {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let count = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
        pending.out().write_at(at, &block[..count])?;
        crc.update(&block[..count]);
        at += count as u64;
    }
    match end.first().map(String::as_str) {
        Some("keep") => pending.keep()?,
        Some("drop") => drop(pending),
        _ => pending.commit()?,
    }
    let took = start.elapsed();
    for remark in place.remarks() {
        println!("remark: {remark}");
    }
    let again = reached.open(&spec, &access, place.path())?;
    println!(
        "vmcore.flat {:?}, vmcore.flat-incomplete {:?}, report.json {:?}",
        again.size("vmcore.flat"),
        again.size("vmcore.flat-incomplete"),
        again.size("report.json")
    );
    again.replace("report.json", b"{}")?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!(
        "{at} bytes, crc32 {:08x}, {:.2?}, {:.0} MB/s, {}",
        crc.finalize(),
        took,
        at as f64 / took.as_secs_f64() / 1e6,
        peak.unwrap_or_default()
    );
    Ok(())
}
