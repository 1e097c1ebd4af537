//! Which accelerator works, found by a real boot of the kernel in use.
//!
//! `/dev/kvm` may exist and still fail with a stock kernel ("KVM internal error"), in nested or shadowed virtualisation. So KVM is
//! taken when a boot to user mode succeeds with it, else TCG. The finding is kept in a file for each kernel and QEMU version.

use crate::vm::Event;
use crate::{Machine, Vm, probe, tool};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a boot with KVM may take before it counts as failed; a working one needs 1–2 s.
const KVM_LIMIT: Duration = Duration::from_secs(20);
/// The same for TCG, on a loaded machine.
const TCG_LIMIT: Duration = Duration::from_secs(90);

/// How the guest's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// By the processor.
    Kvm,
    /// By QEMU's translator.
    Tcg,
}

impl Accel {
    /// QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Kvm, Self::Tcg]
            .into_iter()
            .find(|accel| accel.name() == text.trim())
    }
}

/// The accelerator for `kernel`, whose release is `name`: from a file in `cache`, else by booting. `say` hears one line about what was found.
///
/// # Errors
/// When QEMU is missing or the kernel boots with no accelerator.
pub fn choose(kernel: &Path, name: &str, cache: &Path, say: &dyn Fn(&str)) -> Result<Accel> {
    let work = cache.join(name);
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let known = work.join(format!("qemu-{}", version()?));
    if let Some(accel) = fs::read_to_string(&known)
        .ok()
        .as_deref()
        .and_then(Accel::parse)
    {
        return Ok(accel);
    }
    let accel = find(kernel, name, &work, say)?;
    fs::write(&known, accel.name()).with_context(|| format!("cannot write {}", known.display()))?;
    Ok(accel)
}

/// Tries KVM where the device exists, then TCG.
fn find(kernel: &Path, name: &str, work: &Path, say: &dyn Fn(&str)) -> Result<Accel> {
    let why = if !Path::new("/dev/kvm").exists() {
        "there is no /dev/kvm".to_owned()
    } else {
        match boots(kernel, Accel::Kvm, work, KVM_LIMIT)? {
            None => {
                say(&format!("accelerator: {name} runs with KVM"));
                return Ok(Accel::Kvm);
            }
            Some(why) => format!("/dev/kvm exists, but the kernel does not boot with it ({why})"),
        }
    };
    // One repetition: TCG of QEMU 7.2 kills a guest now and then.
    let mut last = String::new();
    for _ in 0..2 {
        match boots(kernel, Accel::Tcg, work, TCG_LIMIT)? {
            None => {
                say(&format!("accelerator: {name} runs with TCG, as {why}"));
                return Ok(Accel::Tcg);
            }
            Some(why) => last = why,
        }
    }
    bail!(
        "the kernel {} boots neither with KVM ({why}) nor with TCG ({last})",
        kernel.display()
    )
}

/// Boots to user mode: `None` when it gets there, else what stood in the way.
fn boots(kernel: &Path, accel: Accel, work: &Path, limit: Duration) -> Result<Option<String>> {
    let initrd = work.join(format!("probe-{}.cpio", std::process::id()));
    fs::write(&initrd, probe::archive())
        .with_context(|| format!("cannot write {}", initrd.display()))?;
    let mut machine = Machine::new(kernel, accel);
    machine.memory = 512;
    machine.initrd = Some(initrd.clone());
    let log = work.join(format!("{}.log", accel.name()));
    let found = reaches_user_mode(&machine, &log, limit);
    let _ = fs::remove_file(&initrd);
    found
}

fn reaches_user_mode(machine: &Machine, log: &Path, limit: Duration) -> Result<Option<String>> {
    let mut vm = Vm::start(machine, log)?;
    let deadline = Instant::now() + limit;
    loop {
        match vm.next(deadline)? {
            Event::Line(line) if line.text.contains(probe::WORD) => return Ok(None),
            Event::Line(line) if fatal(&line.text) => return Ok(Some(line.text)),
            Event::Line(_) => {}
            Event::Exit(status) => return Ok(Some(format!("QEMU ended, {status}"))),
            Event::Timeout => return Ok(Some(format!("nothing for {} s", limit.as_secs()))),
        }
    }
}

/// Lines that end a probe at once.
fn fatal(text: &str) -> bool {
    [
        "KVM internal error",
        "failed to initialize kvm",
        "Could not access KVM",
        "Kernel panic",
        "double fault",
    ]
    .iter()
    .any(|word| text.contains(word))
}

/// QEMU's version as part of a file name, e.g. `7.2.22`.
fn version() -> Result<String> {
    let out = tool::run(
        Command::new(tool::find("qemu-system-x86_64")?).arg("--version"),
        &[0],
    )?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
        .context("`qemu-system-x86_64 --version` names no version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for accel in [Accel::Kvm, Accel::Tcg] {
            assert_eq!(Accel::parse(&format!("{}\n", accel.name())), Some(accel));
        }
        assert_eq!(Accel::parse("hvf"), None);
    }

    #[test]
    fn what_ends_a_probe() {
        assert!(fatal("qemu: KVM internal error. Suberror: 3"));
        assert!(fatal("[ 1.0] Kernel panic - not syncing: x"));
        assert!(!fatal("[ 0.0] Hypervisor detected: KVM"));
    }
}
