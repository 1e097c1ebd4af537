//! The dead kernel's memory: an ELF vmcore (`/proc/vmcore` or a file), its notes and its physical memory.

use crate::addr::PhysAddr;

/// Why bytes could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {len} bytes at physical {addr}: {why}")]
pub struct ReadError {
    /// First byte asked for.
    pub addr: PhysAddr,
    /// Number of bytes asked for.
    pub len: usize,
    /// What stood in the way.
    pub why: ReadFault,
}

/// The kinds of read faults.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// No segment of the vmcore holds the address.
    #[error("not in the vmcore")]
    Hole,
    /// The vmcore file gave an error.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Physical memory of the dead kernel: the only way from an address to bytes.
pub trait PhysMem {
    /// Fills `buf` with the bytes at physical `addr`.
    ///
    /// # Errors
    /// When any byte is in no segment or cannot be read; `buf` is then unspecified.
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError>;

    /// A little-endian `u64` at `addr`.
    ///
    /// # Errors
    /// As [`PhysMem::read`].
    fn read_u64(&self, addr: PhysAddr) -> Result<u64, ReadError> {
        let mut b = [0; 8];
        self.read(addr, &mut b)?;
        Ok(u64::from_le_bytes(b))
    }
}
