//! Every configuration: which entries are read and what they give.

use super::*;
use crate::vmcore::{ReadError, ReadFault};
use std::cell::Cell;
use std::collections::HashMap;

/// Physical memory of the words that were written; what was not written is a hole.
#[derive(Default)]
struct Words(HashMap<u64, u64>, Cell<u32>);

impl PhysMem for Words {
    fn read(&self, addr: PhysAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        self.1.set(self.1.get() + 1);
        let hole = || ReadError {
            addr,
            len: buf.len(),
            why: ReadFault::Hole,
        };
        let word = self.0.get(&addr.raw()).copied().ok_or_else(hole)?;
        buf.copy_from_slice(&word.to_le_bytes()[..buf.len()]);
        Ok(())
    }
}

/// A row of the table of configurations: entries from the top level down as index and descriptor, and what they give.
struct Row {
    kernel: (u32, u32, u32),
    addr: u64,
    entries: &'static [(u64, u64)],
    phys: u64,
    size: u64,
}

const ROOT: u64 = 0x4121_0000;

fn tables(kernel: (u32, u32, u32)) -> Tables {
    let geometry = Geometry::of_kernel(kernel.0, kernel.1, kernel.2).unwrap();
    Tables {
        geometry,
        root: PhysAddr::new(ROOT),
        kernel_base: VirtAddr::new(!0 << kernel.2),
    }
}

/// Lays out the entries of a row; `next` are the tables that they point to.
fn memory(row: &Row, next: &[u64]) -> Words {
    let tables = std::iter::once(ROOT).chain(next.iter().copied());
    let words = tables.zip(row.entries);
    Words(
        words
            .map(|(at, (index, entry))| (at + index * 8, *entry))
            .collect(),
        Cell::new(0),
    )
}

fn check(row: &Row, next: &[u64]) {
    let what = format!("{:?} at {:#x}", row.kernel, row.addr);
    let mem = memory(row, next);
    let tables = tables(row.kernel);
    let got = tables.translate(&mem, VirtAddr::new(row.addr));
    let got = got.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(got.phys.raw(), row.phys, "{what}: {:#x}", got.phys.raw());
    assert_eq!(got.size, row.size, "{what}");
    assert_eq!(got.start.raw(), row.addr & !(row.size - 1), "{what}");
    assert_eq!(mem.1.get() as usize, row.entries.len(), "{what}: reads");
    // Each entry counts: without its valid bit there is no translation.
    for (i, (index, entry)) in row.entries.iter().enumerate() {
        let mut mem = memory(row, next);
        let table = if i == 0 { ROOT } else { next[i - 1] };
        mem.0.insert(table + index * 8, entry & !VALID);
        let got = tables.translate(&mem, VirtAddr::new(row.addr));
        assert!(
            matches!(got, Err(TranslateError::NotMapped { entry: e, .. }) if e == entry & !1),
            "{what}: entry {i}"
        );
    }
}

const T1: u64 = 0x5000_0000;
const T2: u64 = 0x5001_0000;
const T3: u64 = 0x5002_0000;
const T4: u64 = 0x5003_0000;
const NEXT: &[u64] = &[T1, T2, T3, T4];
/// A page or block with the attributes that Linux gives: UXN, PXN, AF, inner shareable, and those of LPA2, which has no SH.
const ATTR: u64 = 0x0078_0000_0000_0f00;
const ATTR_LPA2: u64 = 0x0078_0000_0000_0c00;

#[test]
fn pages_of_4k() {
    check(
        &Row {
            kernel: (12, 39, 39),
            addr: 0xffff_ffc0_0123_4567,
            entries: &[
                (0x100, T1 | 3),
                (9, T2 | 3),
                (0x34, 0x8_8765_4000 | ATTR | 3),
            ],
            phys: 0x8_8765_4567,
            size: 4096,
        },
        NEXT,
    );
    check(
        &Row {
            kernel: (12, 48, 48),
            addr: 0xffff_8000_0123_4567,
            entries: &[
                (0x100, T1 | 3),
                (0, T2 | 3),
                (9, T3 | 3),
                (0x34, 0xffff_8765_4000 | ATTR | 3),
            ],
            phys: 0xffff_8765_4567,
            size: 4096,
        },
        NEXT,
    );
    // Built for 52 bits, on a processor without LPA2: the same tables as with 48.
    check(
        &Row {
            kernel: (12, 52, 48),
            addr: 0xffff_fdff_c123_4567,
            entries: &[
                (0x1fb, T1 | 3),
                (0x1ff, T2 | 3),
                (9, 0x4020_0000 | ATTR | 1),
            ],
            phys: 0x4023_4567,
            size: 2 << 20,
        },
        NEXT,
    );
}

#[test]
fn pages_of_4k_with_lpa2() {
    let page = Row {
        kernel: (12, 52, 52),
        addr: 0xfff8_8080_0123_4567,
        entries: &[
            (8, T1 | 3),
            (0x101, T2 | 3),
            (0, T3 | 3),
            (9, T4 | 3),
            (0x34, 0x3_ffff_8765_4000 | ATTR_LPA2 | 0x300 | 3),
        ],
        phys: 0xf_ffff_8765_4567,
        size: 4096,
    };
    check(&page, NEXT);
    // Tables above 2^50 as well.
    let high = Row {
        entries: &[
            (8, T1 | 0x200 | 3),
            (0x101, T2 | 3),
            (0, 0x4020_0000 | ATTR_LPA2 | 0x100 | 1),
        ],
        phys: 0x4_0000_0000_0000 | 0x4000_0000 | 0x123_4567,
        size: 1 << 30,
        ..page
    };
    check(&high, &[T1 | 2 << 50, T2]);
    let level0 = Row {
        entries: &[(8, T1 | 3), (0x101, 0x180_0000_0000 | ATTR_LPA2 | 1)],
        phys: 0x180_0123_4567,
        size: 1 << 39,
        ..high
    };
    check(&level0, NEXT);
}

#[test]
fn pages_of_16k() {
    check(
        &Row {
            kernel: (14, 36, 36),
            addr: 0xffff_fff8_0123_4567,
            entries: &[(0x400, T1 | 3), (0x48d & 0x7ff, 0x8765_4000 | ATTR | 3)],
            phys: 0x8765_4567,
            size: 1 << 14,
        },
        NEXT,
    );
    for (kernel, entries) in [
        (
            (14, 47, 47),
            &[
                (0x400, T1 | 3),
                (0, T2 | 3),
                (0x48d & 0x7ff, 0xf000_8765_4000 | ATTR | 3),
            ][..],
        ),
        (
            (14, 52, 47),
            &[
                (0x400, T1 | 3),
                (0, T2 | 3),
                (0x48d & 0x7ff, 0xf000_8765_4000 | ATTR | 3),
            ][..],
        ),
    ] {
        check(
            &Row {
                kernel,
                addr: 0xffff_c000_0123_4567,
                entries,
                phys: 0xf000_8765_4567,
                size: 1 << 14,
            },
            NEXT,
        );
    }
    check(
        &Row {
            kernel: (14, 48, 48),
            addr: 0xffff_8000_0323_4567,
            entries: &[(1, T1 | 3), (0, T2 | 3), (1, 0xa200_0000 | ATTR | 1)],
            phys: 0xa323_4567,
            size: 32 << 20,
        },
        NEXT,
    );
}

#[test]
fn pages_of_16k_with_lpa2() {
    let page = Row {
        kernel: (14, 52, 52),
        addr: 0xfff8_8000_0123_4567,
        entries: &[
            (17, T1 | 3),
            (0, T2 | 3),
            (0, T3 | 3),
            (0x48d, 0x1_0000_8765_4000 | ATTR_LPA2 | 0x100 | 3),
        ],
        phys: 0x5_0000_8765_4567,
        size: 1 << 14,
    };
    check(&page, NEXT);
    let level1 = Row {
        entries: &[(17, T1 | 3), (0, 0x30_0000_0000 | ATTR_LPA2 | 1)],
        phys: 0x30_0123_4567,
        size: 64 << 30,
        ..page
    };
    check(&level1, NEXT);
}

#[test]
fn pages_of_64k() {
    check(
        &Row {
            kernel: (16, 42, 42),
            addr: 0xffff_fe00_2123_4567,
            entries: &[(0x1001, T1 | 3), (0x123, 0x8765_0000 | ATTR | 3)],
            phys: 0x8765_4567,
            size: 1 << 16,
        },
        NEXT,
    );
    check(
        &Row {
            kernel: (16, 48, 48),
            addr: 0xffff_8000_2123_4567,
            entries: &[(32, T1 | 3), (1, 0xc000_0000 | ATTR | 1)],
            phys: 0xc123_4567,
            size: 512 << 20,
        },
        NEXT,
    );
    let large = Row {
        kernel: (16, 52, 52),
        addr: 0xfff8_8000_2123_4567,
        entries: &[
            (512 + 32, T1 | 3),
            (1, T2 | 3),
            (0x123, 0xffff_8765_a000 | ATTR | 3),
        ],
        phys: 0xa_ffff_8765_4567,
        size: 1 << 16,
    };
    check(&large, NEXT);
    // On a processor with 48 bits the root keeps its 1024 entries.
    let on_48 = Row {
        kernel: (16, 52, 48),
        addr: 0xffff_8000_2123_4567,
        entries: &[(992, T1 | 3), (1, T2 | 3), (0x123, 0x8765_0000 | ATTR | 3)],
        phys: 0x8765_4567,
        size: 1 << 16,
    };
    check(&on_48, NEXT);
    let level1 = Row {
        entries: &[(544, 0x400_0000_3000 | ATTR | 1)],
        phys: 0x3_0400_2123_4567,
        size: 4 << 40,
        ..large
    };
    check(&level1, NEXT);
}

#[test]
fn tags_are_ignored_and_other_addresses_are_nobodys() {
    let row = Row {
        kernel: (12, 48, 48),
        addr: 0xf2ff_8000_0123_4567,
        entries: &[(0x100, T1 | 3), (0, T2 | 3), (9, 0x4020_0000 | ATTR | 1)],
        phys: 0x4023_4567,
        size: 2 << 20,
    };
    check(&row, NEXT);
    let mem = memory(&row, NEXT);
    for addr in [
        0x0000_8000_0123_4567,
        0xff7f_8000_0123_4567,
        0xfffe_8000_0123_4567,
    ] {
        let got = tables(row.kernel).translate(&mem, VirtAddr::new(addr));
        assert!(
            matches!(got, Err(TranslateError::NotMapped { .. })),
            "{addr:#x}"
        );
    }
    assert_eq!(mem.1.get(), 0);
}

#[test]
fn blocks_only_where_the_architecture_has_them() {
    for (kernel, tables_above) in [
        ((12, 48, 48), 0),
        ((12, 48, 48), 3),
        ((12, 52, 52), 0),
        ((14, 47, 47), 0),
        ((14, 48, 48), 0),
        ((14, 48, 48), 1),
        ((14, 52, 52), 0),
        ((16, 52, 52), 2),
    ] {
        let addr = !0 << (kernel.2 - 1);
        let mut mem = Words::default();
        let mut shift = kernel.0 + tables(kernel).geometry.top() * (kernel.0 - 3);
        let mut table = ROOT;
        for next in [T1, T2, T3].into_iter().take(tables_above).chain([0]) {
            let entry = if next == 0 { 0x4000_0001 } else { next | 3 };
            let index = (addr & !(!0 << kernel.2)) >> shift & ((1 << (kernel.0 - 3)) - 1);
            mem.0.insert(table + index * 8, entry);
            (table, shift) = (next, shift.saturating_sub(kernel.0 - 3));
        }
        let got = tables(kernel).translate(&mem, VirtAddr::new(addr));
        let found = matches!(
            got,
            Err(TranslateError::NotMapped {
                entry: 0x4000_0001,
                ..
            })
        );
        assert!(found, "{kernel:?} below {tables_above}: {got:?}");
    }
}

#[test]
fn a_table_that_points_to_itself_ends() {
    for &(page_shift, bits) in &Geometry::KNOWN {
        let tables = tables((page_shift, bits, bits));
        let mut mem = Words::default();
        mem.0
            .extend((0..1 << (page_shift - 3)).map(|i| (ROOT + i * 8, ROOT | 3)));
        let got = tables.translate(&mem, VirtAddr::new(!0 << (bits - 1) | 0x123));
        assert!(got.is_ok(), "{page_shift} {bits}: {got:?}");
        assert!(mem.1.get() <= 5);
    }
}
