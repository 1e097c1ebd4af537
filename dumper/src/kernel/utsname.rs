//! utsname: names of the system, host, release and machine.
//!
//! Upstream: `include/uapi/linux/utsname.h` (`struct new_utsname`, six fields of 65 bytes); `SYMBOL(init_uts_ns)` and
//! `OFFSET(uts_namespace.name)` (4 or 0 where it is not exported) say where.

use super::virt::VirtMem;
use crate::addr::VirtAddr;
use crate::vmcore::{Origin, VmcoreInfo};

/// Bytes of one field, the NUL included.
const FIELD: usize = 65;
/// Bytes of the whole struct.
pub const SIZE: usize = 6 * FIELD;

/// The raw struct.
#[derive(Clone, Debug)]
pub struct Utsname(pub [u8; SIZE]);

impl Utsname {
    /// Reads it. It is believed when sysname is "Linux" and each field ends in a NUL.
    ///
    /// # Errors
    /// A sentence.
    pub fn read(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<Self, String> {
        let namespace = info
            .symbol("init_uts_ns")
            .ok_or("VMCOREINFO lacks SYMBOL(init_uts_ns)")?;
        // Where the kernel does not say: behind a reference count before 5.11, else at the start.
        let Some(offset) = info.offset("uts_namespace.name") else {
            return Self::read_at(mem, namespace, 4).or_else(|_| Self::read_at(mem, namespace, 0));
        };
        Self::read_at(mem, namespace, offset as u64)
    }

    fn read_at(mem: &VirtMem<'_>, namespace: u64, offset: u64) -> Result<Self, String> {
        let mut raw = [0; SIZE];
        let at = VirtAddr::new(namespace)
            .checked_add(offset)
            .ok_or("SYMBOL(init_uts_ns) is nonsense")?;
        mem.read(at, &mut raw)
            .map_err(|e| format!("utsname: {e}"))?;
        let uts = Self(raw);
        if uts.field(0) != Some("Linux") || (0..6).any(|i| raw[i * FIELD + FIELD - 1] != 0) {
            return Err(format!("there is no utsname at virtual {at}"));
        }
        Ok(uts)
    }

    /// The one that a dump was written with, when its writer knew it.
    #[must_use]
    pub fn of_dump(origin: &Origin) -> Option<Self> {
        let uts = Self(origin.utsname);
        (uts.field(0) == Some("Linux")).then_some(uts)
    }

    /// The same with the name of the machine, where there is none: readers know the architecture by it.
    #[must_use]
    pub fn on(mut self, machine: &str) -> Self {
        if matches!(self.field(4), None | Some("Unknown" | "unknown")) {
            let field = &mut self.0[4 * FIELD..5 * FIELD];
            field.fill(0);
            let len = machine.len().min(FIELD - 1);
            field[..len].copy_from_slice(&machine.as_bytes()[..len]);
        }
        self
    }

    /// One for a kernel whose own cannot be read: just enough for readers to know the architecture.
    #[must_use]
    pub fn made_up(release: &str, machine: &str) -> Self {
        let mut raw = [0; SIZE];
        for (index, text) in [(0, "Linux"), (2, release), (3, "unknown"), (4, machine)] {
            let len = text.len().min(FIELD - 1);
            raw[index * FIELD..index * FIELD + len].copy_from_slice(&text.as_bytes()[..len]);
        }
        Self(raw)
    }

    /// Field `index` (0 sysname, 1 nodename, 2 release, 3 version, 4 machine, 5 domainname), if it is UTF-8 and not empty.
    #[must_use]
    pub fn field(&self, index: usize) -> Option<&str> {
        let raw = self.0.get(index * FIELD..(index + 1) * FIELD)?;
        let end = raw.iter().position(|b| *b == 0)?;
        std::str::from_utf8(&raw[..end])
            .ok()
            .filter(|s| !s.is_empty())
    }
}
