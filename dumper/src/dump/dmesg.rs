//! The dead kernel's log, also when the way to it is damaged.
//!
//! Each way is tried without an output first: the first that gives a sound log is written. After VMCOREINFO come the static ring without
//! the variable that leads to it, the kernel's own symbols and types, then all of this without page tables: `/proc/vmcore` has a
//! virtual address for each segment. The last resort is the text without its descriptors.

use super::{DeadKernel, DmesgSummary, DumpError};
use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{Mapping, PageTables, TranslateError};
use crate::kernel::virt::VirtMem;
use crate::kernel::{layout, printk};
use crate::vmcore::{PhysMem, Segment, VmcoreInfo};
use std::io::{self, Write};

/// The log that was found so far, and how good it is: sound records less damaged ones.
struct Found<'a> {
    tables: &'a dyn PageTables,
    info: VmcoreInfo,
    worth: i64,
}

pub(super) fn write(
    kernel: &DeadKernel,
    style: printk::Style,
    out: &mut dyn Write,
) -> Result<DmesgSummary, DumpError> {
    let info = kernel.info();
    if info.is_empty() {
        return Err(DumpError::NoLog("the vmcore has no VMCOREINFO note".into()));
    }
    let reader = kernel.core().reader(kernel.mmap);
    let linear = Linear(kernel.core().segments());
    let tables = kernel.tables.as_ref();
    let mut why = tables.err().cloned();
    let ways = tables.ok().map(AsRef::as_ref).into_iter();
    let ways = ways.chain(std::iter::once(&linear as &dyn PageTables));
    let mut best: Option<Found<'_>> = None;
    for (way, tables) in ways.enumerate() {
        let mem = VirtMem::new(&reader, tables);
        for step in 0..3 {
            let mut info = match step {
                0 => info.clone(),
                1 => info.without(|key| key == "SYMBOL(prb)"),
                _ => info.without(printk::is_key),
            };
            if step == 2 {
                layout::complete(&mut info, &mem);
            }
            let worth = match printk::write(&mem, &info, style, &mut io::sink()) {
                Ok(summary) => {
                    let sound = summary.records + summary.cleared;
                    let worth = sound.cast_signed() - summary.damaged.cast_signed();
                    if worth > 0 && summary.damaged * 4 <= sound {
                        let mut summary = printk::write(&mem, &info, style, out).map_err(error)?;
                        if way + step > 0 {
                            summary.notes.push(RECOVERED.into());
                        }
                        return Ok(summary);
                    }
                    worth
                }
                Err(e) => {
                    why.get_or_insert(e.to_string());
                    continue;
                }
            };
            if best.as_ref().is_none_or(|best| worth > best.worth) {
                best = Some(Found {
                    tables,
                    info,
                    worth,
                });
            }
        }
    }
    if let Some(Found { tables, info, .. }) = best {
        let mem = VirtMem::new(&reader, tables);
        return printk::write(&mem, &info, style, out).map_err(error);
    }
    let tables = kernel.tables.as_ref().map_or(&linear as _, AsRef::as_ref);
    for tables in [tables, &linear] {
        let mem = VirtMem::new(&reader, tables);
        if let Ok(summary) = printk::carve(&mem, info, style, out) {
            return Ok(summary);
        }
    }
    Err(DumpError::NoLog(why.unwrap_or_default()))
}

const RECOVERED: &str = "the log is not where VMCOREINFO says: it was found by the kernel's own tables, or by the segments of the vmcore";

fn error(error: printk::LogError) -> DumpError {
    match error {
        printk::LogError::Output(e) => DumpError::Output(e),
        other => DumpError::NoLog(other.to_string()),
    }
}

/// The segments of the vmcore in the place of page tables: they know the image and the direct map.
struct Linear<'a>(&'a [Segment]);

impl PageTables for Linear<'_> {
    fn translate(&self, _: &dyn PhysMem, addr: VirtAddr) -> Result<Mapping, TranslateError> {
        let within = |s: &&Segment| s.virt != 0 && addr.raw().wrapping_sub(s.virt) < s.mem_size;
        let page = 4096;
        let start = VirtAddr::new(addr.raw() & !(page - 1));
        let phys = |s: &Segment| {
            let within = addr.raw().wrapping_sub(s.virt);
            s.start.raw().checked_add(within).map(PhysAddr::new)
        };
        let not_mapped = TranslateError::NotMapped {
            addr,
            level: "segment",
            entry: 0,
        };
        let phys = self
            .0
            .iter()
            .find(within)
            .and_then(phys)
            .ok_or(not_mapped)?;
        Ok(Mapping {
            phys,
            start,
            size: page,
        })
    }

    fn kernel_base(&self) -> VirtAddr {
        VirtAddr::new(1 << 63)
    }
}
