//! What scenarios with servers share: the machine, its ways to the host's loopback, and what is looked for where dumps arrive.

use super::{Bench, all_good_as, finished};
use crate::check::Form;
use crate::fetch::Kernel;
use crate::guest::{Guest, Run};
use crate::servers::HOST4;
use crate::servers::nfs::{EXPORT, Nfs};
use crate::servers::ssh::{Key, Service, Ssh, USER};
use anyhow::{Context, Result, bail, ensure};
use qemu::Nic;
use qemu::net::Cable;
use std::any::Any;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The MAC address of the card that leads to the host.
pub(crate) const MAC: &str = "52:54:00:12:34:56";
/// That of a second one.
pub(super) const SECOND: &str = "52:54:00:12:34:57";
/// Its interface with the address that QEMU's network expects.
pub(super) const STATIC: &str = "lan:mac=52:54:00:12:34:56;address=10.0.2.15/24;gateway=10.0.2.2";
/// The same, asked for.
pub(super) const DHCP: &str = "lan:mac=52:54:00:12:34:56;dhcp";
/// The same with IPv6.
pub(super) const SLAAC: &str = "lan:mac=52:54:00:12:34:56;slaac";

/// A small machine with a network card, whose production kernel needs nothing but a panic.
pub(super) fn machine() -> Guest {
    Guest {
        memory: 768,
        words: "guest.workload=0 guest.disk=none".into(),
        capture_modules: vec!["virtio_net".into()],
        filesystems: Vec::new(),
        disk: 64,
        config: String::new(),
        nics: vec![Nic::user(MAC)],
        ..Guest::default()
    }
}

/// A card whose cable is pulled, or leads to nobody.
pub(super) fn lonely(mac: &str, carrier: bool) -> Nic {
    Nic {
        mac: mac.to_owned(),
        cable: Cable::Silent,
        carrier,
    }
}

/// Where a run's NFS server has what it was sent, below the run's directory; and its SSH server.
pub(crate) const NFS_DUMPS: &str = "nfs/export";
pub(crate) const SSH_DUMPS: &str = "ssh/dumps";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An NFS 4.2 server on this host, and the configuration that leads to it.
pub(crate) fn nfs(dir: &Path) -> Result<(String, Box<dyn Any>)> {
    let server = Nfs::version4(dir, LOOPBACK)?;
    Ok((nfs_config(server.port)?, Box::new(server)))
}

/// The configuration that leads to an NFS 4.2 server of this host.
pub(crate) fn nfs_config(port: u16) -> Result<String> {
    let target = format!("nfs://{HOST4}:{port}{EXPORT}?vers=4.2");
    config(&[target], &[STATIC])
}

/// An SFTP server on this host, and the configuration that leads to it.
pub(crate) fn sftp(dir: &Path) -> Result<(String, Box<dyn Any>)> {
    let server = Ssh::start(dir, LOOPBACK, Service::Sftp, Key::Ed25519)?;
    let target = format!("sftp://{USER}@{HOST4}:{}{}", server.port, server.path);
    let config = config(&[target], &[STATIC])?
        + &file_key("ssh_key", &server.key())?
        + &file_key("ssh_known_hosts", &server.known_hosts(HOST4)?)?;
    Ok((config, Box::new(server)))
}

/// The lines of the configuration that name targets and interfaces.
pub(super) fn config(targets: &[String], interfaces: &[&str]) -> Result<String> {
    // JSON's arrays of strings are TOML's too.
    Ok(format!(
        "targets = {}\ninterfaces = {}\n",
        serde_json::to_string(targets)?,
        serde_json::to_string(interfaces)?
    ))
}

/// A line with a path.
pub(super) fn file_key(key: &str, file: &Path) -> Result<String> {
    Ok(format!(
        "{key} = {}\n",
        serde_json::to_string(&file.display().to_string())?
    ))
}

/// The one dump directory below `dir`, where a server has it.
pub(crate) fn arrived(dir: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut dumps: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && path.extension().is_none())
        .collect();
    match (dumps.pop(), dumps.len()) {
        (Some(dump), 0) => Ok(dump),
        (None, _) => bail!("there is no dump directory in {}", dir.display()),
        (Some(_), more) => bail!("there are {} dump directories, expected one", more + 1),
    }
}

/// Dumps hold secrets: nobody but their owner may look.
pub(super) fn private(dump: &Path) -> Result<()> {
    let mode = |path: &Path| -> Result<u32> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(metadata.permissions().mode() & 0o7777)
    };
    ensure!(
        mode(dump)? == 0o700,
        "{} has mode {:o}",
        dump.display(),
        mode(dump)?
    );
    for entry in fs::read_dir(dump)?.flatten() {
        let mode = mode(&entry.path())?;
        ensure!(
            mode == 0o600,
            "{} has mode {mode:o}",
            entry.path().display()
        );
    }
    Ok(())
}

/// A complete dump in `dir`, and no secret anywhere that others see.
pub(super) fn complete(
    bench: &Bench<'_>,
    kernel: &Kernel,
    run: &Run,
    dir: &Path,
    form: &Form,
) -> Result<PathBuf> {
    finished(run)?;
    let dump = arrived(&run.dir.join(dir))?;
    all_good_as(bench, &dump, kernel, form)?;
    keep_secrets(run, &dump)?;
    Ok(dump)
}

/// No planted secret is on the console, in the log or in the report. The vmcore may hold one: the machine that died had read the image.
pub(super) fn keep_secrets(run: &Run, dump: &Path) -> Result<()> {
    let secrets = planted(&run.dir)?;
    let mut seen = vec![run.dir.join("console.log")];
    let texts = ["report.json", "vmcore-dmesg.txt"].map(|name| dump.join(name));
    seen.extend(texts.into_iter().filter(|file| file.exists()));
    for file in seen {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for (name, secret) in &secrets {
            ensure!(
                !holds(&bytes, secret.as_bytes()),
                "{} has a line of {name}",
                file.display()
            );
        }
    }
    Ok(())
}

/// Lines of the secrets that a run's servers made, each with its file.
fn planted(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut secrets = Vec::new();
    for name in [
        "ssh/client",
        "ssh/other",
        "identity",
        "s3/credentials",
        "s3/presigned",
    ] {
        let Ok(text) = fs::read_to_string(dir.join(name)) else {
            continue;
        };
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once("Signature=").map_or(line, |(_, of)| of))
            .map(|line| line.rsplit(' ').next().unwrap_or(line));
        // The first and last lines of a key, and the public part, are no secrets.
        let lines = lines.filter(|line| line.len() >= 20 && !line.starts_with("-----"));
        let lines = lines.filter(|line| {
            !line.starts_with("age1") && !PUBLIC.iter().any(|part| line.starts_with(part))
        });
        secrets.extend(lines.map(|line| (name.to_owned(), line.to_owned())));
    }
    Ok(secrets)
}

/// How the lines of an OpenSSH key begin that are the same in every key: magic and the names of no cipher.
const PUBLIC: &[&str] = &["b3BlbnNzaC1rZXktdjEA"];

fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_lines_of_keys() {
        let dir = std::env::temp_dir().join(format!("xtask-reach-{}", std::process::id()));
        fs::create_dir_all(dir.join("ssh")).unwrap();
        fs::write(
            dir.join("identity"),
            "# public key: age1qqqqqqqqqqqqqqqqqqqqqqqqqqq\nAGE-SECRET-KEY-1QQQQQQQQQQQQQQQ\n",
        )
        .unwrap();
        fs::write(
            dir.join("ssh/client"),
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nQyNTUxOQAAACDuSecretSecret\n",
        )
        .unwrap();
        let found: Vec<_> = planted(&dir)
            .unwrap()
            .into_iter()
            .map(|pair| pair.1)
            .collect();
        assert_eq!(
            found,
            [
                "QyNTUxOQAAACDuSecretSecret",
                "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQ"
            ]
        );
        assert!(holds(b"..secret..", b"secret") && !holds(b"secre", b"secret"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
