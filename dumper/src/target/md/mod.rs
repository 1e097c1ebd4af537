//! RAID1 arrays of md without mdadm: members are known by their superblocks, and the kernel is told of them through sysfs.
//!
//! Upstream: `include/uapi/linux/raid/md_p.h`, `Documentation/admin-guide/md.rst`, Linux 5.10 to 7.2. The kernel itself reads the
//! superblocks, keeps bitmap and event counts as in production, and marks a member that is not there. An array is started
//! `read-auto`: as long as nobody writes to it, it is not written to; and it does not resync here, which would take the dump's time.

mod assemble;
mod superblock;

pub use assemble::{Array, arrays, start, stop_all};
pub use superblock::Member;

pub(super) use superblock::member;
