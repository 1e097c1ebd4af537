//! `nfs:` targets, mounted by mount(2) with the text options of the kernel's client (fs/nfs/fs_context.c, Linux 5.6 and later).
//!
//! There is no mount.nfs and no daemon: the server's address and the client's own are given, locks are left out, and a dead server
//! must end a write with an error (`soft`), or the next target would never be tried.

use super::dumpdir::open_base;
use super::file::{Mounted, TargetError, mount_point};
use super::spec::NfsOptions;
use crate::net;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount2, umount};
use std::net::IpAddr;
use std::path::Path;

/// An export to mount.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// The server's address.
    pub address: IpAddr,
    /// Its port, when it is not 2049.
    pub port: Option<u16>,
    /// The directory.
    pub path: &'a str,
    /// Options of the target.
    pub options: &'a NfsOptions,
}

/// The versions in the order in which they are tried.
const VERSIONS: &[&str] = &["4.2", "4.1", "4.0", "3"];
/// How long a call waits, in tenths of a second, and how often it is repeated: 10 + 20 + 30 s, then an error. A
/// server that has to write to its disk what it took answers late.
const PATIENCE: [(&str, &str); 2] = [("timeo", "100"), ("retrans", "2")];

impl Export<'_> {
    /// As mount(2) wants it.
    fn source(&self) -> String {
        match self.address {
            IpAddr::V4(address) => format!("{address}:{}", self.path),
            IpAddr::V6(address) => format!("[{address}]:{}", self.path),
        }
    }

    /// The options for one version.
    fn data(&self, vers: &str, client: Option<IpAddr>) -> String {
        let transport = if self.address.is_ipv4() {
            "tcp"
        } else {
            "tcp6"
        };
        let mut data = format!("vers={vers},addr={},soft", self.address);
        let mut add = |key: &str, value: &str| {
            data.push_str(&format!(",{key}"));
            if !value.is_empty() {
                data.push_str(&format!("={value}"));
            }
        };
        let given = |key: &str| self.options.more.iter().any(|(other, _)| other == key);
        if !given("proto") {
            add("proto", transport);
        }
        if let Some(port) = self.port {
            add("port", &port.to_string());
        }
        if vers == "3" {
            // Locks and mount calls by UDP would need more of the server than the dump does.
            add("nolock", "");
            if !given("mountproto") {
                add("mountproto", transport);
            }
        } else if let Some(client) = client {
            add("clientaddr", &client.to_string());
        }
        for (key, value) in PATIENCE {
            if !given(key) {
                add(key, value);
            }
        }
        let of_mountd = |key: &str| key.starts_with("mount");
        for (key, value) in &self.options.more {
            if vers == "3" || !of_mountd(key) {
                add(key, value);
            }
        }
        data
    }

    /// Mounts it on `point`, which is made. A directory that is not there is made too, where the export that it is to be in is.
    ///
    /// # Errors
    /// When no version that may be tried can be mounted; says what each was refused with.
    pub fn mount(&self, point: &Path) -> Result<Mounted, TargetError> {
        let flags = mount_point(point)?;
        let only = self.options.vers.as_deref();
        let versions: &[&str] = only.as_ref().map_or(VERSIONS, std::slice::from_ref);
        let refused = match self.mount_as(versions, point, flags) {
            Ok(vers) => return Ok(self.mounted(vers, point)),
            Err(refused) => refused,
        };
        let lacking = refused.iter().filter(|(_, errno)| *errno == Errno::ENOENT);
        for (vers, _) in lacking {
            if self.made(vers, point, flags) && self.mount_as(&[*vers], point, flags).is_ok() {
                return Ok(self.mounted(vers, point));
            }
        }
        Err(TargetError::Remote {
            place: self.source(),
            why: refusal(&refused),
        })
    }

    fn mounted(&self, vers: &str, point: &Path) -> Mounted {
        Mounted {
            point: point.into(),
            node: self.source().into(),
            fs: format!("nfs {vers}"),
            holds_modes: true,
        }
    }

    /// Mounts it with the first version that works, or says what each was refused with.
    fn mount_as<'v>(
        &self,
        versions: &[&'v str],
        point: &Path,
        flags: MsFlags,
    ) -> Result<&'v str, Vec<(&'v str, Errno)>> {
        let (source, client) = (self.source(), own_address(self.address));
        let mut refused = Vec::new();
        for vers in versions {
            // `4` is the kernel's word for 4.0 since there are minor versions.
            let vers = if *vers == "4" { "4.0" } else { *vers };
            let data = self.data(vers, client);
            match mount2(Some(&*source), point, Some("nfs"), flags, Some(&*data)) {
                Ok(()) => return Ok(vers),
                Err(errno) => {
                    refused.push((vers, errno));
                    if !another_version(errno) {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }

    /// Makes the directory in the nearest one above it that can be mounted.
    fn made(&self, vers: &str, point: &Path, flags: MsFlags) -> bool {
        for above in above(self.path) {
            let export = Export {
                path: above,
                ..*self
            };
            match export.mount_as(&[vers], point, flags) {
                Ok(_) => {
                    let missing = self.path.strip_prefix(above).unwrap_or_default();
                    let made = open_base(point, missing).is_ok();
                    return umount(point).is_ok() && made;
                }
                Err(refused) if refused.iter().all(|(_, e)| *e == Errno::ENOENT) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

/// The directories above one, the nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(up(path), |path| up(path))
}

fn up(path: &str) -> Option<&str> {
    let (up, _) = path.trim_end_matches('/').rsplit_once('/')?;
    match up {
        "" => Some("/"),
        up => Some(up),
    }
}

/// Whether another version may do better: not when the server is away, or knows us and says no.
fn another_version(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EPROTONOSUPPORT
            | Errno::EINVAL
            | Errno::EOPNOTSUPP
            | Errno::ENODEV
            | Errno::EPROTO
            | Errno::ENOENT
            | Errno::EREMOTEIO
    )
}

fn refusal(refused: &[(&str, Errno)]) -> String {
    let all: Vec<_> = refused
        .iter()
        .map(|(vers, errno)| format!("NFS {vers}: {}", errno.desc()))
        .collect();
    let advice = match refused.first().map(|(_, errno)| *errno) {
        Some(Errno::ENODEV) => {
            "the capture kernel has no NFS: build the image anew with baredumpctl image"
        }
        Some(Errno::EACCES | Errno::EPERM) => {
            "export the directory to this machine, writable and with no_root_squash"
        }
        Some(Errno::ENOENT) => "export that directory, or name another one",
        Some(Errno::ECONNREFUSED | Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::EIO) => {
            "see whether the NFS server runs, and whether a firewall is in between"
        }
        _ => "see the kernel's messages above, or name another version with vers=",
    };
    format!("cannot mount it: {}: {advice}", all.join(", "))
}

/// The address with which this machine reaches the server. Nothing is sent.
fn own_address(server: IpAddr) -> Option<IpAddr> {
    let socket = net::udp((server, 2049).into()).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Kind, TargetSpec};

    fn data(target: &str, vers: &str) -> String {
        let spec: TargetSpec = target.parse().unwrap();
        let Kind::Nfs {
            host,
            port,
            path,
            options,
        } = &spec.kind
        else {
            panic!()
        };
        let export = Export {
            address: host.parse().unwrap(),
            port: *port,
            path,
            options,
        };
        let client = Some("192.0.2.9".parse().unwrap());
        format!("{} {}", export.source(), export.data(vers, client))
    }

    #[test]
    fn options_of_each_version() {
        assert_eq!(
            data("nfs://192.0.2.1/a", "4.2"),
            "192.0.2.1:/a vers=4.2,addr=192.0.2.1,soft,proto=tcp,clientaddr=192.0.2.9,timeo=100,retrans=2"
        );
        assert_eq!(
            data(
                "nfs://192.0.2.1:12049/a?timeo=30&noresvport&mountport=20048",
                "3"
            ),
            "192.0.2.1:/a vers=3,addr=192.0.2.1,soft,proto=tcp,port=12049,nolock,mountproto=tcp,retrans=2,timeo=30,noresvport,mountport=20048"
        );
        assert!(!data("nfs://192.0.2.1/a?mountport=20048", "4.1").contains("mountport"));
        assert!(
            data("nfs://[fd00::1]/a", "4.2")
                .starts_with("[fd00::1]:/a vers=4.2,addr=fd00::1,soft,proto=tcp6")
        );
    }

    #[test]
    fn what_is_above_a_directory() {
        let all = |path| above(path).collect::<Vec<_>>();
        assert_eq!(all("/srv/a/b"), ["/srv/a", "/srv", "/"]);
        assert_eq!(all("/srv/"), ["/"]);
        assert!(all("/").is_empty());
    }

    #[test]
    fn refusals_say_what_to_do() {
        let text = refusal(&[("4.2", Errno::EACCES)]);
        assert!(
            text.contains("NFS 4.2: Permission denied") && text.contains("no_root_squash"),
            "{text}"
        );
        assert!(refusal(&[("4.2", Errno::ENODEV)]).contains("build the image"));
        assert!(another_version(Errno::EPROTONOSUPPORT) && !another_version(Errno::ETIMEDOUT));
    }
}
