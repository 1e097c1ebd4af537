//! Options of targets: what each may be.

use std::time::Duration;

/// Options of an NFS mount: those of mount(2) that make sense for a dump, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NfsOptions {
    /// `vers=`: the only version that is tried; none for 4.2, 4.1, 4.0 and 3 in turn.
    pub vers: Option<String>,
    /// What is passed on, as it was written.
    pub more: Vec<(String, String)>,
}

/// How files get to an SSH server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SshWay {
    /// SFTP, and commands when the server has no SFTP.
    #[default]
    Any,
    /// SFTP only.
    Sftp,
    /// Commands of a shell only: the dump is a stream.
    Exec,
}

/// How lines get to a log server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// One datagram for a line.
    #[default]
    Udp,
    /// Octet counting.
    Tcp,
}

/// NFS versions.
pub(super) const NFS_VERSIONS: &[&str] = &["4.2", "4.1", "4.0", "4", "3"];
/// Options of NFS with a number.
const NFS_NUMBERS: &[&str] = &[
    "timeo",
    "retrans",
    "rsize",
    "wsize",
    "mountport",
    "nconnect",
    "namlen",
    "acregmin",
    "acregmax",
    "acdirmin",
    "acdirmax",
    "actimeo",
];
/// Options of NFS without a value.
const NFS_FLAGS: &[&str] = &[
    "noresvport",
    "resvport",
    "nosharecache",
    "noac",
    "noacl",
    "softerr",
    "nocto",
    "nordirplus",
];

impl NfsOptions {
    /// Takes one option.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let plain = !value.contains([',', '\n', '\0']);
        match key {
            "vers" | "nfsvers" if NFS_VERSIONS.contains(&value) => self.vers = Some(value.into()),
            "vers" | "nfsvers" => {
                return Err(format!(
                    "vers={value} is none of {}",
                    NFS_VERSIONS.join(", ")
                ));
            }
            "sec" if value == "sys" => self.keep(key, value),
            "sec" => {
                return Err(format!(
                    "sec={value} needs Kerberos tickets, which a capture kernel cannot have: export the directory with sec=sys"
                ));
            }
            "hard" => {
                return Err(
                    "a hard mount would hang when the server is gone, baredump mounts soft".into(),
                );
            }
            "soft" if value.is_empty() => {}
            "proto" | "mountproto" if matches!(value, "tcp" | "udp" | "tcp6" | "udp6") => {
                self.keep(key, value);
            }
            _ if NFS_NUMBERS.contains(&key) && value.parse::<u32>().is_ok() => {
                self.keep(key, value)
            }
            _ if NFS_FLAGS.contains(&key) && value.is_empty() => self.keep(key, value),
            "mountaddr" if value.parse::<std::net::IpAddr>().is_ok() && plain => {
                self.keep(key, value)
            }
            _ => {
                return Err(format!(
                    "the NFS option {} is not known or has no such value; known are vers, sec=sys, soft, proto, mountproto, mountaddr, {}, {}",
                    shown(key, value),
                    NFS_NUMBERS.join(", "),
                    NFS_FLAGS.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn keep(&mut self, key: &str, value: &str) {
        self.more.retain(|(other, _)| other != key);
        self.more.push((key.into(), value.into()));
    }

    /// All of them, as they are written.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        let vers = self
            .vers
            .iter()
            .map(|vers| ("vers".to_owned(), vers.clone()));
        vers.chain(self.more.iter().cloned()).collect()
    }
}

/// An option as it is written.
pub(super) fn shown(key: &str, value: &str) -> String {
    if value.is_empty() {
        key.to_owned()
    } else {
        format!("{key}={value}")
    }
}

/// `deadline=`.
pub(super) fn deadline(value: &str) -> Result<Duration, String> {
    crate::config::words::seconds(value)
        .map(Duration::from_secs)
        .ok_or_else(|| {
            format!(
                "deadline={value} is no time of at least one second: a number of seconds, or a number with s, m or h"
            )
        })
}
