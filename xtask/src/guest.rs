//! The production guest of the panic runs: its initramfs, its disk, and one run from boot to reset.
//!
//! `tests/guest` is its PID 1 and says what the `guest.*` words mean; `baredumpctl image` builds the capture image.

mod images;

use crate::build::Binaries;
use crate::fetch::Kernel;
use crate::workshop::{self, Job};
use anyhow::{Context, Result, bail};
use images::{capture_image, guest_image, raw_image, read};
use qemu::disk::{Entry, Ext4};
use qemu::outcome::{self, End};
use qemu::vm::Event;
use qemu::{Accel, Bus, Disk, Drive, Line, Machine, Nic, Outcome, Vm};
use std::borrow::Cow;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// UUID of the dump disk's file system.
pub(crate) const UUID: &str = "1bd2e1f5-7b0a-4c7e-9f6d-3c9a6f4b8d21";
/// Label of the dump disk's file system.
pub(crate) const LABEL: &str = "crash";
/// The line with which the guest says that it panics now on purpose.
pub(crate) const ASKED: &str = "guest: panicking now";
/// The panic line of a guest that panicked as asked.
pub(crate) const PANIC: &str = "Kernel panic - not syncing: sysrq triggered crash";
/// The guest's host name: what it takes when nothing else is said.
pub(crate) const HOST: &str = "guest";
/// The guest's machine id.
pub(crate) const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
/// The directory for dumps on the disk.
pub(crate) const DUMPS: &str = "/var/crash";

/// The second disk of a raw copy.
const RAW: &str = "vmcore.raw";

/// One run: which machine, what is in it, what it is told.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// Virtual CPUs.
    pub(crate) cpus: u32,
    /// NUMA nodes.
    pub(crate) nodes: u32,
    /// The reservation, as in `crashkernel=`.
    pub(crate) reservation: Cow<'static, str>,
    /// Words for the production kernel; `guest.*` words are for its PID 1.
    pub(crate) words: String,
    /// Words for the capture kernel.
    pub(crate) capture_words: Vec<String>,
    /// Its only console; none for the one of the kernel that panics, with all messages.
    pub(crate) capture_console: Option<&'static str>,
    /// `/etc/baredump.toml`.
    pub(crate) config: String,
    /// Modules for the capture image; empty for one without the module that it needs.
    pub(crate) capture_modules: Vec<String>,
    /// One of them whose start never ends.
    pub(crate) spins: Option<&'static str>,
    /// A module of the production kernel whose start is an oops, of which it dies.
    pub(crate) oopses: Option<&'static str>,
    /// File systems for the capture image.
    pub(crate) filesystems: Vec<String>,
    /// What the dump disk hangs on.
    pub(crate) bus: Bus,
    /// Size of the dump disk in MiB.
    pub(crate) disk: u64,
    /// Sizes in MiB of the drives besides it, `drive-0.raw`, …: /dev/vdb, ….
    pub(crate) drives: Vec<u64>,
    /// The last of them is there only in the workshop: it was pulled out before the panic.
    pub(crate) pulled: bool,
    /// There is no panic, nothing but the workshop, which has `modules` and baredumpctl then.
    pub(crate) only_workshop: bool,
    /// What the workshop does with disk and drives before the machine starts.
    pub(crate) before: String,
    /// What it does when the machine is done.
    pub(crate) after: String,
    /// MiB of the disk that are taken already.
    pub(crate) taken: u64,
    /// Capture with the guest's own raw copy of `/proc/vmcore` instead of baredump; see [`Run::raw_vmcore`].
    pub(crate) raw: bool,
    /// Capture with this initramfs, whatever it does, instead of baredump's.
    pub(crate) foreign: Option<PathBuf>,
    /// The kernel that captures; none for the one that panics.
    pub(crate) capture_kernel: Option<Kernel>,
    /// Memory in MiB that `extra` plugs in.
    pub(crate) plugged: u32,
    /// Modules that the production kernel has besides those for its disks.
    pub(crate) modules: &'static [&'static str],
    /// Network cards, of which only the capture kernel has drivers.
    pub(crate) nics: Vec<Nic>,
    /// More arguments for QEMU.
    pub(crate) extra: Vec<OsString>,
    /// QEMU's name of the processor; none for the one with everything.
    pub(crate) processor: Option<&'static str>,
    /// Deadline of the whole run.
    pub(crate) limit: Duration,
}

impl Default for Guest {
    /// The machine of the demonstration: 1 CPU, 1024 MB, 128 MB reserved, ext4 on virtio-blk.
    fn default() -> Self {
        Self {
            memory: 1024,
            cpus: 1,
            nodes: 0,
            reservation: "128M".into(),
            words: String::new(),
            capture_words: Vec::new(),
            capture_console: None,
            config: format!("targets = [\"file:UUID={UUID}:{DUMPS}\"]\n"),
            capture_modules: vec!["virtio_blk".into()],
            spins: None,
            oopses: None,
            filesystems: vec!["ext4".into()],
            bus: Bus::Virtio,
            disk: 1024,
            drives: Vec::new(),
            pulled: false,
            only_workshop: false,
            before: String::new(),
            after: String::new(),
            taken: 0,
            raw: false,
            foreign: None,
            capture_kernel: None,
            plugged: 0,
            modules: &[],
            nics: Vec::new(),
            extra: Vec::new(),
            processor: None,
            limit: Duration::from_secs(150),
        }
    }
}

/// A run that ended, its files in `dir`.
#[derive(Debug)]
pub(crate) struct Run {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The whole console.
    pub(crate) lines: Vec<Line>,
    /// How long the machine ran.
    pub(crate) took: Duration,
    /// Console log, disk, and what is read back.
    pub(crate) dir: PathBuf,
    disk: Disk,
}

impl Run {
    /// Replays the disk's journal and copies its dump directories out; their paths.
    ///
    /// # Errors
    /// When the disk cannot be read. A disk without dumps gives none.
    pub(crate) fn dumps(&self) -> Result<Vec<PathBuf>> {
        self.disk.recover()?;
        let Ok(entries) = self.disk.list(DUMPS) else {
            return Ok(Vec::new());
        };
        let mut dumps = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_dir()) {
            let to = self.dir.join(&entry.name);
            let files = self
                .disk
                .read_dir(&format!("{DUMPS}/{}", entry.name), &to)?;
            private(entry, 0o700)?;
            files.iter().try_for_each(|file| private(file, 0o600))?;
            dumps.push(to);
        }
        Ok(dumps)
    }

    /// The copy that a guest with [`Guest::raw`] made: the disk cut to what was written is the vmcore.
    ///
    /// # Errors
    /// When the console does not say that the copy is complete.
    pub(crate) fn raw_vmcore(&self) -> Result<PathBuf> {
        let bytes = self
            .lines
            .iter()
            .find_map(|line| {
                let (_, rest) = line.text.split_once("guest: raw copy complete ")?;
                rest.split(' ').next()?.parse::<u64>().ok()
            })
            .context("the console does not say that the raw copy is complete")?;
        let file = self.dir.join(RAW);
        fs::File::options()
            .write(true)
            .open(&file)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("cannot cut {}", file.display()))?;
        Ok(file)
    }

    /// Removes the disks, which are large; what was read back stays.
    pub(crate) fn forget_disk(&self) {
        let drives = (0..8).map(|number| format!("drive-{number}.raw"));
        for name in ["disk.raw", RAW]
            .map(str::to_owned)
            .into_iter()
            .chain(drives)
        {
            let _ = fs::remove_file(self.dir.join(name));
        }
    }

    /// Removes whatever is large: disks and dumps. Logs, reports and configurations stay.
    pub(crate) fn forget_dumps(&self) {
        forget_large(&self.dir);
    }
}

/// Larger files are dumps, or what they were in.
const LARGE: u64 = 4 << 20;

fn forget_large(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => forget_large(&entry.path()),
            Ok(metadata) if metadata.len() > LARGE => {
                let _ = fs::remove_file(entry.path());
            }
            _ => {}
        }
    }
}

/// Dumps hold secrets: nobody but root may look.
fn private(entry: &Entry, expected: u32) -> Result<()> {
    let mode = entry.mode & 0o7777;
    if mode != expected {
        bail!("{} has mode {mode:o}, expected {expected:o}", entry.name);
    }
    Ok(())
}

/// Boots the guest, lets it arm and panic, and waits for the end of the capture. `hear` gets every console line as it comes.
///
/// # Errors
/// When the images or QEMU cannot be made; whatever the guest does is an [`Outcome`].
pub(crate) fn run(
    guest: &Guest,
    kernel: &Kernel,
    binaries: &Binaries,
    accel: Accel,
    dir: &Path,
    hear: &mut dyn FnMut(&Line),
) -> Result<Run> {
    if guest.only_workshop {
        return errand(guest, kernel, binaries, accel, dir);
    }
    let initrd = dir.join("guest.cpio");
    let capture = if let Some(image) = &guest.foreign {
        ("boot/raw.img", read(image)?)
    } else if guest.raw {
        ("boot/raw.img", raw_image(kernel, binaries)?)
    } else {
        let image = capture_image(guest, kernel, binaries, dir)?;
        ("boot/capture.img", read(&image)?)
    };
    fs::write(&initrd, guest_image(guest, kernel, binaries, capture)?)
        .context("cannot write the guest's initramfs")?;
    let disk = make_disk(guest, dir)?;
    let mut machine = Machine::new(&kernel.vmlinuz, accel);
    machine.arch = kernel.arch;
    machine.processor = guest.processor.map(str::to_owned);
    machine.initrd = Some(initrd.clone());
    machine.memory = guest.memory;
    machine.cpus = guest.cpus;
    machine.nodes = guest.nodes;
    machine.drives = vec![Drive {
        bus: guest.bus,
        ..disk.drive("crash")
    }];
    if guest.raw {
        machine.drives.push(raw_drive(guest, dir)?);
    }
    for (number, size) in guest.drives.iter().enumerate() {
        machine.drives.push(more_drive(number, *size, dir)?);
    }
    let drives = machine.drives.clone();
    if !guest.before.is_empty() {
        let job = Job {
            name: "before",
            script: &guest.before,
            programs: &[&binaries.baredumpctl],
            ..Job::default()
        };
        workshop::run(kernel, accel, drives.clone(), dir, job)?;
    }
    if guest.pulled {
        machine.drives.pop();
    }
    machine.nics.clone_from(&guest.nics);
    machine.extra.clone_from(&guest.extra);
    machine.append = words(guest);
    let started = Instant::now();
    let mut vm = Vm::start(&machine, &dir.join("console.log"))?;
    let end = follow(&mut vm, guest.limit, hear)?;
    let took = started.elapsed();
    let outcome = outcome::judge(vm.lines(), ASKED, end);
    let lines = vm.lines().to_vec();
    drop(vm);
    let _ = fs::remove_file(&initrd);
    if !guest.after.is_empty() && outcome == Outcome::Finished {
        let job = Job {
            name: "after",
            script: &guest.after,
            ..Job::default()
        };
        workshop::run(kernel, accel, drives, dir, job)?;
    }
    Ok(Run {
        outcome,
        lines,
        took,
        dir: dir.to_path_buf(),
        disk,
    })
}

/// A run that is over when the workshop is done.
fn errand(
    guest: &Guest,
    kernel: &Kernel,
    binaries: &Binaries,
    accel: Accel,
    dir: &Path,
) -> Result<Run> {
    let disk = make_disk(guest, dir)?;
    let mut drives = vec![disk.drive("crash")];
    for (number, size) in guest.drives.iter().enumerate() {
        drives.push(more_drive(number, *size, dir)?);
    }
    let job = Job {
        name: "before",
        script: &guest.before,
        modules: guest.modules,
        programs: &[&binaries.baredumpctl],
    };
    workshop::run(kernel, accel, drives, dir, job)?;
    Ok(Run {
        outcome: Outcome::Finished,
        lines: Vec::new(),
        took: Duration::ZERO,
        dir: dir.to_path_buf(),
        disk,
    })
}

/// The production kernel's command line.
fn words(guest: &Guest) -> String {
    let raw = guest.raw || guest.foreign.is_some();
    let arm = if raw { "raw" } else { "1" };
    let mut words = format!(
        "crashkernel={} guest.arm={arm} {}",
        guest.reservation, guest.words
    );
    let capture = guest
        .capture_words
        .iter()
        .map(|word| format!("--append,{word}"));
    let mut capture: Vec<_> = capture.collect();
    match guest.capture_console {
        Some(console) => capture.push(format!("--remove,console,--append,console={console}")),
        // The judges read where the capture kernel starts.
        None if !raw => capture.push("--append,loglevel=7".into()),
        None => {}
    }
    if !capture.is_empty() {
        words.push_str(&format!(" guest.arm_args={}", capture.join(",")));
    }
    words
}

/// Reads the console to the end of the run.
fn follow(vm: &mut Vm, limit: Duration, hear: &mut dyn FnMut(&Line)) -> Result<End> {
    let mut deadline = Instant::now() + limit;
    loop {
        match vm.next(deadline)? {
            Event::Line(line) => {
                hear(&line);
                if outcome::hopeless(&line) {
                    // What follows is only for the log.
                    deadline = deadline.min(Instant::now() + Duration::from_secs(1));
                }
            }
            Event::Exit(status) => {
                return Ok(if status.success() {
                    End::Exited
                } else {
                    End::Failed
                });
            }
            Event::Timeout => return Ok(End::Deadline),
        }
    }
}

/// A disk of zeros with room for all of the memory.
fn raw_drive(guest: &Guest, dir: &Path) -> Result<Drive> {
    let file = dir.join(RAW);
    fs::File::create(&file)
        .and_then(|file| file.set_len(u64::from(guest.memory + guest.plugged) << 20))
        .with_context(|| format!("cannot make {}", file.display()))?;
    Ok(Drive {
        file,
        serial: "raw".into(),
        bus: Bus::Virtio,
    })
}

/// A drive besides the dump disk, of zeros if nobody has made it.
fn more_drive(number: usize, size: u64, dir: &Path) -> Result<Drive> {
    let file = dir.join(format!("drive-{number}.raw"));
    if !file.exists() {
        fs::File::create(&file)
            .and_then(|file| file.set_len(size << 20))
            .with_context(|| format!("cannot make {}", file.display()))?;
    }
    Ok(Drive {
        file,
        serial: format!("drive-{number}"),
        bus: Bus::Virtio,
    })
}

/// The dump disk, part of it taken when the run wants it full.
fn make_disk(guest: &Guest, dir: &Path) -> Result<Disk> {
    let content = dir.join("content");
    fs::create_dir_all(content.join("var/crash")).context("cannot make the disk's content")?;
    if guest.taken > 0 {
        let mebibytes = usize::try_from(guest.taken)? << 20;
        // Not zeros: mkfs would make a hole of them, which takes no space.
        fs::write(content.join("taken"), vec![0x5a; mebibytes])
            .context("cannot make the disk's content")?;
    }
    let how = Ext4 {
        size: guest.disk << 20,
        uuid: UUID,
        label: LABEL,
        content: Some(&content),
    };
    let disk = Disk::create(&dir.join("disk.raw"), &how)?;
    fs::remove_dir_all(&content).context("cannot remove the disk's content")?;
    Ok(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line() {
        let mut guest = Guest {
            words: "nokaslr".into(),
            ..Guest::default()
        };
        let arm = "guest.arm_args=--append,loglevel=7";
        assert_eq!(
            words(&guest),
            format!("crashkernel=128M guest.arm=1 nokaslr {arm}")
        );
        guest.capture_words = vec!["baredump.fault=capture:kill".into(), "a=b".into()];
        assert!(words(&guest).ends_with(
            " guest.arm_args=--append,baredump.fault=capture:kill,--append,a=b,--append,loglevel=7"
        ));
    }
}
