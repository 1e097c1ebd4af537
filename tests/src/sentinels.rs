//! The sentinel pages of the production guest (`tests/guest/README.md`): finding them in a raw vmcore, and judging a dump by them.
//!
//! Each sentinel says which class of memory it was made in. So a dump's level says which of them must be there and which must be
//! gone, without looking at a struct page; only a page that is there though it should be gone has to explain itself by its fields.

use crate::dump_reader::Dump;
use anyhow::{Context, Result, bail, ensure};
use baredump::addr::{Pfn, PhysAddr};
use baredump::dump::DeadKernel;
use baredump::kernel::Basics;
use baredump::kernel::memmap::MemMap;
use std::collections::BTreeMap;
use std::path::Path;

/// A class of sentinels.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Number in the sentinel.
    pub number: u32,
    /// Name on the guest's console.
    pub name: &'static str,
    /// Any of these dump level bits drops it; 0 = never dropped.
    pub dropped_by: u8,
}

/// All classes that carry sentinels.
pub const CLASSES: [Class; 8] = [
    Class {
        number: 1,
        name: "anon",
        dropped_by: 8,
    },
    Class {
        number: 2,
        name: "thp",
        dropped_by: 8,
    },
    Class {
        number: 3,
        name: "hugetlb",
        dropped_by: 8,
    },
    Class {
        number: 4,
        name: "cache",
        dropped_by: 2 | 4,
    },
    Class {
        number: 5,
        name: "cache-private",
        dropped_by: 4,
    },
    Class {
        number: 6,
        name: "tmpfs",
        dropped_by: 2 | 4,
    },
    Class {
        number: 7,
        name: "slab",
        dropped_by: 0,
    },
    Class {
        number: 8,
        name: "free",
        dropped_by: 16,
    },
];

/// At least so many pages of each class make a judgement.
pub const ENOUGH: usize = 1000;

const MAGIC: &[u8; 16] = b"BAREDUMPSENTINEL";
const SECRET: u64 = 0x5ea1_ed0f_fda7_a5e7;
/// Offsets at which a sentinel can begin: a page, or an object of a System V message.
const PLACES: [usize; 2] = [0, 64];

/// Where the sentinels of a vmcore are.
pub struct Sentinels {
    kernel: DeadKernel,
    found: BTreeMap<u32, Vec<u64>>,
}

/// What became of one class in one dump.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Name of the class.
    pub class: &'static str,
    /// Sentinel pages in memory.
    pub made: usize,
    /// Of these, pages in the dump.
    pub kept: usize,
    /// Whether the level drops the class.
    pub dropped: bool,
    /// Why pages are there that should be gone, or gone that should be there, with their number.
    pub left: BTreeMap<String, usize>,
}

/// The class and index a page claims, when it really is a sentinel.
fn sentinel(page: &[u8]) -> Option<u32> {
    let at = PLACES
        .into_iter()
        .find(|at| page[*at..].starts_with(MAGIC))?;
    let word = |from: usize| {
        u32::from_le_bytes(
            page[at + from..at + from + 4]
                .try_into()
                .unwrap_or_default(),
        )
    };
    let check = u64::from_le_bytes(page[at + 24..at + 32].try_into().ok()?);
    (check == u64::from(word(20)) ^ SECRET).then(|| word(16))
}

impl Sentinels {
    /// Reads the whole vmcore.
    ///
    /// # Errors
    /// When it cannot be read, or a class has fewer than [`ENOUGH`] pages.
    pub fn find(vmcore: &Path) -> Result<Self> {
        let kernel = DeadKernel::open(vmcore, true)?;
        let size = kernel.page_size();
        let mut found: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let mut page = vec![0; size.bytes()];
        {
            let reader = kernel.core().reader(true);
            for extent in kernel.core().extents().iter() {
                for pfn in extent.start.div_ceil(size.bytes() as u64)
                    ..size.pfn(PhysAddr::new(extent.end)).raw()
                {
                    reader.read_page(Pfn::new(pfn), size, &mut page)?;
                    if let Some(class) = sentinel(&page) {
                        found.entry(class).or_default().push(pfn);
                    }
                }
            }
        }
        for class in CLASSES {
            let made = found.get_mut(&class.number).map_or(0, |pfns| {
                pfns.sort_unstable();
                pfns.dedup();
                pfns.len()
            });
            ensure!(
                made >= ENOUGH,
                "the vmcore has {made} sentinel pages of class {}, expected {ENOUGH}",
                class.name
            );
        }
        Ok(Self { kernel, found })
    }

    /// Judges a dump made with `level`: every page of a class that stays is there with its very bytes, at most 5 % of a class that
    /// goes are there and each of them is explained.
    ///
    /// # Errors
    /// The first class that is not as it must be.
    pub fn judge(&self, dump: &Dump, level: u8) -> Result<Vec<Verdict>> {
        ensure!(
            u32::from(level) == dump.level,
            "the dump says level {}, expected {level}",
            dump.level
        );
        let none = Vec::new();
        CLASSES
            .into_iter()
            .map(|class| {
                self.judge_class(
                    class,
                    self.found.get(&class.number).unwrap_or(&none),
                    dump,
                    level,
                )
            })
            .collect()
    }

    fn judge_class(&self, class: Class, pfns: &[u64], dump: &Dump, level: u8) -> Result<Verdict> {
        let kept: Vec<u64> = pfns
            .iter()
            .copied()
            .filter(|pfn| dump.descriptors.contains_key(pfn))
            .collect();
        let dropped = level & class.dropped_by != 0;
        let mut left = BTreeMap::new();
        if dropped {
            ensure!(
                kept.len() * 20 <= pfns.len(),
                "level {level}: {} of {} {} pages should be gone and are there",
                kept.len(),
                pfns.len(),
                class.name
            );
            for pfn in &kept {
                let why = self.explain(*pfn, class)?;
                *left.entry(why).or_default() += 1;
            }
        } else {
            let lost: Vec<u64> = pfns
                .iter()
                .copied()
                .filter(|pfn| !dump.descriptors.contains_key(pfn))
                .collect();
            ensure!(
                lost.len() * 20 <= pfns.len(),
                "level {level}: {} of {} {} pages are missing",
                lost.len(),
                pfns.len(),
                class.name
            );
            for pfn in lost {
                let why = self.explain_loss(pfn, class, level)?;
                *left.entry(why).or_default() += 1;
            }
            self.compare(&kept, dump)?;
        }
        Ok(Verdict {
            class: class.name,
            made: pfns.len(),
            kept: kept.len(),
            dropped,
            left,
        })
    }

    fn compare(&self, pfns: &[u64], dump: &Dump) -> Result<()> {
        let reader = self.kernel.core().reader(true);
        let mut page = vec![0; self.kernel.page_size().bytes()];
        for pfn in pfns {
            reader.read_page(Pfn::new(*pfn), self.kernel.page_size(), &mut page)?;
            ensure!(
                dump.page(*pfn)?.as_deref() == Some(&page[..]),
                "page {pfn:#x} is not what it was in memory"
            );
        }
        Ok(())
    }

    /// Why a page is in the dump that its class says should not be: only what its own fields show counts.
    fn explain(&self, pfn: u64, class: Class) -> Result<String> {
        let fields = self.fields(pfn)?;
        let info = self.kernel.info();
        let is_buddy = info.page_type("PAGE_BUDDY_MAPCOUNT_VALUE") == Some(fields.page_type);
        let has = |flag: &str| {
            info.bit(flag)
                .is_some_and(|bit| fields.flags >> bit & 1 != 0)
        };
        match class.name {
            "free" if !is_buddy && fields.refcount == 0 => {
                Ok("on a per-CPU free list (refcount 0, not in the buddy lists)".into())
            }
            "free" if fields.refcount > 0 => Ok("still held, not free yet (refcount > 0)".into()),
            "cache" | "cache-private" | "tmpfs" if !has("PG_lru") => {
                Ok("in a per-CPU LRU batch (no PG_lru)".into())
            }
            "cache" | "tmpfs" if has("PG_private") && !fields.anon => {
                Ok("has private data (PG_private)".into())
            }
            _ => bail!(
                "pfn {pfn:#x} of class {} should be gone; flags {:#x}, type {:#x}, refcount {}, anon {}",
                class.name,
                fields.flags,
                fields.page_type,
                fields.refcount,
                fields.anon
            ),
        }
    }

    /// Why a page is missing though its class stays. Only a page that was to be freed and is not free yet has an excuse.
    fn explain_loss(&self, pfn: u64, class: Class, level: u8) -> Result<String> {
        let fields = self.fields(pfn)?;
        let not_free_yet = class.name == "free" && fields.refcount > 0 && fields.anon;
        ensure!(
            not_free_yet && level & 8 != 0,
            "level {level}: page {pfn:#x} of class {} is missing; flags {:#x}, type {:#x}, refcount {}, anon {}",
            class.name,
            fields.flags,
            fields.page_type,
            fields.refcount,
            fields.anon
        );
        Ok("still a user page, not free yet (refcount > 0, anonymous)".into())
    }

    fn fields(&self, pfn: u64) -> Result<Fields> {
        let reader = self.kernel.core().reader(true);
        let virt = self.kernel.virt(&reader).map_err(anyhow::Error::msg)?;
        let info = self.kernel.info();
        let arch = self.kernel.arch().context("unknown architecture")?;
        let kernel_base = self.kernel.kernel_base().context("no page tables")?;
        let basics = Basics {
            arch,
            page_size: self.kernel.page_size(),
            kernel_base,
        };
        let map = MemMap::read(&virt, &basics, info, self.kernel.core().extents(), pfn + 1)
            .map_err(anyhow::Error::msg)?;
        let section = map
            .sections(pfn)
            .find(|s| (s.start..s.end).contains(&pfn))
            .context("no section")?;
        let size = info.size("page").context("SIZE(page)")?;
        let at = section
            .mem_map
            .checked_add((pfn - section.start) * size)
            .context("address")?;
        let mut page = vec![0; usize::try_from(size)?];
        virt.read(at, &mut page)?;
        let word = |name: &str| -> Result<u64> {
            let at = info.offset(name).with_context(|| name.to_owned())?;
            Ok(u64::from_le_bytes(page[at..at + 8].try_into()?))
        };
        let half = |name: &str| -> Result<u32> {
            let at = info.offset(name).with_context(|| name.to_owned())?;
            Ok(u32::from_le_bytes(page[at..at + 4].try_into()?))
        };
        Ok(Fields {
            flags: word("page.flags")?,
            anon: word("page.mapping")? & 1 != 0,
            page_type: half("page._mapcount")?,
            refcount: half("page._refcount")?,
        })
    }
}

struct Fields {
    flags: u64,
    anon: bool,
    page_type: u32,
    refcount: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_in_a_program_is_no_sentinel() {
        let mut page = vec![0; 4096];
        page[64..80].copy_from_slice(MAGIC);
        assert_eq!(sentinel(&page), None);
        page[80..84].copy_from_slice(&7u32.to_le_bytes());
        page[84..88].copy_from_slice(&5u32.to_le_bytes());
        page[88..96].copy_from_slice(&(5 ^ SECRET).to_le_bytes());
        assert_eq!(sentinel(&page), Some(7));
    }
}
