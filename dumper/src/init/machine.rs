//! What PID 1 does to the capture kernel: mounts, settings, signals, memory figures, the final action. Allocates nothing.

use super::log::{drain, say};
use super::text::Text;
use crate::config::FinalAction;
use crate::procfs::{self, read_into};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::SigSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Mounts `/proc` unless it is there. True when it was mounted.
pub(super) fn mount_proc() -> bool {
    !Path::new("/proc/self").exists() && mount_fs("proc", "/proc", "").is_ok()
}

/// Undoes [`mount_proc`].
pub(super) fn unmount_proc() {
    let _ = umount2("/proc", MntFlags::MNT_DETACH);
}

/// Mounts the file systems of the kernel and a tmpfs on `/run`. What fails is left to the step that misses it.
pub(super) fn mount_all() {
    mount_proc();
    let _ = mount_fs("devtmpfs", "/dev", "mode=0755");
    let _ = mount_fs("sysfs", "/sys", "");
    let _ = mount_fs("tmpfs", "/run", "mode=0700");
}

fn mount_fs(fs: &str, at: &str, data: &str) -> Result<(), Errno> {
    let _ = nix::unistd::mkdir(at, nix::sys::stat::Mode::S_IRWXU);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    // The binary itself may be needed from no mounted file system: nothing here has to be executable.
    match mount(Some(fs), at, Some(fs), flags, Some(data)) {
        Err(Errno::EBUSY) => Ok(()),
        done => done,
    }
}

/// Settings for a machine that does nothing but write a dump: little dirty page cache, every line of ours in the kernel log, and
/// a restart when this kernel panics too, or when PID 1 ends.
pub(super) fn settle() {
    limit_dirty(0, u64::MAX);
    set("/proc/sys/vm/panic_on_oom", "0");
    set("/proc/sys/kernel/printk_devkmsg", "on");
    let mut text = [0; 16];
    if read_into("/proc/sys/kernel/panic", &mut text).is_some_and(|t| t.trim() == "0") {
        set("/proc/sys/kernel/panic", "1");
    }
    let _ = set_cad_enabled(false);
    let _ = SigSet::all().thread_block();
}

/// Dirty page cache from which on a writer waits, in kB.
const DIRTY_KB: u64 = 16 << 10;

/// Lets a capture have its share of dirty page cache beside what is there already: a disk that takes nothing any more keeps its pages
/// dirty for ever, and who writes to a sound one would wait for it.
pub(super) fn spare_stuck() {
    if let (Some(stuck), Some((_, available))) = (procfs::dirty_kb(), procfs::memory_kb())
        && stuck > DIRTY_KB / 16
    {
        limit_dirty(stuck, available);
    }
}

fn limit_dirty(stuck_kb: u64, available_kb: u64) {
    let share = share_kb(stuck_kb, available_kb);
    let limits = [
        ("dirty_bytes", share),
        ("dirty_background_bytes", share / 4),
    ];
    for (name, kb) in limits {
        let path = Text::<64>::of(format_args!("/proc/sys/vm/{name}"));
        let bytes = Text::<24>::of(format_args!("{}", (stuck_kb + kb) << 10));
        set(path.as_str(), bytes.as_str());
    }
}

/// What a writer may have beside what is stuck: the kernel counts stuck pages as available, and a small machine needs some.
fn share_kb(stuck_kb: u64, available_kb: u64) -> u64 {
    let free = available_kb.saturating_sub(stuck_kb);
    (free / 4).clamp(DIRTY_KB / 2, DIRTY_KB)
}

fn set(path: &str, value: &str) {
    let _ = File::options()
        .write(true)
        .open(path)
        .and_then(|mut f| f.write_all(value.as_bytes()));
}

/// The largest resident set of any child that has ended, in kB.
pub(super) fn peak_rss_kb() -> u64 {
    max_rss_kb(UsageWho::RUSAGE_CHILDREN)
}

/// PID 1's own largest resident set, in kB.
pub(super) fn own_rss_kb() -> u64 {
    max_rss_kb(UsageWho::RUSAGE_SELF)
}

fn max_rss_kb(who: UsageWho) -> u64 {
    getrusage(who)
        .ok()
        .and_then(|u| u64::try_from(u.max_rss()).ok())
        .unwrap_or(0)
}

/// How long reboot(2) may take before the sysrq way is tried beside it.
const REBOOT_PATIENCE: Duration = Duration::from_secs(15);

/// How long a sysrq key may take: `o` also asks the drivers.
const SYSRQ_PATIENCE: Duration = Duration::from_secs(5);

/// The end: when nothing else works, that of PID 1.
pub(super) fn final_action(action: FinalAction) -> ! {
    say!("final action: {}", action.name());
    drain(Duration::from_millis(500));
    let mode = match action {
        FinalAction::Reboot => RebootMode::RB_AUTOBOOT,
        FinalAction::Poweroff => RebootMode::RB_POWER_OFF,
        FinalAction::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    if action != FinalAction::Halt {
        // reboot(2) asks every driver to shut down, and a driver can hang.
        let after = || {
            std::thread::sleep(REBOOT_PATIENCE);
            for key in last_resort(action) {
                press(key);
            }
            0
        };
        // Without memory for it a watchdog is left, which nobody feeds any more.
        let _ = super::child::patiently(
            || crate::sys::process::fork_with(after),
            || std::thread::sleep(Duration::from_millis(100)),
        );
    }
    let Err(errno) = reboot(mode);
    say!(
        "final action {} failed ({}), the way of last resort: sysrq",
        action.name(),
        errno.desc()
    );
    drain(Duration::from_millis(500));
    for key in last_resort(action) {
        press(key);
    }
    // Nothing else is left: the end of PID 1 is a panic, and that restarts the machine.
    std::process::abort()
}

/// The sysrq keys that end the machine without reboot(2), in order: one that is to be off is only restarted when that fails.
const fn last_resort(action: FinalAction) -> &'static [&'static str] {
    match action {
        FinalAction::Poweroff => &["o", "b"],
        FinalAction::Reboot | FinalAction::Halt => &["b"],
    }
}

/// Presses a sysrq key and gives it time.
fn press(key: &str) {
    set("/proc/sysrq-trigger", key);
    std::thread::sleep(SYSRQ_PATIENCE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_disk_takes_nothing_of_the_share() {
        assert_eq!(share_kb(0, u64::MAX), DIRTY_KB);
        assert_eq!(share_kb(16 << 10, 90 << 10), DIRTY_KB);
        assert_eq!(share_kb(16 << 10, 60 << 10), 11 << 10);
        assert_eq!(share_kb(16 << 10, 20 << 10), DIRTY_KB / 2);
    }

    #[test]
    fn off_is_tried_before_a_restart() {
        assert_eq!(last_resort(FinalAction::Poweroff), ["o", "b"]);
        assert_eq!(last_resort(FinalAction::Reboot), ["b"]);
    }
}
