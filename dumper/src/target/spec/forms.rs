//! The form of each scheme: how it is read and how it is written.

use super::options::{self, NfsOptions, shown};
use super::url::{self, Authority};
use super::{Device, Kind, SshWay, TargetSpec, Transport};
use std::fmt;

/// Options that are not yet taken.
struct Options(Vec<(String, String)>);

impl Options {
    /// Takes an option out.
    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(at).1)
    }

    /// Whatever is left is not known.
    fn none_left(&self, known: &str) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((key, value)) => Err(format!(
                "the option {} is not known here; known {known}interface=NAME, deadline=TIME",
                shown(key, value)
            )),
        }
    }
}

/// Reads what follows `scheme:`.
pub(super) fn parse(scheme: &str, rest: &str) -> Result<TargetSpec, String> {
    if rest.chars().any(char::is_control) {
        return Err("there must be no control characters".into());
    }
    let (front, options) = url::split_options(rest)?;
    let mut options = Options(options);
    let deadline = options
        .take("deadline")
        .map(|value| options::deadline(&value))
        .transpose()?;
    let interface = options.take("interface");
    let kind = match scheme {
        "file" => file(front, &mut options)?,
        "raw" => Kind::Raw {
            device: Device::parse(&url::decode(front)?).ok_or(Device::FORM)?,
            id: claim_id(&mut options)?,
        },
        "nfs" => nfs(url::authority(front)?, &mut options)?,
        "sftp" => sftp(url::authority(front)?, &mut options)?,
        "s3" => s3(url::authority(front)?, &mut options)?,
        "http" | "https" => http(scheme == "https", url::authority(front)?)?,
        "syslog" => syslog(url::authority(front)?, &mut options)?,
        "virtiofs" => virtiofs(front)?,
        _ if front.is_empty() => Kind::Dmesg,
        _ => return Err("nothing may follow".into()),
    };
    options.none_left(known(&kind))?;
    let spec = TargetSpec {
        kind,
        deadline,
        interface,
    };
    if spec.interface.is_some() && !spec.needs_network() {
        return Err("the target is not on a network, take out `interface=`".into());
    }
    Ok(spec)
}

/// The options of each kind, besides the deadline.
const fn known(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "are subvol=NAME and ",
        Kind::Raw { .. } => "are id=HEX and ",
        Kind::Sftp { .. } => "are way=sftp, way=exec and ",
        Kind::S3 { .. } => "are endpoint=URL, region=NAME, part=MIB and ",
        Kind::Syslog { .. } => "are proto=udp, proto=tcp and ",
        _ => "is ",
    }
}

fn file(front: &str, options: &mut Options) -> Result<Kind, String> {
    let (device, path) = front.split_once(":/").ok_or("device and path are needed")?;
    let device = Device::parse(&url::decode(device)?).ok_or(Device::FORM)?;
    Ok(Kind::File {
        device,
        path: absolute(&url::decode(path)?)?,
        subvol: options.take("subvol"),
    })
}

fn claim_id(options: &mut Options) -> Result<Option<String>, String> {
    let id = options.take("id");
    let is_hex =
        |id: &String| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match id {
        Some(id) if !is_hex(&id) => Err(format!("id={id} is not the 32 hex digits of a claim")),
        id => Ok(id),
    }
}

/// A path without slashes at its end, and nothing that leads out of it.
fn absolute(path: &str) -> Result<String, String> {
    if path.chars().any(char::is_control) || path.split('/').any(|part| part == "..") {
        return Err("the path must have no `..` and no control characters".into());
    }
    if path.len() > 1024 {
        return Err("the path is longer than 1024 bytes".into());
    }
    Ok(format!("/{}", path.trim_matches('/')))
}

fn no_user(from: &Authority) -> Result<(), String> {
    match &from.user {
        Some(user) => Err(format!("there is no user here, take out `{user}@`")),
        None => Ok(()),
    }
}

fn nfs(from: Authority, options: &mut Options) -> Result<Kind, String> {
    no_user(&from)?;
    if from.path.is_empty() {
        return Err("the exported directory is missing".into());
    }
    let mut checked = NfsOptions::default();
    for (key, value) in options.0.drain(..) {
        checked.set(&key, &value)?;
    }
    Ok(Kind::Nfs {
        path: absolute(&from.path)?,
        host: from.host,
        port: from.port,
        options: checked,
    })
}

fn sftp(from: Authority, options: &mut Options) -> Result<Kind, String> {
    let user = from
        .user
        .filter(|user| !user.is_empty())
        .ok_or("the user is missing")?;
    if from.path.is_empty() {
        return Err("the directory is missing".into());
    }
    let way = match options.take("way").as_deref() {
        None => SshWay::Any,
        Some("sftp") => SshWay::Sftp,
        Some("exec") => SshWay::Exec,
        Some(other) => return Err(format!("way={other} is neither sftp nor exec")),
    };
    Ok(Kind::Sftp {
        user,
        path: absolute(&from.path)?,
        host: from.host,
        port: from.port,
        way,
    })
}

/// The smallest part that S3 takes, and the largest that fits a capture kernel.
const PARTS: std::ops::RangeInclusive<u16> = 5..=64;

fn s3(from: Authority, options: &mut Options) -> Result<Kind, String> {
    no_user(&from)?;
    if from.port.is_some() {
        return Err("a bucket has no port: name the server with endpoint=".into());
    }
    let part = match options.take("part") {
        None => *PARTS.start(),
        Some(text) => text
            .parse()
            .ok()
            .filter(|part| PARTS.contains(part))
            .ok_or(format!(
                "part={text} is no number of MiB from {} to {}",
                PARTS.start(),
                PARTS.end()
            ))?,
    };
    let endpoint = options.take("endpoint");
    if let Some(endpoint) = endpoint.as_deref().filter(|e| endpoint_server(e).is_none()) {
        return Err(format!(
            "endpoint={endpoint} is no http://server[:port] or https://server[:port]"
        ));
    }
    let region = options.take("region").unwrap_or_else(|| "us-east-1".into());
    if region.is_empty()
        || !region
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-')
    {
        return Err(format!("region={region} is no name of a region"));
    }
    Ok(Kind::S3 {
        bucket: from.host,
        prefix: absolute(&from.path)?.trim_start_matches('/').to_owned(),
        endpoint,
        region,
        part,
    })
}

/// Server and port of an endpoint; none when it is no URL of a server.
pub(super) fn endpoint_server(endpoint: &str) -> Option<(String, u16)> {
    let (rest, port) = match endpoint.strip_prefix("https:") {
        Some(rest) => (rest, 443),
        None => (endpoint.strip_prefix("http:")?, 80),
    };
    let from = url::authority(rest).ok()?;
    let bare = from.user.is_none() && from.path.trim_matches('/').is_empty();
    bare.then(|| (from.host, from.port.unwrap_or(port)))
}

fn http(tls: bool, from: Authority) -> Result<Kind, String> {
    no_user(&from)?;
    Ok(Kind::Http {
        tls,
        path: absolute(&from.path)?.trim_end_matches('/').to_owned(),
        host: from.host,
        port: from.port,
    })
}

fn syslog(from: Authority, options: &mut Options) -> Result<Kind, String> {
    no_user(&from)?;
    if !from.path.trim_matches('/').is_empty() {
        return Err("a log server has no path".into());
    }
    let transport = match options.take("proto").as_deref() {
        None | Some("udp") => Transport::Udp,
        Some("tcp") => Transport::Tcp,
        Some(other) => return Err(format!("proto={other} is neither udp nor tcp")),
    };
    Ok(Kind::Syslog {
        host: from.host,
        port: from.port,
        transport,
    })
}

fn virtiofs(front: &str) -> Result<Kind, String> {
    let (tag, path) = front.split_once(":/").ok_or("tag and path are needed")?;
    let tag = url::decode(tag)?;
    if tag.is_empty() || tag.len() > 36 {
        return Err("the tag must have 1 to 36 bytes".into());
    }
    Ok(Kind::Virtiofs {
        tag,
        path: absolute(&url::decode(path)?)?,
    })
}

/// Writes a target so that reading it gives the same.
pub(super) fn show(spec: &TargetSpec, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let path = |path: &str| url::encode(path, &[]);
    let mut options: Vec<(String, String)> = Vec::new();
    let mut option = |key: &str, value: &str| options.push((key.into(), value.into()));
    match &spec.kind {
        Kind::File {
            device,
            path: at,
            subvol,
        } => {
            write!(f, "file:{}:{}", path(&device.to_string()), path(at))?;
            subvol.iter().for_each(|name| option("subvol", name));
        }
        Kind::Raw { device, id } => {
            write!(f, "raw:{}", path(&device.to_string()))?;
            id.iter().for_each(|id| option("id", id));
        }
        Kind::Nfs {
            host,
            port,
            path: at,
            options: more,
        } => {
            write!(f, "nfs://{}{}", url::server(host, *port), path(at))?;
            more.all()
                .iter()
                .for_each(|(key, value)| option(key, value));
        }
        Kind::Sftp {
            user,
            host,
            port,
            path: at,
            way,
        } => {
            let user = url::encode(user, &['/', '@', ':']);
            write!(f, "sftp://{user}@{}{}", url::server(host, *port), path(at))?;
            match way {
                SshWay::Any => {}
                SshWay::Sftp => option("way", "sftp"),
                SshWay::Exec => option("way", "exec"),
            }
        }
        Kind::S3 {
            bucket,
            prefix,
            endpoint,
            region,
            part,
        } => {
            write!(f, "s3://{bucket}/{}", path(prefix))?;
            endpoint.iter().for_each(|url| option("endpoint", url));
            if region != "us-east-1" {
                option("region", region);
            }
            if part != PARTS.start() {
                option("part", &part.to_string());
            }
        }
        Kind::Http {
            tls,
            host,
            port,
            path: at,
        } => {
            let scheme = if *tls { "https" } else { "http" };
            write!(f, "{scheme}://{}{}", url::server(host, *port), path(at))?;
        }
        Kind::Syslog {
            host,
            port,
            transport,
        } => {
            write!(f, "syslog://{}", url::server(host, *port))?;
            if *transport == Transport::Tcp {
                option("proto", "tcp");
            }
        }
        Kind::Virtiofs { tag, path: at } => write!(f, "virtiofs:{}:{}", path(tag), path(at))?,
        Kind::Dmesg => f.write_str("dmesg:")?,
    }
    spec.interface
        .iter()
        .for_each(|name| option("interface", name));
    if let Some(deadline) = spec.deadline {
        option("deadline", &deadline.as_secs().to_string());
    }
    for (n, (key, value)) in options.iter().enumerate() {
        let value = url::encode(value, &['&', ',', ' ']);
        write!(
            f,
            "{}{}",
            if n == 0 { '?' } else { '&' },
            shown(key, &value)
        )?;
    }
    Ok(())
}
