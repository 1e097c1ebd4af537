//! The capture image and its loader.
//!
//! [`modules`] knows a kernel's module directory and computes what must be loaded in which order, [`firmware`] finds what those
//! modules ask for, [`sysfs`] finds which drivers a device of the running machine needs, [`ext4`] what its file system needs,
//! [`network`] what leads to a server. [`claim`] claims a raw partition.
//! [`image`] puts it together as a [`cpio`] archive, [`compress`] shrinks it to what the capture kernel can unpack. [`cmdline`] builds
//! the capture kernel's command line and [`loader`] hands kernel, image and command line to the running kernel.

pub mod arm64_image;
pub mod bzimage;
pub mod claim;
pub mod cmdline;
pub mod compress;
pub mod cpio;
pub mod decompress;
pub mod estimate;
pub mod ext4;
pub mod firmware;
pub mod image;
pub mod kconfig;
pub mod loader;
pub mod machine;
pub mod memory;
pub mod modules;
pub mod mounts;
pub mod network;
pub mod pe;
mod refuse;
pub mod strip;
pub mod sysfs;
