//! A target that was reached: what was found of it, and how the directory of a dump is made there and opened again.

use super::dumpdir::DumpDir;
use super::file::{Mounted, TargetError};
use super::place::Place;
use super::raw::{RawDevice, RawPlace};
#[cfg(any(feature = "s3", feature = "ssh"))]
use super::spec::Kind;
use super::spec::TargetSpec;
use super::split::SplitDir;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a later step needs to know of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// A mounted file system.
    Mounted(Mounted),
    /// A claimed partition.
    Raw(RawDevice),
    /// A server, the address that answered first.
    Server(Vec<SocketAddr>),
    /// The console, which is always there.
    Console,
}

/// When the image was built whose secrets these are, in seconds since 1970: no certificate is judged at an earlier time.
#[cfg(any(feature = "s3", feature = "ssh"))]
pub(super) fn built(secrets: &std::path::Path) -> u64 {
    let built = std::fs::read_to_string(secrets.join("built")).unwrap_or_default();
    built.trim().parse().unwrap_or(0)
}

/// What else is needed to use a target.
#[derive(Clone, Debug)]
pub struct Access {
    /// The directory with keys and certificates: `ssh_key`, `ssh_cert`, `known_hosts`, `s3_credentials`, `presigned`,
    /// `ca.pem`.
    pub secrets: PathBuf,
    /// Where a target that cannot be asked what it has keeps that, from one step to the next.
    pub ledger: PathBuf,
    /// How long a server may take to answer at the beginning.
    pub timeout: Duration,
    /// How long it may take later to take the next bytes.
    pub patience: Duration,
    /// How long it may take to write to its disk what it took: whoever waits so long tells PID 1 that he does.
    pub last: Duration,
}

impl Reached {
    /// Whether files go to another machine, which can hold much that is not on its disk yet.
    pub fn is_far(&self) -> bool {
        match self {
            Self::Server(_) => true,
            Self::Mounted(mounted) => mounted.is_remote() || mounted.fs == "virtiofs",
            Self::Raw(_) | Self::Console => false,
        }
    }

    /// Makes the directory of a dump: `name`, or `name-2`, … when that exists.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(
        &self,
        spec: &TargetSpec,
        #[cfg_attr(not(any(feature = "s3", feature = "ssh")), allow(unused_variables))]
        access: &Access,
        name: &str,
    ) -> Result<Box<dyn Place>, TargetError> {
        match self {
            #[cfg(feature = "ssh")]
            Self::Server(addresses) if matches!(spec.kind, Kind::Sftp { .. }) => {
                let (session, path, way) = super::ssh::reach(spec, addresses, access)?;
                session.place(path, name, way)
            }
            Self::Mounted(mounted) => {
                let dir = DumpDir::create(mounted, mounted.path_of(spec), name)?;
                Ok(whole_or_split(mounted, dir))
            }
            #[cfg(feature = "s3")]
            Self::Server(addresses) if is_web(spec) => {
                super::web::create(spec, addresses, access, name)
            }
            Self::Raw(raw) => Ok(Box::new(RawPlace::create(raw, name)?)),
            Self::Server(_) | Self::Console => Err(unsupported(spec)),
        }
    }

    /// Opens the directory that had this path.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(
        &self,
        spec: &TargetSpec,
        #[cfg_attr(not(any(feature = "s3", feature = "ssh")), allow(unused_variables))]
        access: &Access,
        path: &str,
    ) -> Result<Box<dyn Place>, TargetError> {
        match self {
            #[cfg(feature = "ssh")]
            Self::Server(addresses) if matches!(spec.kind, Kind::Sftp { .. }) => {
                let (session, _, way) = super::ssh::reach(spec, addresses, access)?;
                session.open(path, way)
            }
            Self::Mounted(mounted) => Ok(whole_or_split(mounted, DumpDir::open(mounted, path)?)),
            #[cfg(feature = "s3")]
            Self::Server(addresses) if is_web(spec) => {
                super::web::open(spec, addresses, access, path)
            }
            Self::Raw(raw) => Ok(Box::new(RawPlace::open(raw, path)?)),
            Self::Server(_) | Self::Console => Err(unsupported(spec)),
        }
    }
}

/// The directory as its file system takes files.
fn whole_or_split(mounted: &Mounted, dir: DumpDir) -> Box<dyn Place> {
    match mounted.fs.as_str() {
        "vfat" => Box::new(SplitDir::new(dir)),
        _ => Box::new(dir),
    }
}

#[cfg(feature = "s3")]
fn is_web(spec: &TargetSpec) -> bool {
    matches!(spec.kind, Kind::S3 { .. } | Kind::Http { .. })
}

fn unsupported(spec: &TargetSpec) -> TargetError {
    TargetError::Remote {
        place: spec.to_string(),
        why: "this baredump was built without it".into(),
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(mounted) => write!(f, "{} ({})", mounted.node.display(), mounted.fs),
            Self::Raw(raw) => write!(f, "{}", raw.node.display()),
            Self::Server(addresses) => match addresses.first() {
                Some(address) => write!(f, "{address}"),
                None => f.write_str("nowhere"),
            },
            Self::Console => f.write_str("the console"),
        }
    }
}
