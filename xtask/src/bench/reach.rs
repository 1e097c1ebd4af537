//! `bench --reach`: dumps of the same panicked machine to servers on this host's loopback, through QEMU's network.
//!
//! SSH: kept memory for each second of baredump over SFTP, and of `makedumpfile -F -z -d 31 | ssh` with the newest packaged programs.
//! NFS: bytes of the dump for each second, and those of dd of a file of that size. Each has the same machine to itself; the others' capture
//! runs from an initramfs with busybox, whose script takes the times.

mod foreign;

use super::figures::Spread;
use crate::apt::Apt;
use crate::build::Binaries;
use crate::check::read_report;
use crate::fetch::{self, Kernel, MAIN_SERIES};
use crate::guest::{self, Guest, Run};
use crate::lab::{Lab, say, step};
use crate::servers::HOST4;
use crate::servers::nfs::Nfs;
use crate::servers::proxy::{Fault, Proxy};
use crate::servers::ssh::{Key, Service, Ssh};
use crate::setup::Need;
use crate::vm::{self, reach};
use crate::{build, setup};
use anyhow::{Context, Result, bail};
use foreign::Foreign;
use qemu::outcome::ATTEMPTS;
use qemu::{Accel, Nic, Outcome};
use serde_json::Value;
use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xshell::Shell;

/// Panics of each kind, when nothing else is said.
pub(super) const RUNS: usize = 3;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What `bench --reach` aims at.
const SSH_LEAST: f64 = 1.5;
const NFS_LEAST: f64 = 0.8;
/// Makes a link of about 40 Mbit/s: less than what an emulated processor compresses, as a fast one is quicker than most networks.
const PAUSE: Duration = Duration::from_millis(3);

/// What all runs share.
struct Case<'a> {
    lab: &'a Lab,
    kernel: &'a Kernel,
    accel: Accel,
    binaries: &'a Binaries,
    foreign: Foreign,
}

/// Bytes, and how long they took.
struct Rate {
    bytes: f64,
    seconds: f64,
}

impl Rate {
    fn megabytes(&self) -> f64 {
        self.bytes / self.seconds / 1e6
    }
}

/// Panics, and prints medians.
///
/// # Errors
/// When a capture does not come to its end or leaves no dump.
pub(super) fn run(sh: &Shell, lab: &Lab, runs: usize) -> Result<()> {
    setup::run(sh, Need::Tests)?;
    let apt = Apt::open(lab)?;
    let kernel = fetch::kernel(&apt, MAIN_SERIES)?;
    let case = Case {
        lab,
        accel: kernel.accel(lab)?,
        binaries: &build::host(sh, lab)?,
        foreign: Foreign::fetch(&apt, &kernel)?,
        kernel: &kernel,
    };
    step(&format!(
        "{runs} panics in turn of {}, 1 CPU, 1024 MB, {}",
        kernel.release,
        case.accel.name()
    ));
    let none = || [Vec::new(), Vec::new()];
    let (mut ssh, mut nfs, mut raw, mut link) = (none(), none(), none(), none());
    for _ in 0..runs {
        ssh[0].push(case.sftp()?.megabytes());
        ssh[1].push(case.makedumpfile()?.megabytes());
        for (compress, pause, rates) in [
            ("zstd", None, &mut nfs),
            ("none", None, &mut raw),
            ("zstd", Some(PAUSE), &mut link),
        ] {
            let ours = case.nfs(compress, pause)?;
            rates[1].push(case.dd(ours.bytes, pause)?.megabytes());
            rates[0].push(ours.megabytes());
        }
    }
    print(
        "SSH, MB of kept memory a second: baredump, makedumpfile | ssh",
        &ssh,
        SSH_LEAST,
    );
    print(
        "NFS, MB of the dump a second: baredump, dd",
        &nfs,
        NFS_LEAST,
    );
    print("NFS, the same with uncompressed pages", &raw, NFS_LEAST);
    print(
        "NFS, compressed, over a link slower than compression",
        &link,
        NFS_LEAST,
    );
    Ok(())
}

fn print(what: &str, rates: &[Vec<f64>; 2], least: f64) {
    let [ours, theirs] = rates
        .each_ref()
        .map(|rates| Spread::rate(rates.iter().copied()));
    let ratio = ours.middle / theirs.middle;
    let judged = if ratio >= least {
        "reached"
    } else {
        "not reached"
    };
    say(what);
    say(&format!(
        "  {ours} {theirs}  {ratio:.2}  bar {least}: {judged}"
    ));
}

impl Case<'_> {
    fn guest(&self) -> Guest {
        Guest {
            words: "guest.disk=none".into(),
            capture_modules: vec!["virtio_net".into()],
            filesystems: Vec::new(),
            disk: 64,
            nics: vec![Nic::user(reach::MAC)],
            reservation: "256M".into(),
            ..Guest::default()
        }
    }

    /// Boots and panics, again when the emulator killed the guest.
    fn panic(
        &self,
        make: impl Fn(&Path) -> Result<(Guest, Box<dyn Any>)>,
    ) -> Result<(Run, PathBuf)> {
        for attempt in 1.. {
            let dir = self.lab.fresh("runs/bench")?;
            let (guest, servers) = make(&dir)?;
            let run = guest::run(
                &guest,
                self.kernel,
                self.binaries,
                self.accel,
                &dir,
                &mut |_| {},
            )?;
            drop(servers);
            run.forget_disk();
            if run.outcome == Outcome::Finished {
                return Ok((run, dir));
            }
            if attempt == ATTEMPTS || !run.outcome.repeatable() {
                vm::show_tail(&dir.join("console.log"));
                bail!("the capture failed: {}", run.outcome);
            }
        }
        bail!("no attempt was made")
    }

    fn sftp(&self) -> Result<Rate> {
        let (_, dir) = self.panic(|dir| {
            let (config, server) = reach::sftp(dir)?;
            Ok((self.with(config), server))
        })?;
        let report = complete_report(&dir.join(reach::SSH_DUMPS))?;
        let kept = report["pages"]["kept"]
            .as_f64()
            .context("no pages in report.json")?;
        Ok(Rate {
            bytes: kept * 4096.0,
            seconds: seconds(&report)?,
        })
    }

    fn nfs(&self, compress: &str, pause: Option<Duration>) -> Result<Rate> {
        let (_, dir) = self.panic(|dir| {
            let (port, servers) = nfs(dir, pause)?;
            let config = reach::nfs_config(port)?;
            Ok((
                self.with(format!("{config}compress = {compress:?}\n")),
                servers,
            ))
        })?;
        let report = complete_report(&dir.join(reach::NFS_DUMPS))?;
        Ok(Rate {
            bytes: report["bytes"]
                .as_f64()
                .context("no bytes in report.json")?,
            seconds: seconds(&report)?,
        })
    }

    fn with(&self, config: String) -> Guest {
        Guest {
            config,
            ..self.guest()
        }
    }

    fn makedumpfile(&self) -> Result<Rate> {
        let (run, dir) = self.panic(|dir| {
            let server = Ssh::start(dir, LOOPBACK, Service::Exec, Key::Ed25519)?;
            let image = dir.join("foreign.img");
            let file = format!("{}/vmcore.flat", server.path);
            self.foreign
                .ssh(&image, &server, &server.known_hosts(HOST4)?, &file)?;
            let guest = Guest {
                foreign: Some(image),
                ..self.guest()
            };
            Ok((guest, Box::new(server) as Box<dyn Any>))
        })?;
        let dump = dir.join("ssh/dumps/vmcore.flat");
        let info = qemu::run_tool(
            Command::new(&self.binaries.baredump)
                .args(["info", "--json"])
                .arg(&dump),
            &[0],
        )?;
        let info: Value = serde_json::from_slice(&info.stdout).context("info is no JSON")?;
        let pages = info["pages"].as_f64().context("info tells no pages")?;
        Ok(Rate {
            bytes: pages * 4096.0,
            seconds: foreign::seconds(&run)?,
        })
    }

    fn dd(&self, bytes: f64, pause: Option<Duration>) -> Result<Rate> {
        let (run, _) = self.panic(|dir| {
            let (port, servers) = nfs(dir, pause)?;
            let image = dir.join("foreign.img");
            self.foreign.dd(&image, port, bytes)?;
            let guest = Guest {
                foreign: Some(image),
                ..self.guest()
            };
            Ok((guest, servers))
        })?;
        Ok(Rate {
            bytes,
            seconds: foreign::seconds(&run)?,
        })
    }
}

/// An NFS server, behind a link with a pause after each 16 KiB when there is one, and its port.
fn nfs(dir: &Path, pause: Option<Duration>) -> Result<(u16, Box<dyn Any>)> {
    let server = Nfs::version4(dir, LOOPBACK)?;
    let Some(pause) = pause else {
        return Ok((server.port, Box::new(server)));
    };
    let address = SocketAddr::new(LOOPBACK, server.port);
    let link = Proxy::start(address, Fault::Slow(pause), 0)?;
    Ok((link.port, Box::new((link, server))))
}

/// The report of the one dump below a directory, which must be complete.
fn complete_report(dir: &Path) -> Result<Value> {
    let report = read_report(&vm::arrived(dir)?)?;
    if report["outcome"]["status"] != "complete" {
        bail!("the dump is not complete: {}", report["outcome"]);
    }
    Ok(report)
}

/// From the connection to the sync: what the others' pipe does too.
fn seconds(report: &Value) -> Result<f64> {
    let phases = report["phases"]
        .as_array()
        .context("no phases in report.json")?;
    let counted = phases.iter().filter(|phase| {
        ["connect", "dump", "sync"]
            .iter()
            .any(|name| phase["name"] == *name)
    });
    let ms: f64 = counted.filter_map(|phase| phase["ms"].as_f64()).sum();
    Ok(ms / 1000.0)
}
