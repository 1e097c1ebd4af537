//! The ladder: the first target is dead, each time in another way. The second, a disk, must hold the complete dump within the deadline,
//! and the report must say why the first was left.

use super::reach::{DHCP, MAC, STATIC, config, file_key, keep_secrets, lonely, machine};
use super::{Bench, Scenario, Servers, all_good, finished, only_dump};
use crate::check::read_report;
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, Run};
use crate::servers::nfs::{EXPORT, Nfs};
use crate::servers::proxy::{Fault, Proxy};
use crate::servers::ssh::{Key, Service, Ssh, USER};
use crate::servers::{HOST4, free_port};
use anyhow::{Context, Result, bail, ensure};
use qemu::Disk;
use qemu::disk::Ext4;
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A UUID that no disk has.
const ABSENT: &str = "00000000-dead-4bad-8bad-00000000f00d";
/// The UUID of the disk that cannot take a dump.
const BAD: &str = "9d0b5e3c-41c5-4a53-93a0-2f7a3e8f6b11";
/// A node that no disk has.
const NO_NODE: &str = "/dev/vdq";
/// An address of QEMU's network that no machine has.
const NOBODY: &str = "10.0.2.99";
/// What clients may send before their server fails: more than the log, less than the dump.
const SENT: u64 = 3 << 20;
/// After each 16 KiB that a slow server takes.
const SLOW: Duration = Duration::from_millis(200);
/// All waiting is short here, and the whole capture must end in its time.
const LIMITS: &str =
    "device_timeout = \"4s\"\nnetwork_timeout = \"6s\"\nstall = \"8s\"\ndeadline = \"90s\"\n";

/// A dead target.
#[derive(Debug)]
struct First {
    target: String,
    /// One more on the same way.
    also: Option<String>,
    interfaces: &'static [&'static str],
    /// More lines of the configuration.
    keys: String,
}

impl First {
    fn new(target: String, interfaces: &'static [&'static str]) -> Self {
        Self {
            target,
            also: None,
            interfaces,
            keys: String::new(),
        }
    }
}

type Make = fn(&Path, &mut Guest, &mut Servers) -> Result<First>;

/// How long the first target may have been at work in all, where it has a deadline of its own, in milliseconds.
const OWN: &[(&str, u64)] = &[("ladder-deadline", 10_000)];
/// How long the network may be waited for a second time, for one more target behind it, in milliseconds: 6 s were in vain.
const AGAIN: &[(&str, u64)] = &[("ladder-no-carrier", 5_500)];
/// What a step may take longer than its time: a child that is killed has 2 s to go.
const GRACE: u64 = 3_000;
/// What the report of a target may take that does not answer any more, in milliseconds.
const REPORT: u64 = 6_000;

/// Scenario, the step that must fail (any when it is empty), a word of its reason, and what makes it fail.
const RUNGS: &[(&str, &str, &str, Make)] = &[
    ("ladder-no-device", "mount", NO_NODE, no_device),
    ("ladder-wrong-uuid", "mount", ABSENT, wrong_uuid),
    ("ladder-disk-full", "capture", "No space left", disk_full),
    ("ladder-read-only", "mount", "read-only", read_only),
    ("ladder-disk-hangs", "capture", "no progress", disk_hangs),
    ("ladder-no-carrier", "network", "carrier", no_carrier),
    ("ladder-dhcp-silent", "network", "DHCP", dhcp_silent),
    ("ladder-unreachable", "mount", "unreachable", unreachable),
    ("ladder-refused", "mount", "refuse", refused),
    ("ladder-stalls", "capture", "", stalls),
    ("ladder-dies", "capture", "", dies),
    ("ladder-sftp", "capture", "took and sent nothing", silent),
    ("ladder-deadline", "capture", "not done after", slow),
    ("ladder-host-key", "", "key", wrong_host_key),
    ("ladder-client-key", "", "", wrong_key),
];

pub(super) fn scenarios() -> Vec<Scenario> {
    let scenario = |name, make: Make| Scenario {
        name,
        series: MAIN_SERIES,
        guest: Guest {
            disk: 256,
            filesystems: vec!["ext4".into()],
            capture_modules: vec!["virtio_net".into(), "virtio_blk".into()],
            ..machine()
        },
        setup: Some(Box::new(move |_, dir, guest| set_up(make, dir, guest))),
        judge,
    };
    RUNGS
        .iter()
        .map(|(name, _, _, make)| scenario(name, *make))
        .collect()
}

fn set_up(make: Make, dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let mut servers = Servers::new();
    let first = make(dir, guest, &mut servers)?;
    let second = format!("file:LABEL={LABEL}:/var/crash");
    let targets: Vec<_> = [Some(first.target), first.also, Some(second)]
        .into_iter()
        .flatten()
        .collect();
    guest.config = config(&targets, first.interfaces)? + LIMITS + &first.keys;
    Ok(servers)
}

fn no_device(_: &Path, _: &mut Guest, _: &mut Servers) -> Result<First> {
    Ok(First::new(format!("file:{NO_NODE}:/var/crash"), &[]))
}

fn wrong_uuid(_: &Path, _: &mut Guest, _: &mut Servers) -> Result<First> {
    Ok(First::new(format!("file:UUID={ABSENT}:/var/crash"), &[]))
}

fn disk_full(dir: &Path, guest: &mut Guest, _: &mut Servers) -> Result<First> {
    bad_disk(dir, guest, 20, "")
}

fn read_only(dir: &Path, guest: &mut Guest, _: &mut Servers) -> Result<First> {
    bad_disk(dir, guest, 0, ",readonly=on")
}

/// A disk that takes a little and then next to nothing: what waits for it waits for ever, and cannot be killed.
fn disk_hangs(dir: &Path, guest: &mut Guest, _: &mut Servers) -> Result<First> {
    let slow = ",throttling.bps-write=1024,throttling.bps-write-max=3000000,throttling.bps-write-max-length=2";
    bad_disk(dir, guest, 0, slow)
}

/// A second disk of 32 MiB, of which `taken` are.
fn bad_disk(dir: &Path, guest: &mut Guest, taken: usize, option: &str) -> Result<First> {
    let content = dir.join("bad");
    fs::create_dir_all(content.join("var/crash"))?;
    // Not zeros: mkfs would make a hole of them, which takes no space.
    fs::write(content.join("taken"), vec![0x5a; taken << 20])?;
    let file = dir.join("bad.raw");
    let how = Ext4 {
        size: 32 << 20,
        uuid: BAD,
        label: "bad",
        content: Some(&content),
    };
    Disk::create(&file, &how)?;
    fs::remove_dir_all(&content)?;
    let shown = file.display().to_string().replace(',', ",,");
    for word in [
        "-drive",
        &format!("if=none,id=bad,format=raw,file={shown}{option}"),
        "-device",
        "virtio-blk-pci,drive=bad,serial=bad",
    ] {
        guest.extra.push(word.into());
    }
    Ok(First::new(format!("file:UUID={BAD}:/var/crash"), &[]))
}

fn no_carrier(_: &Path, guest: &mut Guest, _: &mut Servers) -> Result<First> {
    guest.nics = vec![lonely(MAC, false)];
    let mut first = First::new(format!("nfs://{HOST4}{EXPORT}"), &[STATIC]);
    first.also = Some(format!("nfs://{NOBODY}{EXPORT}"));
    Ok(first)
}

fn dhcp_silent(_: &Path, guest: &mut Guest, _: &mut Servers) -> Result<First> {
    guest.nics = vec![lonely(MAC, true)];
    Ok(First::new(format!("nfs://{HOST4}{EXPORT}"), &[DHCP]))
}

fn unreachable(_: &Path, _: &mut Guest, _: &mut Servers) -> Result<First> {
    Ok(First::new(format!("nfs://{NOBODY}{EXPORT}"), &[STATIC]))
}

fn refused(_: &Path, _: &mut Guest, _: &mut Servers) -> Result<First> {
    let port = free_port()?;
    Ok(First::new(format!("nfs://{HOST4}:{port}{EXPORT}"), &[DHCP]))
}

fn stalls(dir: &Path, _: &mut Guest, servers: &mut Servers) -> Result<First> {
    faulty(dir, servers, Fault::Stall)
}

fn dies(dir: &Path, _: &mut Guest, servers: &mut Servers) -> Result<First> {
    faulty(dir, servers, Fault::Die)
}

/// NFS that fails in the middle of the dump.
fn faulty(dir: &Path, servers: &mut Servers, fault: Fault) -> Result<First> {
    let nfs = Nfs::version4(dir, LOOPBACK)?;
    let proxy = Proxy::start(SocketAddr::new(LOOPBACK, nfs.port), fault, SENT)?;
    let target = format!("nfs://{HOST4}:{}{EXPORT}?timeo=20&retrans=1", proxy.port);
    servers.push(Box::new(proxy));
    servers.push(Box::new(nfs));
    Ok(First::new(target, &[DHCP]))
}

/// SFTP that stalls in the middle of the dump: that is waited for once, or PID 1 would end the step.
fn silent(dir: &Path, _: &mut Guest, servers: &mut Servers) -> Result<First> {
    sftp(dir, servers, Fault::Stall, "")
}

/// SFTP that takes so few bytes that only the target's own deadline ends it: there is always some progress.
fn slow(dir: &Path, _: &mut Guest, servers: &mut Servers) -> Result<First> {
    sftp(dir, servers, Fault::Slow(SLOW), "?deadline=10s")
}

fn sftp(dir: &Path, servers: &mut Servers, fault: Fault, options: &str) -> Result<First> {
    let ssh = Ssh::start(dir, LOOPBACK, Service::Sftp, Key::Ed25519)?;
    let proxy = Proxy::start(SocketAddr::new(LOOPBACK, ssh.port), fault, SENT)?;
    let mut first = First::new(
        format!("sftp://{USER}@{HOST4}:{}{}{options}", proxy.port, ssh.path),
        &[DHCP],
    );
    let known = ssh.known_behind(HOST4, proxy.port)?;
    first.keys = file_key("ssh_key", &ssh.key())? + &file_key("ssh_known_hosts", &known)?;
    servers.push(Box::new(proxy));
    servers.push(Box::new(ssh));
    Ok(first)
}

/// An SSH server that shows another key than the pinned one.
fn wrong_host_key(dir: &Path, _: &mut Guest, servers: &mut Servers) -> Result<First> {
    let ssh = Ssh::start(dir, LOOPBACK, Service::Sftp, Key::Ed25519)?;
    let mut first = First::new(
        format!("sftp://{USER}@{HOST4}:{}{}", ssh.port, ssh.path),
        &[DHCP],
    );
    first.keys =
        file_key("ssh_key", &ssh.key())? + &file_key("ssh_known_hosts", &ssh.wrong_hosts(HOST4)?)?;
    servers.push(Box::new(ssh));
    Ok(first)
}

/// An SSH server that does not know the key.
fn wrong_key(dir: &Path, _: &mut Guest, servers: &mut Servers) -> Result<First> {
    let ssh = Ssh::start(dir, LOOPBACK, Service::Sftp, Key::Ed25519)?;
    let mut first = First::new(
        format!("sftp://{USER}@{HOST4}:{}{}", ssh.port, ssh.path),
        &[DHCP],
    );
    first.keys = file_key("ssh_key", &ssh.wrong_key())?
        + &file_key("ssh_known_hosts", &ssh.known_hosts(HOST4)?)?;
    servers.push(Box::new(ssh));
    Ok(first)
}

fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    keep_secrets(run, &dump)?;
    let rung = RUNGS.iter().find(|(name, ..)| run.dir.ends_with(name));
    let (name, step, word, _) = rung.context("no such rung")?;
    let report = read_report(&dump)?;
    if let Some((_, own)) = OWN.iter().find(|(other, _)| other == name) {
        let spent = spent(&report, 1, &["network", "mount", "capture"]);
        ensure!(
            (*own..own + GRACE).contains(&spent),
            "the first target had {own} ms and took {spent}"
        );
    }
    if let Some((_, most)) = AGAIN.iter().find(|(other, _)| other == name) {
        let waits = [1, 2].map(|target| spent(&report, target, &["network"]));
        ensure!(
            waits[1] > 0 && waits[1] < *most && waits[0] > waits[1],
            "the same network was waited for {} ms and {} ms",
            waits[0],
            waits[1]
        );
    }
    let spent = spent(&report, 1, &["report"]);
    ensure!(
        spent < REPORT,
        "the report of the first target took {spent} ms"
    );
    reason(&report, step, word)
}

/// Milliseconds that steps of a target took together.
fn spent(report: &Value, target: u64, steps: &[&str]) -> u64 {
    let attempts = report.pointer("/attempts").and_then(Value::as_array);
    let ours = |attempt: &&Value| {
        let step = attempt.get("step").and_then(Value::as_str);
        attempt.get("target").and_then(Value::as_u64) == Some(target)
            && step.is_some_and(|step| steps.contains(&step))
    };
    let ms = |attempt: &Value| attempt.get("ms").and_then(Value::as_u64);
    attempts
        .into_iter()
        .flatten()
        .filter(ours)
        .filter_map(ms)
        .sum()
}

/// Why the first target was left, as the report has it.
fn reason(report: &Value, step: &str, word: &str) -> Result<String> {
    let attempts = report.pointer("/attempts").and_then(Value::as_array);
    let attempts = attempts.context("the report has no attempts")?;
    let text = |attempt: &Value, key: &str| {
        let value = attempt.get(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let failed = |attempt: &&Value| {
        attempt.get("target").and_then(Value::as_u64) == Some(1)
            && text(attempt, "step").contains(step)
            && text(attempt, "result") != "ok"
            && !text(attempt, "reason").is_empty()
            && text(attempt, "reason").contains(word)
    };
    match attempts.iter().find(failed) {
        Some(attempt) => Ok(format!(
            "{step} {}: {}",
            text(attempt, "result"),
            text(attempt, "reason")
        )),
        None => bail!(
            "report.json has no {step} of the first target that failed with `{word}`: {}",
            Value::from(attempts.clone())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_in_a_report() {
        let report = serde_json::json!({"attempts": [
            {"step": "mount", "target": 1, "result": "failed", "reason": "10.0.2.2:7 refuses", "ms": 7},
            {"step": "report", "target": 1, "result": "ok", "reason": null, "ms": 2},
            {"step": "mount", "target": 2, "result": "ok", "reason": null, "ms": 90},
        ]});
        assert_eq!(spent(&report, 1, &["mount", "capture"]), 7);
        assert_eq!(spent(&report, 2, &["mount", "capture"]), 90);
        assert_eq!(spent(&report, 1, &["report"]), 2);
        assert_eq!(
            reason(&report, "mount", "refuse").unwrap(),
            "mount failed: 10.0.2.2:7 refuses"
        );
        assert!(reason(&report, "network", "").is_err());
        assert!(reason(&report, "mount", "carrier").is_err());
    }
}
