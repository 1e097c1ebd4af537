//! The makedumpfile that is compared with: which program reads a vmcore of an architecture, and what its version is known to do.

use super::known::Known;
use super::memory::Memory;
use crate::apt::Apt;
use crate::fetch::{self, Packaged};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// The architecture of a dead kernel: a makedumpfile reads vmcores of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arch {
    /// x86_64.
    X86_64,
    /// arm64.
    Arm64,
}

impl Arch {
    /// By its name in options and tables.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::X86_64, Self::Arm64]
            .into_iter()
            .find(|arch| arch.name() == name)
    }

    /// By the machine number of an ELF header.
    pub(super) fn of_machine(machine: u16) -> Option<Self> {
        match machine {
            62 => Some(Self::X86_64),
            183 => Some(Self::Arm64),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A makedumpfile that starts.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    program: Program,
    /// As it says, such as `1.7.8`; `1.7.9++` is what follows 1.7.9.
    pub(super) version: String,
}

#[derive(Clone, Debug)]
enum Program {
    File(PathBuf),
    Packaged(Packaged),
}

impl Reference {
    /// A program by path.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn file(path: PathBuf) -> Result<Self> {
        Self::new(Program::File(path))
    }

    /// The newest packaged one; that of another architecture than the host's runs in an emulator.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub(super) fn packaged(apt: &Apt, arch: Arch) -> Result<Self> {
        let packaged = match arch {
            Arch::X86_64 => fetch::makedumpfile(apt)?,
            Arch::Arm64 => fetch::makedumpfile_arm64(apt)?,
        };
        Self::new(Program::Packaged(packaged))
    }

    fn new(program: Program) -> Result<Self> {
        let mut reference = Self {
            program,
            version: String::new(),
        };
        let out = qemu::run_tool(reference.command()?.arg("-v"), &[0])?;
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        reference.version = version(&text)
            .with_context(|| format!("it says no version: {text}"))?
            .to_owned();
        Ok(reference)
    }

    /// A command that starts it.
    pub(super) fn command(&self) -> Result<Command> {
        match &self.program {
            Program::File(path) => Ok(Command::new(path)),
            Program::Packaged(packaged) => packaged.command(),
        }
    }

    /// Why it is known to make no dump of this vmcore.
    pub(super) fn refuses(&self, memory: &Memory) -> Option<Known> {
        if memory.is_lpa2() {
            return Some(Known::Lpa2);
        }
        (memory.is_va52() && self.is_old()).then_some(Known::Va52)
    }

    /// A release of 1.7.9 or before.
    fn is_old(&self) -> bool {
        order(&self.version) < order("1.7.9++")
    }

    /// In what it differs from the rules that hold for every kernel.
    pub(super) fn quirks(&self) -> Vec<Known> {
        let mut quirks = vec![Known::Waiters, Known::SectionFlags];
        if self.is_old() {
            quirks.push(Known::TailPages);
        }
        quirks
    }
}

/// `1.7.8` in `makedumpfile: version 1.7.8 (released on …)`.
fn version(text: &str) -> Option<&str> {
    text.split_once("version ")?.1.split_whitespace().next()
}

/// The order of versions: numbers, then pluses for what follows a release.
fn order(version: &str) -> (Vec<u32>, usize) {
    let numbers = version.trim_end_matches('+');
    let parts = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.collect(), version.len() - numbers.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(
            version("makedumpfile: version 1.7.9++ (released on 20 Apr 2026)\n"),
            Some("1.7.9++")
        );
        assert!(order("1.7.9") < order("1.7.9++") && order("1.7.9++") < order("1.7.10"));
        assert!(order("1.7.10") < order("1.8.0"));
    }
}
