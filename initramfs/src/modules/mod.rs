//! A kernel's modules: which there are, what each needs, in which order they are loaded.
//!
//! Works on an installed kernel as well as on one that was only unpacked from its package (no `modules.dep`, no
//! `modules.alias`): everything is read from the modules themselves. There is no modprobe in the capture image, so what the
//! kernel would ask it for at run time is loaded beforehand too.

mod closure;
mod elf;
mod implied;
mod index;
mod modinfo;
mod options;

pub use closure::{Closure, Module, Wishes, close};
pub use elf::section;
pub use index::{Index, Resolved};
pub use modinfo::{ModInfo, normalize};
pub use options::{DEFAULT_DIRS, Options};

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::decompress::DecompressError;

/// Why the modules of an image can't be chosen.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// No directory, or not readable.
    #[error("module directory {}: {cause}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Neither a module nor built in.
    #[error("module {name} ({wanted_by}) is neither built in nor found in {searched}; {hint}")]
    Missing {
        /// Its name.
        name: String,
        /// Who asked for it.
        wanted_by: String,
        /// The directories.
        searched: String,
        /// What to do.
        hint: &'static str,
    },
    /// Modules that use each other's symbols can't be loaded in any order.
    #[error(
        "module {0} depends on itself through its dependencies: the modules in the directory don't belong together"
    )]
    Cycle(String),
    /// Reading or decompressing a module failed.
    #[error(transparent)]
    File(#[from] DecompressError),
    /// No ELF file with a `.modinfo` section.
    #[error("{} is no kernel module (no .modinfo section in a 64-bit little-endian ELF file)", .0.display())]
    NoModule(PathBuf),
}
