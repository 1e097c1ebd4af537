//! Where a dump goes: the target's name, its device, its mount, its directory, and the way of a file from its incomplete to its
//! final name.

pub mod beacon;
#[cfg(any(feature = "ssh", feature = "s3"))]
mod cipher;
mod container;
mod dumpdir;
mod file;
mod input;
mod limited;
pub mod lvm;
pub mod md;
mod name;
mod nfs;
mod paced;
mod place;
pub mod probe;
pub mod raw;
mod reached;
mod scan;
mod signature;
mod spec;
mod split;
#[cfg(feature = "ssh")]
pub mod ssh;
mod stack;
mod superblock;
#[cfg(feature = "s3")]
pub mod web;

pub use container::Container;
pub use dumpdir::{DumpDir, FileOut};
pub use file::{Mounted, TargetError, mount, mount_virtiofs, wait_for_device};
pub use input::FileIn;
pub use limited::{Limited, Nowhere, Roomy};
pub use name::{dir_name, utc};
pub use nfs::Export;
pub use paced::Paced;
pub use place::{Manners, Part, Pending, Place, Sequence};
pub use reached::{Access, Reached};
pub use signature::occupant;
pub use spec::{Device, Kind, NfsOptions, SpecError, SshWay, TargetSpec, Transport};
pub use split::{SplitDir, open_joined, parts_of};
pub use stack::assemble_device;
