//! Syncs and unmounts the targets.

use super::{Context, End, RUN};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::fs;

pub(super) fn run(_: &Context) -> Result<End, String> {
    nix::unistd::sync();
    let entries = fs::read_dir(RUN).into_iter().flatten().flatten();
    let mut points: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    points.sort();
    let mut busy = Vec::new();
    for point in points.iter().rev() {
        match umount2(point, MntFlags::empty()) {
            // Never mounted.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => {
                // A child that could not be killed may hold it; its data are synced.
                let _ = umount2(point, MntFlags::MNT_DETACH);
                busy.push(format!("{}: {}", point.display(), errno.desc()));
            }
        }
    }
    if busy.is_empty() {
        Ok(End::Done)
    } else {
        Err(format!("cannot unmount {}", busy.join(", ")))
    }
}
