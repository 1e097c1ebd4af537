//! VMCOREINFO in the memory itself, for a vmcore that has no note of it, or that of another kernel: a hypervisor knows the text only
//! when the guest has a device to tell it.
//!
//! Upstream: `kernel/vmcore_info.c` (`kernel/crash_core.c`, `kernel/kexec_core.c` before). Holds for: Linux 2.6.24 and later. The text is
//! in a page of its own, from its first byte on, and zeros follow it.

use crate::addr::PhysAddr;
use crate::vmcore::{PhysMem, Vmcore, VmcoreInfo};
use std::time::{Duration, Instant};

/// What the text begins with.
const START: &[u8; 10] = b"OSRELEASE=";
/// The text begins at a multiple of this, whatever the size of a page is.
const STEP: u64 = 4096;
/// The kernel's text has at most 8 KiB.
const LONGEST: u64 = 8192;
/// Texts that are looked at: a kernel has three copies, files in the page cache may hold others.
const MOST: usize = 32;
/// In a capture kernel the outage goes on, and the watch over the step hears nothing.
const LIMIT_IN_CAPTURE: Duration = Duration::from_secs(20);
/// Elsewhere a whole memory of a terabyte can be read.
const LIMIT: Duration = Duration::from_secs(600);

/// A text that was found.
pub(super) struct Found {
    /// Where.
    pub(super) at: PhysAddr,
    /// As in the note.
    pub(super) text: Vec<u8>,
    /// The same, parsed.
    pub(super) info: VmcoreInfo,
}

/// Every text in the memory, by ascending address; of those that say the same the first.
pub(super) fn search(core: &Vmcore) -> Vec<Found> {
    let reader = core.reader(false);
    let in_capture = core.file().is_some_and(|file| file.to_map().is_some());
    let limit = if in_capture { LIMIT_IN_CAPTURE } else { LIMIT };
    let (began, mut read, mut found) = (Instant::now(), 0u32, Vec::new());
    for extent in core.extents().iter().filter(|e| e.offset.is_some()) {
        let mut at = extent.start.next_multiple_of(STEP);
        while at.saturating_add(STEP) <= extent.end {
            let mut first = [0; START.len()];
            let address = PhysAddr::new(at);
            if reader.read(address, &mut first).is_ok() && first == *START {
                keep(&reader, address, extent.end - at, &mut found);
            }
            read = read.wrapping_add(1);
            let is_late = read.is_multiple_of(1 << 12) && began.elapsed() > limit;
            if is_late || found.len() == MOST {
                return found;
            }
            at += STEP;
        }
    }
    found
}

/// Reads a text and keeps it, if there is a kernel behind it and it is a new one.
fn keep(mem: &dyn PhysMem, at: PhysAddr, left: u64, found: &mut Vec<Found>) {
    let mut text = vec![0; usize::try_from(left.min(LONGEST)).unwrap_or(0)];
    // The second page can be missing.
    if mem.read(at, &mut text).is_err() {
        text.truncate(usize::try_from(STEP).unwrap_or(0));
        if mem.read(at, &mut text).is_err() {
            return;
        }
    }
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    text.truncate(end);
    let info = VmcoreInfo::parse(&text);
    if info.symbol("init_uts_ns").is_some() && !found.iter().any(|f| same(&f.info, &info)) {
        found.push(Found { at, text, info });
    }
}

/// Whether both are of one kernel in one place. CRASHTIME is in some copies only.
pub(super) fn same(a: &VmcoreInfo, b: &VmcoreInfo) -> bool {
    let keys = [
        "OSRELEASE",
        "BUILD-ID",
        "SYMBOL(init_uts_ns)",
        "NUMBER(phys_base)",
        "NUMBER(kimage_voffset)",
    ];
    keys.iter().all(|key| a.text(key) == b.text(key))
}
