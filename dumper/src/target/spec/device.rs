//! How a block device is named.

use std::fmt;

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
    /// World-wide id of the disk, as in its `wwid` in sysfs; `WWID=ID-partN` for a partition of it.
    Wwid(String),
    /// A node below `/dev/`; `/dev/VG/LV` and `/dev/mapper/VG-LV` for a logical volume.
    Path(String),
}

impl Device {
    /// What is allowed.
    pub(super) const FORM: &str =
        "the device must be UUID=…, LABEL=…, PARTUUID=…, PARTLABEL=…, WWID=… or /dev/…";

    /// The device of that name.
    pub(super) fn parse(text: &str) -> Option<Self> {
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
            "WWID" => Self::Wwid(value.into()),
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
            Self::Wwid(v) => write!(f, "WWID={v}"),
            Self::Path(v) => f.write_str(v),
        }
    }
}
