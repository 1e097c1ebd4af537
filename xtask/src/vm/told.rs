//! Who hears of a crash besides the target that takes the dump: further targets get the log, a cluster is told to wait with fencing, and
//! the console has the log's end when no target works.

use super::reach::{DHCP, STATIC, arrived, config, file_key, keep_secrets, machine};
use super::{Bench, Scenario, Servers, all_good, finished, only_dump};
use crate::check::{files, log_file, read_report, report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, LABEL, PANIC, Run};
use crate::servers::fence::{Fence, heard};
use crate::servers::ssh::{Key, Service, Ssh, USER};
use crate::servers::{HOST4, free_port};
use anyhow::{Context, Result, bail, ensure};
use qemu::Line;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A UUID that no disk has.
const ABSENT: &str = "00000000-dead-4bad-8bad-00000000f00d";
/// Magic 0x1b302a40 and version 1, as a little-endian machine sends them.
const BUSY: &str = "402a301b01000000";
/// Between two datagrams.
const INTERVAL: Duration = Duration::from_secs(5);
/// How much later one may come: PID 1 looks at the time five times a second, on a processor that is emulated.
const LATE: Duration = Duration::from_secs(2);

pub(super) fn scenarios() -> Vec<Scenario> {
    let guest = || Guest {
        disk: 256,
        filesystems: vec!["ext4".into()],
        capture_modules: vec!["virtio_net".into(), "virtio_blk".into()],
        ..machine()
    };
    vec![
        Scenario {
            name: "net-log-to-all",
            series: MAIN_SERIES,
            guest: guest(),
            setup: Some(Box::new(three)),
            judge: everywhere,
        },
        Scenario {
            name: "ladder-none",
            series: MAIN_SERIES,
            guest: guest(),
            setup: Some(Box::new(none)),
            judge: last_resort,
        },
    ]
}

/// A disk, a server and the console, all of which want to know.
fn three(_: &Bench<'_>, dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let ssh = Ssh::start(dir, LOOPBACK, Service::Sftp, Key::Ed25519)?;
    let targets = [
        format!("file:LABEL={LABEL}:/var/crash"),
        format!("sftp://{USER}@{HOST4}:{}{}", ssh.port, ssh.path),
        "dmesg:".to_owned(),
    ];
    guest.config = config(&targets, &[STATIC])? + "log_to_all = true\n";
    guest.config += &file_key("ssh_key", &ssh.key())?;
    guest.config += &file_key("ssh_known_hosts", &ssh.known_hosts(HOST4)?)?;
    Ok(vec![Box::new(ssh)])
}

/// No target that works, and a cluster that must be patient for as long as they are tried.
fn none(_: &Bench<'_>, dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let fence = Fence::start(dir)?;
    let targets = [
        format!("file:UUID={ABSENT}:/var/crash"),
        format!("nfs://{HOST4}:{}/export", free_port()?),
    ];
    guest.config = config(&targets, &[DHCP])? + "device_timeout = \"14s\"\n";
    guest.config += &format!("fence_kdump = [\"{HOST4}:{}\"]\n", fence.port);
    Ok(vec![Box::new(fence)])
}

/// The dump is at the first target, the log and a report at the second, the log's end on the console.
fn everywhere(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    let second = arrived(&run.dir.join("ssh/dumps"))?;
    let found = files(&second)?;
    ensure!(
        found == ["report.json", "vmcore-dmesg.txt"],
        "the second target has {}",
        found.join(" ")
    );
    log_file(&second)?;
    report(&second, "failed")?;
    let said = read_report(&second)?.to_string();
    ensure!(
        said.contains("another target has the dump"),
        "the second report does not say where the dump is: {said}"
    );
    keep_secrets(run, &second)?;
    let lines = framed(run)?.len();
    Ok(format!(
        "dump, log at another target, {lines} lines on the console"
    ))
}

/// The console has the log's end, the cluster heard of the capture from its network to its end, the machine resets.
fn last_resort(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    ensure!(
        run.dumps()?.is_empty(),
        "a dump on a disk that is no target"
    );
    let lines = framed(run)?.len();
    for word in [ABSENT, "no connection to port", "result=failed"] {
        find(run, word)?;
    }
    let datagrams = patient(run)?;
    Ok(format!(
        "{lines} lines on the console, {datagrams} datagrams to the cluster"
    ))
}

/// What the capture kernel said.
fn said(run: &Run) -> &[Line] {
    let from = run
        .lines
        .iter()
        .rposition(|line| line.text.contains("Linux version "));
    &run.lines[from.unwrap_or(0)..]
}

/// The first line of the capture with a word.
fn find<'a>(run: &'a Run, word: &str) -> Result<&'a Line> {
    let found = said(run)
        .iter()
        .find(|line| line.text.contains("baredump") && line.text.contains(word));
    found.with_context(|| format!("the console has no line with `{word}`"))
}

/// The lines between the frame's, once, with the panic among them.
fn framed(run: &Run) -> Result<Vec<&str>> {
    let (begin, end) = (
        find(run, "begin of the log's tail")?,
        find(run, "end of the log's tail")?,
    );
    let inside = |line: &&Line| (begin.at..=end.at).contains(&line.at) && line.text.contains(" | ");
    let lines: Vec<_> = said(run)
        .iter()
        .filter(inside)
        .map(|line| line.text.as_str())
        .collect();
    if !lines.iter().any(|line| line.ends_with(PANIC)) {
        bail!("no panic line among {} in the frame", lines.len());
    }
    let times = said(run)
        .iter()
        .filter(|line| line.text.contains("begin of the log's tail"));
    ensure!(times.count() == 1, "the log's tail is there more than once");
    Ok(lines)
}

/// The datagrams that a cluster got: valid, every few seconds, as long as the capture had a network.
fn patient(run: &Run) -> Result<usize> {
    let heard = heard(&run.dir)?;
    for one in &heard {
        ensure!(one.bytes == BUSY, "a datagram with {}", one.bytes);
    }
    let gaps = heard.windows(2).map(|pair| pair[1].at - pair[0].at);
    for gap in gaps {
        ensure!(
            gap + LATE / 4 >= INTERVAL && gap <= INTERVAL + LATE,
            "{} ms between two datagrams",
            gap.as_millis()
        );
    }
    let up = find(run, "step network ok")?.at;
    let whole = find(run, "result=")?.at.saturating_sub(up);
    let (Some(first), Some(last)) = (heard.first(), heard.last()) else {
        bail!("the cluster heard nothing");
    };
    // The first came when the network was up, and no more than an interval after the last was the end.
    ensure!(
        last.at - first.at + INTERVAL + LATE >= whole && whole > 2 * INTERVAL,
        "datagrams for {} ms of {}",
        (last.at - first.at).as_millis(),
        whole.as_millis()
    );
    Ok(heard.len())
}
