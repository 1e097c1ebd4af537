//! Targets behind a network: a dump arrives at a real server on the host's loopback, by every protocol and over every kind of interface.

use super::reach::{
    DHCP, MAC, SECOND, SLAAC, STATIC, complete, config, file_key, lonely, machine, private,
};
use super::{Bench, Scenario, Servers};
use crate::check::{Form, read_report};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, HOST, PANIC, Run};
use crate::servers::garage::Garage;
use crate::servers::https::Https;
use crate::servers::nfs::{EXPORT, Nfs};
use crate::servers::proxy::{Fault, Proxy};
use crate::servers::s3::{self, S3};
use crate::servers::ssh::{Key, Service, Ssh, USER};
use crate::servers::syslog::Syslog;
use crate::servers::trunk::Trunk;
use crate::servers::virtiofs::{TAG, Virtiofs};
use crate::servers::{HOST4, HOST6};
use anyhow::{Context, Result, bail, ensure};
use qemu::Nic;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// What a client has sent when the answers to it come late: more than the log, less than the dump.
const SENT: u64 = 3 << 20;
/// Longer than a step may be without progress in that scenario.
const LATE: Duration = Duration::from_secs(14);
/// The scenario whose directory is not there.
const MISSING: &str = "net-nfs-4.0-dhcp";
/// The VLAN of the tagged network.
const VLAN: u16 = 5;

/// Who takes the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// NFS, this version.
    Nfs(&'static str),
    /// SFTP with this key.
    Sftp(Key),
    /// Commands over SSH.
    Exec,
    Virtiofs,
    /// Objects in a bucket, without TLS.
    S3,
    /// Objects in a bucket of a store that is no directory.
    Garage,
    /// The same through pre-signed URLs: no key is in the image.
    Presigned,
    /// Files put on a web server with a certificate of its own authority.
    Https,
    /// The same where nobody may look at them, and the answer to the whole dump comes later than anything else may.
    HttpsLate,
    /// A log server, this protocol.
    Syslog(&'static str),
}

/// What leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Static,
    Dhcp,
    /// IPv6 by router advertisements.
    Six,
    /// A tagged network on the card.
    Vlan,
    /// Two cards, the first without a carrier.
    Bond,
    /// None is needed.
    None,
}

#[derive(Debug)]
struct Case {
    name: &'static str,
    server: Server,
    way: Way,
    /// Encrypted.
    sealed: bool,
    /// The kernels.
    series: &'static str,
}

const fn case(name: &'static str, server: Server, way: Way) -> Case {
    Case {
        name,
        server,
        way,
        sealed: false,
        series: MAIN_SERIES,
    }
}

const CASES: &[Case] = &[
    case("net-nfs-4.2", Server::Nfs("4.2"), Way::Static),
    case("net-nfs-4.0-dhcp", Server::Nfs("4.0"), Way::Dhcp),
    Case {
        series: "6.12.",
        ..case("net-nfs-6.12", Server::Nfs("4.2"), Way::Static)
    },
    case("net-nfs-3", Server::Nfs("3"), Way::Dhcp),
    case("net-nfs-ipv6", Server::Nfs("4.2"), Way::Six),
    case("net-nfs-vlan", Server::Nfs("4.1"), Way::Vlan),
    case("net-nfs-bond", Server::Nfs("4.2"), Way::Bond),
    Case {
        sealed: true,
        ..case("net-nfs-sealed", Server::Nfs("4.2"), Way::Dhcp)
    },
    case("net-virtiofs", Server::Virtiofs, Way::None),
    case("net-syslog-udp", Server::Syslog("udp"), Way::Dhcp),
    case("net-syslog-tcp", Server::Syslog("tcp"), Way::Static),
    case("net-sftp", Server::Sftp(Key::Ed25519), Way::Static),
    case("net-sftp-dhcp", Server::Sftp(Key::Ecdsa), Way::Dhcp),
    case("net-sftp-rsa", Server::Sftp(Key::Rsa), Way::Dhcp),
    case(
        "net-sftp-certificate",
        Server::Sftp(Key::Certificate),
        Way::Dhcp,
    ),
    case("net-sftp-ipv6", Server::Sftp(Key::Ed25519), Way::Six),
    case("net-ssh-exec", Server::Exec, Way::Dhcp),
    case("net-s3", Server::S3, Way::Static),
    case("net-s3-presigned", Server::Presigned, Way::Dhcp),
    case("net-https", Server::Https, Way::Dhcp),
    case("net-https-late", Server::HttpsLate, Way::Dhcp),
    Case {
        sealed: true,
        ..case("net-s3-sealed", Server::S3, Way::Dhcp)
    },
    Case {
        sealed: true,
        ..case("net-sftp-sealed", Server::Sftp(Key::Ed25519), Way::Dhcp)
    },
];

/// Servers that take long to be built.
const LONG: &[Case] = &[case("net-s3-garage", Server::Garage, Way::Dhcp)];

/// The usual ones, or all.
pub(super) fn scenarios(full: bool) -> Vec<Scenario> {
    let long = if full { LONG } else { &[] };
    CASES
        .iter()
        .chain(long)
        .map(|case| Scenario {
            name: case.name,
            series: case.series,
            guest: machine(),
            setup: Some(Box::new(|bench, dir, guest| {
                set_up(case, bench, dir, guest)
            })),
            judge: match case.server {
                Server::Syslog(_) => told,
                _ => judge,
            },
        })
        .collect()
}

fn set_up(case: &Case, bench: &Bench<'_>, dir: &Path, guest: &mut Guest) -> Result<Servers> {
    let mut servers = Servers::new();
    let interfaces = wire(case.way, guest, &mut servers)?;
    let mut keys = String::new();
    let target = serve(case, bench, dir, guest, &mut servers, &mut keys)?;
    guest.config = config(&[target], interfaces)? + &keys;
    if case.sealed {
        let recipient = recipient(&dir.join("identity"))?;
        guest
            .config
            .push_str(&format!("recipients = [\"{recipient}\"]\n"));
    }
    Ok(servers)
}

/// Puts cards into the machine; the lines of their interfaces.
fn wire(way: Way, guest: &mut Guest, servers: &mut Servers) -> Result<&'static [&'static str]> {
    let module = match way {
        Way::Vlan => Some("8021q"),
        Way::Bond => Some("bonding"),
        _ => None,
    };
    guest.capture_modules.extend(module.map(str::to_owned));
    Ok(match way {
        Way::None => {
            guest.nics.clear();
            &[]
        }
        Way::Static => &[STATIC],
        Way::Dhcp => &[DHCP],
        Way::Six => &[SLAAC],
        Way::Vlan => {
            let trunk = Trunk::start(VLAN)?;
            guest.nics = vec![Nic {
                cable: trunk.cable,
                ..Nic::user(MAC)
            }];
            servers.push(Box::new(trunk));
            &[
                "card:mac=52:54:00:12:34:56;dhcp",
                "tagged:vlan=5;on=card;dhcp",
            ]
        }
        Way::Bond => {
            guest.nics = vec![lonely(MAC, false), Nic::user(SECOND)];
            &[
                "first:mac=52:54:00:12:34:56;dhcp",
                "second:mac=52:54:00:12:34:57;dhcp",
                "pair:bond=active-backup;on=first+second;miimon=100;dhcp",
            ]
        }
    })
}

/// Starts the server and gives its target; what the configuration needs besides goes to `keys`.
fn serve(
    case: &Case,
    bench: &Bench<'_>,
    dir: &Path,
    guest: &mut Guest,
    servers: &mut Servers,
    keys: &mut String,
) -> Result<String> {
    let six = case.way == Way::Six;
    let address = if six { LOOPBACK6 } else { LOOPBACK };
    let host = if six {
        format!("[{HOST6}]")
    } else {
        HOST4.to_owned()
    };
    Ok(match case.server {
        Server::Nfs("3") => {
            let nfs = Nfs::version3(dir)?;
            let target = format!(
                "nfs://{host}:{}{}?vers=3&mountport={}",
                nfs.port,
                // Version 3 knows directories by their own names only.
                dir.join("nfs/export").display(),
                nfs.mount_port
            );
            servers.push(Box::new(nfs));
            target
        }
        Server::Nfs(version) => {
            let nfs = Nfs::version4(dir, address)?;
            let missing = if case.name == MISSING { "/a/b" } else { "" };
            let target = format!("nfs://{host}:{}{EXPORT}{missing}?vers={version}", nfs.port);
            servers.push(Box::new(nfs));
            target
        }
        Server::Sftp(_) | Server::Exec => {
            let (service, key) = match case.server {
                Server::Sftp(key) => (Service::Sftp, key),
                _ => (Service::Exec, Key::Ed25519),
            };
            let ssh = Ssh::start(dir, address, service, key)?;
            keys.push_str(&file_key("ssh_key", &ssh.key())?);
            let known = ssh.known_hosts(host.trim_matches(['[', ']']))?;
            keys.push_str(&file_key("ssh_known_hosts", &known)?);
            if key == Key::Certificate {
                keys.push_str(&file_key("ssh_certificate", &ssh.certificate())?);
            }
            let target = format!("sftp://{USER}@{host}:{}{}", ssh.port, ssh.path);
            servers.push(Box::new(ssh));
            target
        }
        Server::Virtiofs => {
            let virtiofs = Virtiofs::start(dir)?;
            guest.extra.extend(virtiofs.args(guest.memory));
            guest.capture_modules.clear();
            servers.push(Box::new(virtiofs));
            format!("virtiofs:{TAG}:/")
        }
        Server::S3 | Server::Presigned => {
            let s3 = S3::start(bench.lab, dir)?;
            let file = s3::credentials(dir, s3::ACCESS, s3::SECRET)?;
            let target = format!("s3://{}?endpoint=http://{host}:{}", s3::BUCKET, s3.port);
            if case.server == Server::Presigned {
                let urls = S3::presigned(&bench.judges.binaries.baredumpctl, &file, &target)?;
                keys.push_str(&file_key("presigned", &urls)?);
            } else {
                keys.push_str(&file_key("s3_credentials", &file)?);
            }
            servers.push(Box::new(s3));
            target
        }
        Server::Garage => {
            let garage = Garage::start(bench.lab, dir)?;
            let (target, file) = garage.target(&host, dir)?;
            keys.push_str(&file_key("s3_credentials", &file)?);
            servers.push(Box::new(garage));
            target
        }
        Server::Https => {
            let https = Https::start(dir)?;
            keys.push_str(&file_key("ca", &https.identity.ca)?);
            let target = format!("https://{host}:{}", https.port);
            servers.push(Box::new(https));
            target
        }
        Server::HttpsLate => {
            let https = Https::put_only(dir)?;
            keys.push_str(&file_key("ca", &https.identity.ca)?);
            keys.push_str("stall = \"8s\"\n");
            let server = SocketAddr::new(LOOPBACK, https.port);
            let proxy = Proxy::start(server, Fault::Late(LATE), SENT)?;
            let target = format!("https://{host}:{}", proxy.port);
            servers.push(Box::new(proxy));
            servers.push(Box::new(https));
            target
        }
        Server::Syslog(protocol) => {
            let syslog = Syslog::start(dir)?;
            let target = format!("syslog://{host}:{}?proto={protocol}", syslog.port);
            servers.push(Box::new(syslog));
            target
        }
    })
}

/// Makes a key to decrypt with; gives the one to encrypt to.
pub(super) fn recipient(identity: &Path) -> Result<String> {
    qemu::run_tool(Command::new("age-keygen").arg("-o").arg(identity), &[0])?;
    let out = qemu::run_tool(Command::new("age-keygen").arg("-y").arg(identity), &[0])?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn of(run: &Run) -> Result<&'static Case> {
    CASES
        .iter()
        .chain(LONG)
        .find(|case| run.dir.ends_with(case.name))
        .with_context(|| format!("{} is no scenario of the network", run.dir.display()))
}

/// A complete dump with the server.
fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    let case = of(run)?;
    let dir = match case.server {
        Server::Nfs(_) if case.name == MISSING => "nfs/export/a/b",
        Server::Nfs(_) => "nfs/export",
        Server::Sftp(_) | Server::Exec => "ssh/dumps",
        Server::S3 | Server::Presigned => "s3/root/dumps",
        Server::Garage => {
            Garage::start(bench.lab, &run.dir)?.fetch(&run.dir.join("s3/fetched"))?;
            "s3/fetched"
        }
        Server::Https | Server::HttpsLate => "https/files",
        Server::Virtiofs | Server::Syslog(_) => "virtiofs/files",
    };
    let form = match case.server {
        _ if case.sealed => Form::Sealed(run.dir.join("identity")),
        Server::Exec | Server::S3 | Server::Garage | Server::Https | Server::HttpsLate => {
            Form::Stream
        }
        Server::Presigned => Form::Pieces,
        _ => Form::File,
    };
    let dump = complete(bench, kernel, run, Path::new(dir), &form)?;
    // Neither buckets nor web servers know modes.
    if !matches!(
        case.server,
        Server::S3 | Server::Garage | Server::Presigned | Server::Https | Server::HttpsLate
    ) {
        private(&dump)?;
    }
    let report = read_report(&dump)?;
    let target = report.pointer("/target").map(ToString::to_string);
    Ok(format!("complete at {}", target.unwrap_or_default()))
}

/// The log server has the panic, in messages that it understands.
fn told(_: &Bench<'_>, _: &Kernel, run: &Run) -> Result<String> {
    super::finished(run)?;
    let Server::Syslog(protocol) = of(run)?.server else {
        bail!("{} has no log server", run.dir.display())
    };
    let file = run.dir.join("syslog/messages");
    let text = fs::read_to_string(&file).context("the log server has got nothing")?;
    let from = format!("im{protocol} ");
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(&from))
        .collect();
    ensure!(
        lines.iter().any(|line| line.contains(PANIC)),
        "no panic line among {} messages: {text}",
        lines.len()
    );
    // Severity, host, program.
    let beacon = format!("{from}emerg {HOST} ");
    ensure!(
        lines.iter().any(|line| line.starts_with(&beacon)),
        "no message begins with `{beacon}`: {text}"
    );
    Ok(format!("{} messages over {protocol}", lines.len()))
}
