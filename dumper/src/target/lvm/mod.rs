//! Linear LVM volumes without lvm2: the metadata on the physical volumes, and the tables that the device-mapper makes volumes of.
//!
//! Upstream: LVM2 `lib/format_text/layout.h`, `lib/label/label.h`, `man lvmsystemid`, format `LVM2 001`; the text is what
//! `vgcfgbackup` writes. Only volumes that are plain runs of extents are activated. A volume of any other kind, one that others
//! are made of, and one whose physical volumes are not all there, is left alone.

mod activate;
mod disk;
mod group;
mod text;

pub use activate::{Activation, activate, remove_all};
pub use disk::Physical;
pub use group::{Group, Volume};

pub(super) use disk::physical;
pub(super) use group::mapped_name;
