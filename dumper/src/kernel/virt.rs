//! Reading the dead kernel's virtual memory.

use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{Mapping, PageTables, TranslateError};
use crate::vmcore::{PhysMem, ReadError};
use std::cell::Cell;

/// Why virtual memory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VirtError {
    /// No physical address.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// No bytes at the physical address.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It has just failed.
    #[error("the page at virtual {0} cannot be read")]
    Again(VirtAddr),
    /// The range wraps around the end of the address space.
    #[error("{len} bytes at virtual {addr} wrap around the address space")]
    Wraps {
        /// First byte asked for.
        addr: VirtAddr,
        /// Number of bytes.
        len: usize,
    },
}

/// Virtual memory of the dead kernel: page tables over physical memory. The last mapping is remembered, so that reading
/// through a large page costs one walk.
pub struct VirtMem<'a> {
    mem: &'a dyn PhysMem,
    tables: &'a dyn PageTables,
    last: Cell<Option<Mapping>>,
}

impl<'a> VirtMem<'a> {
    /// A view through `tables`.
    pub fn new(mem: &'a dyn PhysMem, tables: &'a dyn PageTables) -> Self {
        Self {
            mem,
            tables,
            last: Cell::new(None),
        }
    }

    /// The page tables that it goes through.
    #[must_use]
    pub fn tables(&self) -> &'a dyn PageTables {
        self.tables
    }

    /// The physical address of `addr`, and how many bytes from there on are contiguous.
    ///
    /// # Errors
    /// When it is not mapped.
    pub fn translate(&self, addr: VirtAddr) -> Result<(PhysAddr, u64), TranslateError> {
        if let Some(last) = self.last.get() {
            let within = addr.raw().wrapping_sub(last.start.raw());
            if within < last.size {
                return Ok((
                    PhysAddr::new((last.phys.raw() & !(last.size - 1)) | within),
                    last.size - within,
                ));
            }
        }
        let found = self.tables.translate(self.mem, addr)?;
        self.last.set(Some(found));
        Ok((found.phys, found.size - (addr.raw() - found.start.raw())))
    }

    /// Fills `buf` from virtual `addr`.
    ///
    /// # Errors
    /// When a page of the range is not mapped or cannot be read; `buf` is then unspecified.
    pub fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), VirtError> {
        let len = buf.len();
        let mut done = 0;
        while done < len {
            let at = addr
                .checked_add(done as u64)
                .ok_or(VirtError::Wraps { addr, len })?;
            let (phys, contiguous) = self.translate(at)?;
            let part = usize::try_from(contiguous)
                .unwrap_or(usize::MAX)
                .min(len - done);
            self.mem.read(phys, &mut buf[done..done + part])?;
            done += part;
        }
        Ok(())
    }

    /// A little-endian `u64` at `addr`.
    ///
    /// # Errors
    /// As [`VirtMem::read`].
    pub fn read_u64(&self, addr: VirtAddr) -> Result<u64, VirtError> {
        let mut b = [0; 8];
        self.read(addr, &mut b)?;
        Ok(u64::from_le_bytes(b))
    }
}

/// A buffered view of one array in virtual memory: records are read in blocks, so that neighbours cost nothing.
pub struct Window<'a, 'm> {
    mem: &'a VirtMem<'m>,
    base: VirtAddr,
    len: u64,
    block: Vec<u8>,
    at: Option<u64>,
    /// The block that could not be read last: its other records are not tried.
    failed: Option<u64>,
}

/// Bytes read ahead.
const BLOCK: u64 = 4096;

impl<'a, 'm> Window<'a, 'm> {
    /// A view of the `len` bytes at `base`.
    #[must_use]
    pub fn new(mem: &'a VirtMem<'m>, base: VirtAddr, len: u64) -> Self {
        Self {
            mem,
            base,
            len,
            block: Vec::new(),
            at: None,
            failed: None,
        }
    }

    /// Fills `buf` from `offset` in the array.
    ///
    /// # Errors
    /// When the range leaves the array or cannot be read.
    pub fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), VirtError> {
        let wraps = VirtError::Wraps {
            addr: self.base,
            len: buf.len(),
        };
        if offset
            .checked_add(buf.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(wraps);
        }
        let mut done = 0;
        while done < buf.len() {
            let from = offset + done as u64;
            let block = from - from % BLOCK;
            if self.at != Some(block) {
                self.load(block)?;
            }
            let skip = usize::try_from(from - block).unwrap_or(0);
            let part = (self.block.len() - skip).min(buf.len() - done);
            buf[done..done + part].copy_from_slice(&self.block[skip..skip + part]);
            done += part;
        }
        Ok(())
    }

    fn load(&mut self, block: u64) -> Result<(), VirtError> {
        let size = usize::try_from(BLOCK.min(self.len - block)).unwrap_or(0);
        let addr = self.base.checked_add(block).ok_or(VirtError::Wraps {
            addr: self.base,
            len: size,
        })?;
        if self.failed == Some(block) {
            return Err(VirtError::Again(addr));
        }
        self.at = None;
        self.failed = Some(block);
        self.block.resize(size, 0);
        self.mem.read(addr, &mut self.block)?;
        (self.at, self.failed) = (Some(block), None);
        Ok(())
    }

    /// A little-endian `u64` at `offset`.
    ///
    /// # Errors
    /// As [`Window::read`].
    pub fn read_u64(&mut self, offset: u64) -> Result<u64, VirtError> {
        let mut b = [0; 8];
        self.read(offset, &mut b)?;
        Ok(u64::from_le_bytes(b))
    }
}
