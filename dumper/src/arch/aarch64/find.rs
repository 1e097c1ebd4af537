//! Which page tables an arm64 kernel has: what VMCOREINFO says, and what is tried when it says too little or contradicts itself.

use super::walk::{Geometry, Tables};
use super::{actual_bits, built_bits};
use crate::addr::{PhysAddr, VirtAddr};
use crate::arch::{Evidence, PageTables};

pub(super) fn find(
    dead: &Evidence<'_>,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn PageTables>, String> {
    let root = dead.info.symbol("swapper_pg_dir").ok_or(
        "VMCOREINFO lacks SYMBOL(swapper_pg_dir), so the kernel's page tables cannot be found",
    )?;
    let by_key = said_root(dead, root);
    let by_segment = dead.in_segment(root);
    let said = said_geometry(dead);
    if let (Some(geometry), Some(root)) = (said, by_key) {
        let tables = tables(geometry, root);
        if is_proved(dead, &tables) {
            return Ok(Box::new(tables));
        }
    }
    let all = said
        .into_iter()
        .chain(Geometry::all(dead.page_size.shift()));
    for geometry in all {
        for root in [by_key, by_segment].into_iter().flatten() {
            let tables = tables(geometry, root);
            if is_proved(dead, &tables) {
                warnings.push(format!(
                    "VMCOREINFO's VA_BITS, TCR_EL1_T1SZ or kimage_voffset is missing or wrong; page tables for {} bits at physical {} were found by trying",
                    geometry.bits(),
                    tables.root
                ));
                return Ok(Box::new(tables));
            }
        }
    }
    match (said, by_key.or(by_segment)) {
        // Nothing can be proved, utsname itself may be what is damaged.
        (Some(geometry), Some(root)) => Ok(Box::new(tables(geometry, root))),
        (_, None) => Err("VMCOREINFO lacks NUMBER(kimage_voffset) and no segment holds SYMBOL(swapper_pg_dir), so the kernel's page tables cannot be found".into()),
        (None, Some(_)) => Err("VMCOREINFO has no usable NUMBER(VA_BITS), and no size of virtual addresses leads to the kernel's utsname".into()),
    }
}

/// `swapper_pg_dir` is in the kernel image, whose distance from physical memory is `kimage_voffset`.
fn said_root(dead: &Evidence<'_>, root: u64) -> Option<u64> {
    let offset = dead.info.number("kimage_voffset")?;
    Some(root.wrapping_sub(offset.cast_unsigned()))
}

fn said_geometry(dead: &Evidence<'_>) -> Option<Geometry> {
    let built = built_bits(dead.info)?;
    let actual = actual_bits(dead.info).unwrap_or(built);
    Geometry::of_kernel(dead.page_size.shift(), built, actual)
}

/// With 64 KiB pages the tables do not tell what the hardware was set to; the larger number is the lower bound.
fn tables(geometry: Geometry, root: u64) -> Tables {
    Tables {
        geometry,
        root: PhysAddr::new(root),
        kernel_base: VirtAddr::new(!0 << geometry.bits()),
    }
}

/// Right tables lead to the utsname, and to themselves at their own physical address.
fn is_proved(dead: &Evidence<'_>, tables: &Tables) -> bool {
    let own = dead.info.symbol("swapper_pg_dir").map(VirtAddr::new);
    let leads_to_itself = own
        .and_then(|own| tables.translate(dead.mem, own).ok())
        .is_some_and(|found| found.phys == tables.root);
    leads_to_itself || dead.is_proved(tables)
}
