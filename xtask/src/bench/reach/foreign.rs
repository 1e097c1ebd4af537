//! The others' capture: an initramfs with busybox, whose script runs them and says how long they took.

use crate::apt::Apt;
use crate::fetch::Kernel;
use crate::guest::Run;
use crate::kexec;
use crate::servers::HOST4;
use crate::servers::nfs::EXPORT;
use crate::servers::ssh::{Ssh, USER};
use anyhow::{Context, Result};
use initramfs::cpio::Archive;
use initramfs::modules::{self, Index, Wishes};
use std::fs;
use std::path::{Path, PathBuf};

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// Where a program of these packages looks for its loader.
const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const SHELL: &str = "bin/busybox";
/// With what the script begins its word on the time.
const TOOK: &str = "other: took ";

/// Packages, and the kernel's modules.
pub(super) struct Foreign {
    makedumpfile: PathBuf,
    ssh: PathBuf,
    busybox: PathBuf,
    modules: PathBuf,
}

impl Foreign {
    pub(super) fn fetch(apt: &Apt, kernel: &Kernel) -> Result<Self> {
        let one = |name: &str| apt.unpack(name, &apt.with_libraries(name)?);
        Ok(Self {
            makedumpfile: one("makedumpfile")?,
            ssh: one("openssh-client")?,
            busybox: one("busybox-static")?,
            modules: kernel.modules.clone(),
        })
    }

    /// An image that pipes makedumpfile into a file of an SSH server.
    pub(super) fn ssh(
        &self,
        image: &Path,
        server: &Ssh,
        known_hosts: &Path,
        file: &str,
    ) -> Result<()> {
        let mut archive = self.skeleton(&[])?;
        for (tree, program) in [
            (&self.makedumpfile, "usr/bin/makedumpfile"),
            (&self.ssh, "usr/bin/ssh"),
        ] {
            let sbin = program.replace("/bin/", "/sbin/");
            for (path, bytes) in kexec::linked(tree, &[program, &sbin], LIBRARIES)? {
                if archive.file_bytes(&path).is_none() {
                    archive.file(&path, 0o755, bytes)?;
                }
            }
        }
        let loader = archive
            .file_bytes("lib/ld-linux-x86-64.so.2")
            .map(<[u8]>::to_vec);
        let loader = match loader {
            Some(loader) => loader,
            None => read(
                &self
                    .makedumpfile
                    .join(LIBRARIES)
                    .join("ld-linux-x86-64.so.2"),
            )?,
        };
        archive.file(LOADER, 0o755, loader)?;
        archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n".to_vec())?;
        archive.file("key", 0o600, read(&server.key())?)?;
        archive.file("known_hosts", 0o644, read(known_hosts)?)?;
        let work = format!(
            "/usr/bin/makedumpfile -F -z -d 31 /proc/vmcore | /usr/bin/ssh -i /key -o UserKnownHostsFile=/known_hosts -o StrictHostKeyChecking=yes -o BatchMode=yes -p {} {USER}@{HOST4} 'cat > {file}'",
            server.port
        );
        finish(archive, "", &work, image)
    }

    /// An image that writes so many bytes to an NFS server with dd.
    pub(super) fn dd(&self, image: &Path, port: u16, bytes: f64) -> Result<()> {
        let archive = self.skeleton(&["nfs", "nfsv4"])?;
        let before = format!(
            "mount -t nfs4 -o vers=4.2,addr={HOST4},clientaddr=10.0.2.15,port={port},proto=tcp,soft {HOST4}:{EXPORT} /mnt || mount"
        );
        let mebibytes = (bytes / 1_048_576.0).ceil();
        let work = format!("dd if=/dev/zero of=/mnt/file bs=1M count={mebibytes} conv=fsync");
        finish(archive, &before, &work, image)
    }

    fn skeleton(&self, more: &[&str]) -> Result<Archive> {
        let mut archive = Archive::new();
        for dir in ["dev", "proc", "sys", "run", "tmp", "mnt", "lib64"] {
            archive.directory(dir, 0o755)?;
        }
        archive.char_device("dev/console", 0o600, 5, 1)?;
        archive.char_device("dev/null", 0o666, 1, 3)?;
        let shell = ["bin/busybox", "usr/bin/busybox"].map(|path| self.busybox.join(path));
        let shell = shell.iter().find(|path| path.is_file());
        archive.file(
            SHELL,
            0o755,
            read(shell.context("the package holds no busybox")?)?,
        )?;
        archive.symlink("bin/sh", "busybox")?;
        let wanted: Vec<_> = ["virtio_net"]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect();
        let wishes = Wishes {
            modules: &wanted,
            ..Wishes::default()
        };
        let index = Index::read(std::slice::from_ref(&self.modules))?;
        let mut list = String::new();
        for module in modules::close(&index, &wishes)?.load {
            let path = format!("lib/modules/{}.ko", module.name);
            list.push_str(&format!("insmod /{path}\n"));
            archive.file(&path, 0o644, module.bytes)?;
        }
        archive.file("modules", 0o644, list.into_bytes())?;
        Ok(archive)
    }
}

/// Adds the script: what comes before, and what is timed.
fn finish(mut archive: Archive, before: &str, work: &str, image: &Path) -> Result<()> {
    let script = format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 16777216 > /proc/sys/vm/dirty_bytes
. /modules
ip link set lo up
for link in /sys/class/net/e*; do ip link set ${{link##*/}} up; ip addr add 10.0.2.15/24 dev ${{link##*/}}; done
{before}
sleep 1
from=$(cut -d' ' -f1 /proc/uptime)
{work}
code=$?
to=$(cut -d' ' -f1 /proc/uptime)
echo \"<1>{TOOK}$from $to $code\" > /dev/kmsg
sync
reboot -f
"
    );
    archive.file("init", 0o755, script.into_bytes())?;
    fs::write(image, archive.to_bytes())
        .with_context(|| format!("cannot write {}", image.display()))
}

/// What the script said.
pub(super) fn seconds(run: &Run) -> Result<f64> {
    let said = run
        .lines
        .iter()
        .find_map(|line| Some(line.text.split_once(TOOK)?.1.to_owned()));
    let said = said.context("the console does not say how long it took")?;
    let numbers: Vec<f64> = said
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers.as_slice() {
        [from, to, 0.0] if to > from => Ok(to - from),
        _ => anyhow::bail!("the other's capture failed: {said}"),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
