//! What an error number of `kexec_file_load` means here, and what to do about it.
//!
//! Source: kernel/kexec_file.c, kernel/kexec_core.c, arch/x86/kernel/kexec-bzimage64.c, Linux 5.10 to 7.2.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::Kernel;

/// Bit of `CAP_SYS_BOOT` in the effective set.
const CAP_SYS_BOOT: u32 = 22;

/// What is known when the kernel refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kernel image.
    pub kernel: String,
    /// Memory that it needs while it unpacks itself.
    pub init_size: u64,
    /// Size of the image.
    pub image: u64,
    /// Size of the reservation.
    pub reserved: u64,
    /// Mode of lockdown, unless it is `none`.
    pub lockdown: Option<String>,
    /// `kernel.kexec_load_disabled`.
    pub disabled: bool,
    /// `kernel.kexec_load_limit_panic` is used up.
    pub limit_reached: bool,
    /// May this process load kernels at all?
    pub privileged: bool,
}

impl Facts {
    /// What the host says of itself.
    #[must_use]
    pub fn of_host(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        Self {
            lockdown: lockdown(&read("sys/kernel/security/lockdown")),
            disabled: read("proc/sys/kernel/kexec_load_disabled").trim() == "1",
            limit_reached: read("proc/sys/kernel/kexec_load_limit_panic").trim() == "0",
            privileged: privileged(&read("proc/self/status")),
            ..Self::default()
        }
    }

    pub(super) fn collect(root: &Path, kernel: &Kernel, image: u64, reserved: u64) -> Self {
        Self {
            kernel: kernel.path.display().to_string(),
            init_size: kernel.header.init_size.into(),
            image,
            reserved,
            ..Self::of_host(root)
        }
    }
}

/// One sentence: what was found, and what to do.
#[must_use]
pub fn explain(err: &io::Error, facts: &Facts) -> String {
    let kernel = &facts.kernel;
    match Errno::from_raw(err.raw_os_error().unwrap_or(0)) {
        Errno::EPERM | Errno::EACCES => permission(facts),
        Errno::ENOSYS => "this kernel has no kexec_file_load(2): it was built without CONFIG_KEXEC_FILE; use a kernel that has it".into(),
        Errno::ENODATA => signature(format!("{kernel} is not signed")),
        Errno::EKEYREJECTED | Errno::ENOKEY | Errno::EBADMSG | Errno::ELIBBAD | Errno::ENOPKG => {
            signature(format!("the signature of {kernel} is not accepted ({err})"))
        }
        Errno::EADDRNOTAVAIL => format!(
            "the reservation of {} MiB is too small: {kernel} needs {} MiB in one piece to unpack itself, the image {} MiB, and the \
             capture kernel room to work; reserve more with crashkernel= ({}M is a good start) and reboot",
            mib(facts.reserved), mib(facts.init_size), mib(facts.image), suggestion(facts)
        ),
        Errno::ENOEXEC => format!("{kernel} is no kernel image that this kernel can load; name a bzImage with --kernel"),
        Errno::ENOMEM | Errno::EFBIG => format!(
            "the image of {} MiB or {kernel} is too large ({err}): the running kernel holds both once more in its own memory while \
             it loads them; free some memory or build a smaller image",
            mib(facts.image)
        ),
        Errno::EBUSY => "another process is loading a kernel, or one is being started, right now; try again".into(),
        Errno::EINVAL => format!(
            "the running kernel doesn't take {kernel} with this command line ({err}); its log may say why: look for kexec in dmesg"
        ),
        _ => format!("kexec_file_load of {kernel} failed: {err}; the kernel's log may say why: look for kexec in dmesg"),
    }
}

/// What is said of a signature that is missing or no good.
fn signature(fault: String) -> String {
    format!(
        "{fault}: under Secure Boot or CONFIG_KEXEC_SIG_FORCE the capture kernel must be signed with a key that the running kernel \
         trusts; use the distribution's own kernel image, or sign yours (docs/capture-kernel.md says how)"
    )
}

fn permission(facts: &Facts) -> String {
    if !facts.privileged {
        return "loading a kernel needs CAP_SYS_BOOT: run this as root on the host, not in a container".into();
    }
    if facts.disabled {
        return "kernel.kexec_load_disabled is 1, which forbids loading kernels until the next boot: arm before it is set, or find \
                out what sets it (look in /etc/sysctl.d)"
            .into();
    }
    if facts.limit_reached {
        return "kernel.kexec_load_limit_panic is 0: no more capture kernel may be loaded until the next boot".into();
    }
    if let Some(mode) = &facts.lockdown {
        return unsigned(&facts.kernel, mode);
    }
    "the kernel forbids loading a kernel (EPERM): a security module may be the reason; look in the kernel's log".into()
}

/// What is said of a kernel that a locked-down one does not take.
pub(super) fn unsigned(kernel: &str, mode: &str) -> String {
    format!(
        "the kernel is locked down (mode {mode}) and takes only signed kernels: {kernel} has no signature that it trusts; use the \
         distribution's own kernel image, or sign yours (docs/capture-kernel.md says how)"
    )
}

/// `none [integrity] confidentiality` → `integrity`.
fn lockdown(text: &str) -> Option<String> {
    let mode = text.split_once('[')?.1.split_once(']')?.0;
    (mode != "none").then(|| mode.to_owned())
}

/// Without `/proc` the answer is yes: then this is no reason to give.
fn privileged(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_none_or(|set| set >> CAP_SYS_BOOT & 1 == 1)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Twice the kernel's own need and the image, in steps of 32 MiB, at least 128.
fn suggestion(facts: &Facts) -> u64 {
    (2 * (mib(facts.init_size) + mib(facts.image)))
        .next_multiple_of(32)
        .max(128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            kernel: "/boot/vmlinuz".into(),
            init_size: 54 << 20,
            image: 3 << 20,
            reserved: 48 << 20,
            privileged: true,
            ..Facts::default()
        }
    }

    fn text(errno: Errno, facts: &Facts) -> String {
        explain(&io::Error::from_raw_os_error(errno as i32), facts)
    }

    #[test]
    fn each_reason_of_eperm() {
        assert!(
            text(
                Errno::EPERM,
                &Facts {
                    privileged: false,
                    ..facts()
                }
            )
            .contains("CAP_SYS_BOOT")
        );
        assert!(
            text(
                Errno::EPERM,
                &Facts {
                    disabled: true,
                    ..facts()
                }
            )
            .contains("kexec_load_disabled is 1")
        );
        assert!(
            text(
                Errno::EPERM,
                &Facts {
                    limit_reached: true,
                    ..facts()
                }
            )
            .contains("kexec_load_limit_panic")
        );
        assert!(
            text(
                Errno::EPERM,
                &Facts {
                    lockdown: Some("integrity".into()),
                    ..facts()
                }
            )
            .contains("mode integrity")
        );
        assert!(text(Errno::EPERM, &facts()).contains("security module"));
    }

    #[test]
    fn numbers_of_a_small_reservation() {
        let text = text(Errno::EADDRNOTAVAIL, &facts());
        assert!(
            text.contains("48 MiB is too small")
                && text.contains("needs 54 MiB")
                && text.contains("128M"),
            "{text}"
        );
    }

    #[test]
    fn every_errno_has_its_sentence() {
        for errno in [
            Errno::ENOSYS,
            Errno::ENOKEY,
            Errno::ENOEXEC,
            Errno::ENOMEM,
            Errno::EBUSY,
            Errno::EINVAL,
            Errno::EIO,
        ] {
            assert!(text(errno, &facts()).len() > 40, "{errno}");
        }
        assert!(text(Errno::EIO, &facts()).contains("Input/output error"));
        assert!(text(Errno::ENODATA, &facts()).starts_with("/boot/vmlinuz is not signed: "));
        assert!(text(Errno::ENOKEY, &facts()).contains("is not accepted (Required key"));
    }

    #[test]
    fn host_facts() {
        assert_eq!(
            lockdown("none [integrity] confidentiality\n"),
            Some("integrity".into())
        );
        assert_eq!(lockdown("[none] integrity confidentiality\n"), None);
        assert!(privileged("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!privileged("CapEff:\t0000000000000000\n"));
        assert!(privileged(""));
    }
}
