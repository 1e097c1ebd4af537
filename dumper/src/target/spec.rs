//! Target specifications: `SCHEME:…`. A new scheme is a variant, a line in [`SCHEMES`] and its file in this folder.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Every scheme that is understood.
const SCHEMES: &[&str] = &["file"];

/// A place for dumps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TargetSpec {
    /// `file:DEVICE:/path`: a directory of a file system on a local block device.
    File {
        /// The device.
        device: Device,
        /// Absolute path inside that file system.
        path: String,
    },
}

/// How a block device is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// UUID of the file system.
    Uuid(String),
    /// Label of the file system.
    Label(String),
    /// UUID of the partition (GPT), or disk signature and number (MBR).
    PartUuid(String),
    /// Name of the partition (GPT).
    PartLabel(String),
    /// A node below `/dev/`.
    Path(String),
}

/// Why a text names no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No scheme, or one that is not known.
    #[error("target `{0}` has no known scheme: use {known}:…", known = SCHEMES.join(":… or "))]
    Scheme(String),
    /// Not the form of the scheme.
    #[error("target `{0}`: {1}")]
    Form(String, &'static str),
}

impl FromStr for TargetSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let Some(rest) = text.strip_prefix("file:") else {
            return Err(SpecError::Scheme(text.into()));
        };
        let form = |why| SpecError::Form(text.into(), why);
        let (device, path) = rest
            .split_once(":/")
            .ok_or_else(|| form("the form is file:DEVICE:/absolute/path"))?;
        if path.chars().any(char::is_control) || path.split('/').any(|part| part == "..") {
            return Err(form("the path must have no `..` and no control characters"));
        }
        if path.len() > 1024 {
            return Err(form("the path is longer than 1024 bytes"));
        }
        let device = Device::parse(device).ok_or_else(|| {
            form("the device must be UUID=…, LABEL=…, PARTUUID=…, PARTLABEL=… or /dev/…")
        })?;
        Ok(Self::File {
            device,
            path: format!("/{}", path.trim_matches('/')),
        })
    }
}

impl Device {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with("/dev/") && text.len() > 5 && !text.split('/').any(|part| part == "..")
        {
            return Some(Self::Path(text.into()));
        }
        let (kind, value) = text.split_once('=')?;
        if value.is_empty() {
            return None;
        }
        Some(match kind {
            "UUID" => Self::Uuid(value.into()),
            "LABEL" => Self::Label(value.into()),
            "PARTUUID" => Self::PartUuid(value.into()),
            "PARTLABEL" => Self::PartLabel(value.into()),
            _ => return None,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(v) => write!(f, "UUID={v}"),
            Self::Label(v) => write!(f, "LABEL={v}"),
            Self::PartUuid(v) => write!(f, "PARTUUID={v}"),
            Self::PartLabel(v) => write!(f, "PARTLABEL={v}"),
            Self::Path(v) => f.write_str(v),
        }
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { device, path } => write!(f, "file:{device}:{path}"),
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
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for text in [
            "file:UUID=0e0cf1bc-1e62-4d22-b2c8-f3c2c4a6a2a1:/var/crash",
            "file:LABEL=my data:/",
            "file:PARTUUID=1234abcd-02:/a",
            "file:PARTLABEL=a:b:/c",
            "file:/dev/mapper/vg-lv:/var/crash",
        ] {
            assert_eq!(text.parse::<TargetSpec>().unwrap().to_string(), text);
        }
        assert_eq!(
            "file:/dev/vdb://x/"
                .parse::<TargetSpec>()
                .unwrap()
                .to_string(),
            "file:/dev/vdb:/x"
        );
    }

    #[test]
    fn what_is_no_target() {
        let error = |text: &str| text.parse::<TargetSpec>().unwrap_err().to_string();
        assert!(error("/var/crash").contains("use file:"));
        assert!(error("sftp:x").contains("sftp:x"));
        for bad in [
            "file:",
            "file:/dev/vdb",
            "file:/dev/:/x",
            "file:UUID=:/x",
            "file:ID=3:/x",
            "file:vdb:/x",
            "file:/dev/../vdb:/x",
        ] {
            assert!(
                matches!(bad.parse::<TargetSpec>(), Err(SpecError::Form(..))),
                "{bad}"
            );
        }
        assert!(error("file:/dev/vdb:/a/../../b").contains(".."));
        assert!(error("file:/dev/vdb:/a\nb").contains("control"));
    }
}
