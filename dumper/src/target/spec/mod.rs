//! Target specifications: `SCHEME:…?option=value&…`. A new scheme is a variant of [`Kind`], a line in `SCHEMES` and its file or
//! folder beside this one.

mod device;
mod forms;
mod options;
pub(super) mod url;

pub use device::Device;
pub use options::{NfsOptions, SshWay, Transport};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A place for dumps, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetSpec {
    /// Which place.
    pub kind: Kind,
    /// `deadline=`: a capture to this target is ended after so long, and the next target is tried; none for the deadline of the whole.
    pub deadline: Option<Duration>,
    /// `interface=`: what leads there; none for what the image says.
    pub interface: Option<String>,
}

/// A place for dumps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `file:DEVICE:/path[?subvol=NAME]`: a directory of a file system on a local block device.
    File {
        /// The device.
        device: Device,
        /// Absolute path inside that file system.
        path: String,
        /// The btrfs subvolume that is mounted.
        subvol: Option<String>,
    },
    /// `raw:DEVICE[?id=HEX]`: a partition that was claimed for dumps.
    Raw {
        /// The device.
        device: Device,
        /// Id of the claim, which the image builder adds.
        id: Option<String>,
    },
    /// `nfs://host[:port]/export/dir[?vers=…&…]`.
    Nfs {
        /// Name or address of the server.
        host: String,
        /// Its port, when it is not 2049.
        port: Option<u16>,
        /// What is mounted.
        path: String,
        /// Options of mount(2).
        options: NfsOptions,
    },
    /// `sftp://user@host[:port]/dir[?way=exec]`.
    Sftp {
        /// Who logs in.
        user: String,
        /// Name or address of the server.
        host: String,
        /// Its port, when it is not 22.
        port: Option<u16>,
        /// The directory; relative to the login's when it begins with `/./` or `/~/`.
        path: String,
        /// Which protocol.
        way: SshWay,
    },
    /// `s3://bucket[/prefix]?endpoint=URL[&region=…&part=MIB]`.
    S3 {
        /// The bucket.
        bucket: String,
        /// In front of every object's name; without slashes at its ends.
        prefix: String,
        /// `http://host[:port]` or `https://…`; none for Amazon's of the region.
        endpoint: Option<String>,
        /// The region that is signed for.
        region: String,
        /// Size of a part in MiB.
        part: u16,
    },
    /// `https://host[:port]/path` or `http://…`: one PUT for each file.
    Http {
        /// Whether it is TLS.
        tls: bool,
        /// Name or address of the server.
        host: String,
        /// Its port, when it is not 443 or 80.
        port: Option<u16>,
        /// The path, without a slash at its end.
        path: String,
    },
    /// `syslog://host[:514][?proto=tcp]`: panic lines and the tail of the log.
    Syslog {
        /// Name or address of the server.
        host: String,
        /// Its port, when it is not 514.
        port: Option<u16>,
        /// How the lines go there.
        transport: Transport,
    },
    /// `virtiofs:TAG:/path`.
    Virtiofs {
        /// The tag that the hypervisor gave.
        tag: String,
        /// Absolute path inside it.
        path: String,
    },
    /// `dmesg:`: the tail of the log on the console.
    Dmesg,
}

/// Scheme and form of each kind.
const SCHEMES: &[(&str, &str)] = &[
    ("file", "file:DEVICE:/absolute/path[?subvol=NAME]"),
    ("raw", "raw:DEVICE[?id=HEX]"),
    ("nfs", "nfs://server/export/dir[?vers=4.2]"),
    ("sftp", "sftp://user@server/dir"),
    ("s3", "s3://bucket/prefix[?endpoint=https://server]"),
    ("https", "https://server/path"),
    ("http", "http://server/path"),
    ("syslog", "syslog://server[:514][?proto=tcp]"),
    ("virtiofs", "virtiofs:TAG:/path"),
    ("dmesg", "dmesg:"),
];

/// Why a text names no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No scheme, or one that is not known.
    #[error(
        "target `{0}` has no known scheme: use {known}:…",
        known = SCHEMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(":…, ")
    )]
    Scheme(String),
    /// Not the form of the scheme.
    #[error("target `{text}`: {why}; the form is {form}")]
    Form {
        /// What was given.
        text: String,
        /// What is wrong.
        why: String,
        /// The form of the scheme.
        form: &'static str,
    },
}

impl FromStr for TargetSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let scheme = text.split_once(':').unwrap_or_default();
        let Some((name, form)) = SCHEMES.iter().find(|(name, _)| *name == scheme.0) else {
            return Err(SpecError::Scheme(text.into()));
        };
        forms::parse(name, scheme.1).map_err(|why| SpecError::Form {
            text: text.into(),
            why,
            form,
        })
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        forms::show(self, f)
    }
}

impl TargetSpec {
    /// Server and port, where the target is one.
    pub fn server(&self) -> Option<(String, u16)> {
        let (host, port) = match &self.kind {
            Kind::Nfs { host, port, .. } => (host, port.unwrap_or(2049)),
            Kind::Sftp { host, port, .. } => (host, port.unwrap_or(22)),
            Kind::Http {
                tls, host, port, ..
            } => (host, port.unwrap_or(if *tls { 443 } else { 80 })),
            Kind::Syslog { host, port, .. } => (host, port.unwrap_or(514)),
            Kind::S3 {
                endpoint, region, ..
            } => {
                let aws = || format!("https://s3.{region}.amazonaws.com");
                return forms::endpoint_server(&endpoint.clone().unwrap_or_else(aws));
            }
            Kind::File { .. } | Kind::Raw { .. } | Kind::Virtiofs { .. } | Kind::Dmesg => {
                return None;
            }
        };
        Some((host.clone(), port))
    }

    /// Whether it is reached through the network.
    pub fn needs_network(&self) -> bool {
        matches!(
            self.kind,
            Kind::Nfs { .. }
                | Kind::Sftp { .. }
                | Kind::S3 { .. }
                | Kind::Http { .. }
                | Kind::Syslog { .. }
        )
    }

    /// Whether it takes files; otherwise only lines of the log.
    pub fn holds_files(&self) -> bool {
        !matches!(self.kind, Kind::Syslog { .. } | Kind::Dmesg)
    }

    /// The block device, where it is on one.
    pub fn device(&self) -> Option<&Device> {
        match &self.kind {
            Kind::File { device, .. } | Kind::Raw { device, .. } => Some(device),
            _ => None,
        }
    }

    /// The path of its dumps, where it has one.
    pub fn path(&self) -> &str {
        match &self.kind {
            Kind::File { path, .. }
            | Kind::Nfs { path, .. }
            | Kind::Sftp { path, .. }
            | Kind::Http { path, .. }
            | Kind::Virtiofs { path, .. } => path,
            Kind::S3 { prefix, .. } => prefix,
            Kind::Raw { .. } | Kind::Syslog { .. } | Kind::Dmesg => "",
        }
    }
}

impl TryFrom<String> for TargetSpec {
    type Error = SpecError;
    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<TargetSpec> for String {
    fn from(spec: TargetSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests;
