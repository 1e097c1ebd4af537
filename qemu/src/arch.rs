//! The architecture of a machine: which QEMU it needs, its board, processor and console.
//!
//! QEMU 7.2 and newer: `q35` and `virt`.

use crate::Accel;

/// What a guest's instructions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86_64 on a q35 board.
    X86,
    /// arm64 on the board `virt`.
    Arm64,
}

impl Arch {
    /// QEMU's program.
    pub fn program(self) -> &'static str {
        match self {
            Self::X86 => "qemu-system-x86_64",
            Self::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The kernel's name of the serial console.
    pub fn console(self) -> &'static str {
        match self {
            Self::X86 => "ttyS0",
            Self::Arm64 => "ttyAMA0",
        }
    }

    /// Whether this host has the same architecture, so that its processor may run the guest.
    pub fn is_host(self) -> bool {
        match self {
            Self::X86 => cfg!(target_arch = "x86_64"),
            Self::Arm64 => cfg!(target_arch = "aarch64"),
        }
    }

    /// QEMU's arguments for the board. The newest interrupt controller of `virt`: the capture kernel resets it.
    pub(crate) fn board(self) -> &'static str {
        match self {
            Self::X86 => "-machine q35",
            Self::Arm64 => "-machine virt,gic-version=max",
        }
    }

    /// The processor when nothing else is said. `max` has 5-level page tables on x86_64, 52-bit addresses on arm64, where the
    /// architecture's own pointer authentication would cost TCG half of its speed. Without `cmpxchg16b`, whose emulation kills 6.12
    /// guests of QEMU 7.2, x86_64 guests live.
    pub(crate) fn processor(self, accel: Accel) -> &'static str {
        match (self, accel) {
            (_, Accel::Kvm) => "host",
            (Self::X86, Accel::Tcg) => "max,-cx16",
            (Self::Arm64, Accel::Tcg) => "max,pauth-impdef=on",
        }
    }
}
