//! A QEMU virtual machine as a value.
//!
//! [`Machine`] says what the machine is (pure data, turned into arguments by [`args`]), [`Vm`] is one that runs: its console is read
//! line by line with deadlines, and the process ends when the value is dropped. [`disk`] makes ext4 disks and reads them back
//! without root rights, [`accel`] finds by a real boot which accelerator works, [`outcome`] tells a guest that died by itself
//! from a failed capture. Nothing here knows what a dump is.

pub mod accel;
pub mod arch;
pub mod args;
pub mod disk;
pub mod net;
pub mod outcome;
mod probe;
mod qmp;
mod tool;
pub mod vm;

pub use accel::Accel;
pub use arch::Arch;
pub use args::{Bus, Drive, Machine};
pub use disk::Disk;
pub use net::Nic;
pub use outcome::Outcome;
pub use tool::{find as find_tool, run as run_tool};
pub use vm::{Line, Vm};
