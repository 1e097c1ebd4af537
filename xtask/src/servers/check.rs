//! Each server with a stock client, before a guest meets it: what fails here is no fault of baredump.

use super::https::Https;
use super::nfs::Nfs;
use super::s3::{self, S3};
use super::ssh::{Key, Service, Ssh, USER};
use super::syslog::Syslog;
use crate::lab::Lab;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What the clients send.
const TEXT: &str = "lorem ipsum\n";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// How long a server may take to have written what it got.
const WRITTEN: Duration = Duration::from_secs(5);

/// A check in an empty directory; gives a short fact.
pub(crate) type Check = fn(&Lab, &Path) -> Result<String>;

/// All of them, by name.
pub(crate) const CHECKS: &[(&str, Check)] = &[
    ("server-sftp", sftp),
    ("server-exec", exec),
    ("server-nfs-4", nfs4),
    ("server-nfs-3", nfs3),
    ("server-syslog", syslog),
    ("server-https", https),
    ("server-s3", s3),
];

/// A file in a jail, over IPv4 and IPv6, with each kind of key; not with a key or for a host that is not known.
fn sftp(_: &Lab, dir: &Path) -> Result<String> {
    let kinds = [Key::Ed25519, Key::Ecdsa, Key::Rsa, Key::Certificate];
    for (number, key) in kinds.into_iter().enumerate() {
        let dir = dir.join(number.to_string());
        let address = if number == 0 { LOOPBACK6 } else { LOOPBACK };
        let ssh = Ssh::start(&dir, address, Service::Sftp, key)?;
        let host = address.to_string();
        let (known, wrong) = (ssh.known_hosts(&host)?, ssh.wrong_hosts(&host)?);
        let batch = sent(
            &dir,
            &format!("put {} {}/file\n", sent(&dir, TEXT)?.display(), ssh.path),
        )?;
        let mut good = client("sftp", &ssh, &ssh.key(), &known);
        let place = match address {
            IpAddr::V6(_) => format!("{USER}@[{address}]"),
            IpAddr::V4(_) => format!("{USER}@{address}"),
        };
        qemu::run_tool(good.arg("-b").arg(&batch).arg(&place), &[0])?;
        for (key, known) in [(ssh.wrong_key(), &known), (ssh.key(), &wrong)] {
            let mut bad = client("sftp", &ssh, &key, known);
            qemu::run_tool(bad.arg("-b").arg(&batch).arg(&place), &[255])
                .context("the server or the client is not strict")?;
        }
        drop(ssh);
        holds(&dir.join("ssh/dumps/file"), TEXT)?;
    }
    Ok(format!("{} kinds of keys, IPv4 and IPv6", kinds.len()))
}

/// A file through a command; no SFTP.
fn exec(_: &Lab, dir: &Path) -> Result<String> {
    let ssh = Ssh::start(dir, LOOPBACK, Service::Exec, Key::Ed25519)?;
    let known = ssh.known_hosts(&LOOPBACK.to_string())?;
    let place = format!("{USER}@{LOOPBACK}");
    let mut command = client("ssh", &ssh, &ssh.key(), &known);
    let file = Path::new(&ssh.path).join("file");
    command
        .arg(&place)
        .arg(format!("echo lorem ipsum > {}", file.display()));
    qemu::run_tool(&mut command, &[0])?;
    holds(&file, TEXT)?;
    let batch = sent(dir, "pwd\n")?;
    let mut sftp = client("sftp", &ssh, &ssh.key(), &known);
    qemu::run_tool(sftp.arg("-b").arg(&batch).arg(&place), &[255]).context("it has SFTP")?;
    Ok("commands only".into())
}

/// ssh or sftp with nothing of this machine's configuration.
fn client(program: &str, ssh: &Ssh, key: &Path, known: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-F", "none", "-q", "-o", "BatchMode=yes"]);
    command.args([
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=yes",
    ]);
    command.args([
        "-o",
        "IdentityAgent=none",
        "-o",
        "GlobalKnownHostsFile=none",
    ]);
    command
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", known.display()));
    command.arg("-o").arg(format!("Port={}", ssh.port));
    if ssh.certificate().exists() {
        command
            .arg("-o")
            .arg(format!("CertificateFile={}", ssh.certificate().display()));
    }
    command.arg("-i").arg(key);
    command
}

/// Version 4 answers on both addresses.
fn nfs4(_: &Lab, dir: &Path) -> Result<String> {
    for (name, address) in [("4", LOOPBACK), ("6", LOOPBACK6)] {
        let nfs = Nfs::version4(&dir.join(name), address)?;
        null_call(address, nfs.port, "100003", "4")?;
    }
    Ok("version 4, IPv4 and IPv6".into())
}

/// Version 3 and its mount protocol answer, rpcbind names both.
fn nfs3(_: &Lab, dir: &Path) -> Result<String> {
    let nfs = Nfs::version3(dir)?;
    null_call(LOOPBACK, nfs.port, "100003", "3")?;
    null_call(LOOPBACK, nfs.mount_port, "100005", "3")?;
    for program in ["100003", "100005"] {
        let mut command = Command::new("rpcinfo");
        command.args(["-T", "tcp", "127.0.0.1", program, "3"]);
        qemu::run_tool(&mut command, &[0])?;
    }
    Ok("version 3, mount and rpcbind".into())
}

/// Calls the procedure of a program that does nothing.
fn null_call(address: IpAddr, port: u16, program: &str, version: &str) -> Result<()> {
    let transport = if address.is_ipv4() { "tcp" } else { "tcp6" };
    // A universal address ends with the two bytes of the port.
    let universal = format!("{address}.{}.{}", port >> 8, port & 0xff);
    let mut command = Command::new("rpcinfo");
    command.args(["-a", &universal, "-T", transport, program, version]);
    qemu::run_tool(&mut command, &[0])?;
    Ok(())
}

/// A message over each transport.
fn syslog(_: &Lab, dir: &Path) -> Result<String> {
    let syslog = Syslog::start(dir)?;
    for transport in [&["--udp"][..], &["--tcp", "--octet-count"]] {
        let mut command = Command::new("logger");
        command.args(["--server", "127.0.0.1", "--port", &syslog.port.to_string()]);
        command
            .args(["--rfc5424", "--tag", "client"])
            .args(transport);
        qemu::run_tool(command.arg("lorem ipsum"), &[0])?;
    }
    let both = |text: &str| {
        let from = |input| {
            text.lines()
                .any(|line: &str| line.starts_with(input) && line.ends_with("lorem ipsum"))
        };
        from("imudp") && from("imtcp")
    };
    let deadline = Instant::now() + WRITTEN;
    loop {
        let text = fs::read_to_string(&syslog.messages).unwrap_or_default();
        if both(&text) {
            return Ok("UDP, and TCP with octet counting".into());
        }
        ensure!(Instant::now() < deadline, "it has only got: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file is put; not without the authority's certificate.
fn https(_: &Lab, dir: &Path) -> Result<String> {
    let https = Https::start(dir)?;
    let url = format!("https://127.0.0.1:{}/a/b/file", https.port);
    let file = sent(dir, TEXT)?;
    let put = || {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--upload-file"]);
        command.arg(&file).arg(&url);
        command
    };
    qemu::run_tool(put().arg("--cacert").arg(&https.identity.ca), &[0])?;
    qemu::run_tool(&mut put(), &[60]).context("the certificate is known to this machine")?;
    holds(&https.dir.join("a/b/file"), TEXT)?;
    Ok("PUT, with a certificate of its own authority".into())
}

/// An object is put; not with a wrong key.
fn s3(lab: &Lab, dir: &Path) -> Result<String> {
    let s3 = S3::start(lab, dir)?;
    let url = format!("http://127.0.0.1:{}/{}/a/file", s3.port, s3::BUCKET);
    let file = sent(dir, TEXT)?;
    let put = |secret: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--upload-file"]);
        command
            .arg(&file)
            .args(["--aws-sigv4", "aws:amz:us-east-1:s3"]);
        command.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        command.args(["--user", &format!("{}:{secret}", s3::ACCESS), &url]);
        command
    };
    qemu::run_tool(&mut put(s3::SECRET), &[0])?;
    qemu::run_tool(&mut put("wrong"), &[22]).context("it takes any key")?;
    holds(&s3.dir.join("a/file"), TEXT)?;
    Ok("SigV4".into())
}

/// A file with what is to be sent.
fn sent(dir: &Path, text: &str) -> Result<PathBuf> {
    let file = dir.join(format!("sent-{}", crc32fast::hash(text.as_bytes())));
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&file, text))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn holds(file: &Path, text: &str) -> Result<()> {
    let found =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(found == text, "{} holds `{found}`", file.display());
    Ok(())
}
