//! Syncs and unmounts the targets: those on disks first, since a server that is gone answers nothing any more.

use super::mount::reached_fact;
use super::{Context, End, RUN, load};
use crate::target::{Reached, lvm, md};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn run(_: &Context) -> Result<End, String> {
    let (remote, local): (Vec<_>, Vec<_>) = points().into_iter().partition(|p| is_remote(p));
    let mut busy = Vec::new();
    for point in local.iter().rev() {
        busy.extend(unmount(point, true));
    }
    for point in remote.iter().rev() {
        busy.extend(unmount(point, false));
    }
    // Volumes may be on arrays; superblocks of arrays then say that they are clean.
    let volumes = lvm::remove_all().map_err(|e| format!("volumes: {e}"));
    busy.extend(volumes.err());
    busy.extend(md::stop_all().err());
    if busy.is_empty() {
        Ok(End::Done)
    } else {
        Err(format!("cannot unmount {}", busy.join(", ")))
    }
}

fn points() -> Vec<PathBuf> {
    let entries = fs::read_dir(RUN).into_iter().flatten().flatten();
    let mut points: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    points.sort();
    points
}

/// Whether a server is behind a mount point, `target-N`.
fn is_remote(point: &Path) -> bool {
    let name = point.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("target-")?.parse().ok());
    number.is_some_and(|number| {
        matches!(load(&reached_fact(number)), Ok(Reached::Mounted(mounted)) if mounted.is_remote())
    })
}

/// What is wrong, if it cannot be unmounted. Files of a server were synced when they got their names: it is not asked again.
fn unmount(point: &Path, sync: bool) -> Option<String> {
    if sync && let Ok(fd) = open(point, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = syncfs(fd);
    }
    let flags = if sync {
        MntFlags::empty()
    } else {
        MntFlags::MNT_FORCE
    };
    match umount2(point, flags) {
        // Never mounted.
        Ok(()) | Err(Errno::EINVAL) => None,
        Err(errno) => {
            // A child that could not be killed may hold it; its data are synced.
            let _ = umount2(point, MntFlags::MNT_DETACH | flags);
            Some(format!("{}: {}", point.display(), errno.desc()))
        }
    }
}
