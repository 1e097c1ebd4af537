//! Logs made by hand, in all three formats.

#![allow(clippy::cast_possible_truncation, reason = "the numbers are small")]

mod byte_ring;
mod lies;
mod ring;
mod variable;

use super::*;
use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{Mapping, PageTables, TranslateError};
use crate::vmcore::{PhysMem, ReadError, ReadFault};
use std::sync::atomic::{AtomicU64, Ordering};

/// 64 KiB that repeat up to physical `end`, mapped one to one.
struct Memory {
    bytes: Vec<u8>,
    end: u64,
    refused: AtomicU64,
    keys: String,
}

impl PhysMem for Memory {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        if addr.raw() >= self.end {
            self.refused
                .store(self.refused.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            let (len, why) = (buf.len(), ReadFault::Hole);
            return Err(ReadError { addr, len, why });
        }
        for (byte, at) in buf.iter_mut().zip(addr.raw()..) {
            *byte = self.bytes[usize::try_from(at & 0xffff).unwrap()];
        }
        Ok(())
    }
}

impl PageTables for Memory {
    fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let start = VirtAddr::new(addr.raw() & !0xffff);
        let phys = PhysAddr::new(addr.raw());
        let size = 0x10000;
        Ok(Mapping { phys, start, size })
    }
    fn kernel_base(&self) -> VirtAddr {
        VirtAddr::new(0)
    }
}

impl Memory {
    fn new(keys: &str) -> Self {
        Self {
            bytes: vec![0; 0x10000],
            end: 0x10000,
            refused: AtomicU64::new(0),
            keys: keys.to_owned(),
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn word(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn half(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn log(&self, style: Style) -> Result<(String, Summary), LogError> {
        let info = VmcoreInfo::parse(self.keys.as_bytes());
        let mut out = Vec::new();
        let summary = write(&VirtMem::new(self, self), &info, style, &mut out)?;
        assert_eq!(summary.bytes, out.len() as u64);
        Ok((String::from_utf8_lossy(&out).into_owned(), summary))
    }

    /// The texts and the counts.
    fn texts(&self) -> (Vec<String>, Summary) {
        let (log, summary) = self.log(Style::default()).unwrap();
        let text = |line: &str| line.rsplit("] ").next().unwrap().to_owned();
        (log.lines().map(text).collect(), summary)
    }
}

const JSON: Style = Style {
    form: Form::Json,
    callers: true,
    since_clear: false,
};
const SINCE_CLEAR: Style = Style {
    form: Form::Text,
    callers: false,
    since_clear: true,
};
