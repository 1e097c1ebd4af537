//! Whether the server behind a mount still answers once a capture to it has failed: each call on a dead one costs its whole patience,
//! which the next target needs.

use crate::target::Reached;
use nix::mount::{MntFlags, umount2};
use nix::sys::statfs::{NFS_SUPER_MAGIC, statfs};
use std::path::Path;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

/// How long a server may take to say how full its file system is, which it always knows.
const PATIENCE: Duration = Duration::from_secs(3);

/// Takes a mount away whose server is silent, so that whoever waits for it, a step that could not be killed for one, waits no longer.
///
/// # Errors
/// That it does not answer.
pub(super) fn still(reached: &Reached) -> Result<(), String> {
    let Reached::Mounted(mounted) = reached else {
        return Ok(());
    };
    if !mounted.is_remote() || answers(&mounted.point) {
        return Ok(());
    }
    // Ends the calls that wait; then nobody finds it any more.
    let _ = umount2(&mounted.point, MntFlags::MNT_FORCE);
    let _ = umount2(&mounted.point, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH);
    Err(format!(
        "{}: the server does not answer any more",
        mounted.node.display()
    ))
}

fn answers(point: &Path) -> bool {
    let (told, heard) = mpsc::channel();
    let asked = point.to_owned();
    // It is left behind when there is no answer: the end of the step is its end.
    let ask = move || statfs(&asked).is_ok_and(|fs| fs.filesystem_type() == NFS_SUPER_MAGIC);
    let asking = Builder::new().spawn(move || told.send(ask()));
    // Who cannot ask finds out in another way.
    asking.is_err() || heard.recv_timeout(PATIENCE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Mounted;

    #[test]
    fn only_servers_are_asked() {
        let mounted = |point: &Path, fs: &str| {
            Reached::Mounted(Mounted {
                point: point.into(),
                node: "192.0.2.7:/export".into(),
                fs: fs.into(),
                ..Mounted::default()
            })
        };
        // Nothing is mounted there, as when the mount was taken away.
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(still(&Reached::Console), Ok(()));
        assert_eq!(still(&mounted(empty.path(), "ext4")), Ok(()));
        let why = still(&mounted(empty.path(), "nfs 4.2")).unwrap_err();
        assert_eq!(
            why,
            "192.0.2.7:/export: the server does not answer any more"
        );
    }
}
