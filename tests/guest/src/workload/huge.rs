//! Compound pages beyond the sentinels': folios of several sizes, pages of 1 GiB, and an unused part of the hugetlb pool.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::set;
use crate::sys::{Kind, Map, huge_page, page_size};
use crate::words::Words;

const THP: &str = "/sys/kernel/mm/transparent_hugepage";
const POOLS: &str = "/sys/kernel/mm/hugepages";
/// Bytes of anonymous memory of each folio size.
const EACH: usize = 4 << 20;
/// Huge pages that nobody maps.
const UNUSED: usize = 2;
/// One page in so many of a gigantic page is written.
const PARTLY: usize = 4;

/// Anonymous folios of every size below that of a huge page that the kernel (6.8 and later) offers; pages in them.
pub(crate) fn multi_size(_: &Words) -> Result<usize> {
    let sizes = folio_sizes(Path::new(THP))?;
    ensure!(
        !sizes.is_empty(),
        "the kernel has no anonymous folios of several sizes (6.8 and later have)"
    );
    // What is aligned to a huge page would become one.
    let largest = format!("{THP}/hugepages-{}kB/enabled", huge_page() / 1024);
    set(&largest, "never")?;
    let allocated = |kib: usize| -> Result<usize> {
        let file = format!("{THP}/hugepages-{kib}kB/stats/anon_fault_alloc");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        Ok(text.trim().parse()?)
    };
    let mut pages = 0;
    for kib in sizes {
        let switch = format!("{THP}/hugepages-{kib}kB/enabled");
        let before = allocated(kib).unwrap_or(0);
        set(&switch, "always")?;
        let mut map = Map::anonymous(EACH, Kind::Aligned)?;
        for page in map.bytes().chunks_exact_mut(page_size()) {
            page[..4].copy_from_slice(b"mthp");
        }
        set(&switch, "never")?;
        // Kernels before 6.10 do not count.
        let made = allocated(kib).map_or(EACH, |after| (after - before) * kib * 1024);
        pages += made / page_size();
    }
    set(&largest, "inherit")?;
    ensure!(pages > 0, "the kernel made none");
    Ok(pages)
}

/// KiB of the folio sizes that can be switched and are smaller than a huge page.
fn folio_sizes(dir: &Path) -> Result<Vec<usize>> {
    let huge: usize = fs::read_to_string(dir.join("hpage_pmd_size"))
        .context("the kernel has no transparent huge pages")?
        .trim()
        .parse()?;
    let mut sizes = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        let size = name.to_str().and_then(|name| {
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            kib.parse::<usize>().ok()
        });
        // Some sizes are for tmpfs only.
        if let Some(kib) = size
            && kib * 1024 < huge
            && entry.path().join("enabled").exists()
        {
            sizes.push(kib);
        }
    }
    sizes.sort_unstable();
    Ok(sizes)
}

/// One page of 1 GiB, written in part, and what else is in its pool; pages in the pool.
pub(crate) fn gigantic(_: &Words) -> Result<usize> {
    let file = format!("{POOLS}/hugepages-1048576kB/nr_hugepages");
    let pool: usize = fs::read_to_string(&file)
        .context("the kernel has no pages of 1 GiB")?
        .trim()
        .parse()?;
    ensure!(
        pool > 0,
        "the pool is empty (words hugepagesz=1G hugepages=N)"
    );
    let mut map = Map::anonymous(1 << 30, Kind::Gigantic)?;
    for (index, page) in map.bytes().chunks_exact_mut(page_size()).enumerate() {
        if index % PARTLY == 0 && index < (64 << 20) / page_size() {
            page[..8].copy_from_slice(b"gigantic");
        }
    }
    Ok(pool * ((1 << 30) / page_size()))
}

/// Huge pages that stay in the pool: made before the sentinels' own, which add to the pool.
pub(crate) fn pool(_: &Words) -> Result<usize> {
    let file = "/proc/sys/vm/nr_hugepages";
    let before: usize = fs::read_to_string(file)?.trim().parse()?;
    set(file, &(before + UNUSED).to_string())?;
    let after: usize = fs::read_to_string(file)?.trim().parse()?;
    ensure!(after > before, "the kernel gave none");
    Ok((after - before) * (huge_page() / page_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_below_a_huge_page_that_can_be_switched() {
        let dir = std::env::temp_dir().join(format!("guest-thp-{}", std::process::id()));
        for size in [16, 64, 1024, 2048] {
            fs::create_dir_all(dir.join(format!("hugepages-{size}kB"))).unwrap();
            if size != 16 {
                fs::write(dir.join(format!("hugepages-{size}kB/enabled")), "never").unwrap();
            }
        }
        fs::write(dir.join("hpage_pmd_size"), "2097152\n").unwrap();
        let sizes = folio_sizes(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(sizes, [64, 1024]);
    }
}
