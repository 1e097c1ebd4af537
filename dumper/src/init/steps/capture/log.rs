//! The dead kernel's log, saved before its memory.

use super::super::seal::log_is_sealed;
use super::Capture;
use crate::dump::DeadKernel;
use crate::init::log::say;
use crate::report::{FileEntry, Report, bounded};
use crate::target::{Sequence, beacon};
use std::io::{BufWriter, Write};
use std::time::Instant;

/// Bytes of the log that are written at a time.
const CHUNK: usize = 64 << 10;

impl Capture<'_> {
    /// Saves the log. That it fails is no reason to leave the memory.
    pub(super) fn save_dmesg(
        &self,
        kernel: &DeadKernel,
        report: &mut Report,
        earlier: Option<&Report>,
    ) {
        let start = Instant::now();
        let name = &self.names.dmesg;
        let whole = |earlier: &&Report| {
            self.dir.names_whole() || earlier.files.iter().any(|file| file.name == *name)
        };
        let earlier = earlier.filter(whole);
        if let Some(earlier) = earlier.filter(|_| self.dir.size(name).is_some()) {
            report.panic_line.clone_from(&earlier.panic_line);
            report.panic_place.clone_from(&earlier.panic_place);
            report.files.clone_from(&earlier.files);
            return;
        }
        match self.write_dmesg(kernel, report) {
            Ok(()) => say!("dmesg saved: {}/{name}", self.dir.path()),
            Err(why) => {
                let warning = format!("the dead kernel's log is not saved: {why}");
                say!("warning: {warning}");
                report.warn(&warning);
            }
        }
        report.phase("dmesg", start);
    }

    fn write_dmesg(&self, kernel: &DeadKernel, report: &mut Report) -> Result<(), String> {
        let name = &self.names.dmesg;
        let pending = self
            .dir
            .begin(&self.names.dmesg_incomplete(), name)
            .map_err(|e| e.to_string())?;
        let sequence = Sequence::new(pending.out());
        let sealed = log_is_sealed(self.config);
        let (summary, sum) = match self.seal.filter(|_| sealed) {
            Some(seal) => {
                let mut writer = seal.over(sequence).map_err(|e| e.to_string())?;
                let summary = kernel.dmesg(&mut writer).map_err(|e| e.to_string())?;
                (summary, writer.finish().map_err(|e| e.to_string())?)
            }
            None => {
                let mut writer = BufWriter::with_capacity(CHUNK, sequence);
                let summary = kernel.dmesg(&mut writer).map_err(|e| e.to_string())?;
                writer.flush().map_err(|e| e.to_string())?;
                (summary, writer.into_inner().map_err(|e| e.to_string())?)
            }
        };
        for warning in summary.warnings() {
            report.warn(&warning);
        }
        let (bytes, crc32) = sum.sum();
        let panic = summary.panic_line.as_deref().map(bounded);
        let host = report.host.as_deref();
        let beacon = beacon::line(host, report.kernel_release.as_deref(), panic.as_deref());
        say!("{beacon}");
        if !sealed {
            report.panic_line = panic;
            report.panic_place = summary.panic_place;
        }
        let committed = self.waiting(|| pending.commit());
        committed.map_err(|e| e.to_string())?;
        report.file(FileEntry::new(name, bytes, Some(crc32)));
        Ok(())
    }
}
