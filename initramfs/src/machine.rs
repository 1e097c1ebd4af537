//! Which processors a program, a module or a kernel is for, so that no image gets a PID 1 that its kernel cannot run.
//!
//! Source: elf(5), include/uapi/linux/elf-em.h.

use crate::kconfig::KernelConfig;

/// Value of `e_machine`, its name, and the option that kernels for it are built with.
const MACHINES: [(u16, &str, &str); 2] = [
    (62, "x86_64", "CONFIG_X86_64"),
    (183, "arm64", "CONFIG_ARM64"),
];
const E_MACHINE: usize = 18;

/// The machine of a little-endian 64-bit ELF file.
#[must_use]
pub fn of_elf(bytes: &[u8]) -> Option<u16> {
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let field = bytes.get(E_MACHINE..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

/// The machine that a kernel was configured for.
#[must_use]
pub fn of_config(config: &KernelConfig) -> Option<u16> {
    let found = MACHINES
        .iter()
        .find(|(.., option)| config.is_builtin(option));
    found.map(|(machine, ..)| *machine)
}

/// What people call it.
#[must_use]
pub fn name(machine: u16) -> String {
    let known = MACHINES.iter().find(|(number, ..)| *number == machine);
    known.map_or(format!("ELF machine {machine}"), |(_, name, _)| {
        (*name).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        assert_eq!(of_elf(&elf), None);
        elf.resize(64, 0);
        elf[E_MACHINE] = 183;
        assert_eq!(of_elf(&elf).map(name).as_deref(), Some("arm64"));
        assert_eq!(of_elf(b"#!/bin/sh and more of it"), None);
        assert_eq!(name(243), "ELF machine 243");
        let config = |text| of_config(&KernelConfig::parse(text, "config")).map(name);
        assert_eq!(
            config("CONFIG_64BIT=y\nCONFIG_ARM64=y\n").as_deref(),
            Some("arm64")
        );
        assert_eq!(config("CONFIG_X86_64=y\n").as_deref(), Some("x86_64"));
        assert_eq!(config("CONFIG_RISCV=y\n"), None);
    }
}
