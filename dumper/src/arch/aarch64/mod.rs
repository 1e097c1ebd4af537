//! arm64: 4, 16 and 64 KiB pages, 36 to 52 bits of virtual address, with and without LPA and LPA2.
//!
//! Upstream: `arch/arm64/kernel/vmcore_info.c` (`crash_core.c`, `machine_kexec.c` before) exports `VA_BITS`, `TCR_EL1_T1SZ` (5.9),
//! `kimage_voffset` and `PHYS_OFFSET`; `arch/arm64/include/asm/{memory,sparsemem,pgtable-hwdef}.h` have the geometry. Holds for:
//! Linux 4.12 and later.

mod find;
mod walk;

use super::{Arch, Evidence, PageTables};
use crate::addr::PageSize;
use crate::vmcore::{Segment, VmcoreInfo};
use walk::Geometry;

/// EM_AARCH64.
const ELF_MACHINE: u16 = 183;
/// Set in every kernel address, clear in every user address; the bits above it may be a tag.
const KERNEL_BIT: u32 = 55;

pub(super) struct Aarch64;

impl Arch for Aarch64 {
    fn name(&self) -> &'static str {
        "aarch64"
    }

    fn elf_machine(&self) -> u16 {
        ELF_MACHINE
    }

    fn own_key(&self) -> &'static str {
        "NUMBER(kimage_voffset)"
    }
    fn stack_in_status(&self) -> u64 {
        // pr_reg, in it user_pt_regs.sp.
        112 + 31 * 8
    }

    fn page_sizes(&self) -> &'static [PageSize] {
        &[PageSize::K4, PageSize::K16, PageSize::K64]
    }

    /// 30 until 5.11, then 27, and 29 with pages of 64 KiB. Distributions have backported the change.
    fn section_size_bits(&self, info: &VmcoreInfo, page_size: PageSize) -> &'static [u32] {
        match (is_before_5_12(info), page_size.shift() == 16) {
            (false, false) => &[27, 30],
            (false, true) => &[29, 30],
            (true, false) => &[30, 27],
            (true, true) => &[30, 29],
        }
    }

    fn max_physmem_bits(&self, info: &VmcoreInfo) -> u32 {
        if info.number("VA_BITS") == Some(52) {
            52
        } else {
            48
        }
    }

    fn phys_base(&self, info: &VmcoreInfo, segments: &[Segment]) -> u64 {
        if let Some(base) = info.number("PHYS_OFFSET") {
            return base.cast_unsigned();
        }
        let bits = actual_bits(info).or_else(|| built_bits(info)).unwrap_or(48);
        linear_base(bits, info, segments).unwrap_or(0)
    }

    fn untag(&self, pointer: u64) -> u64 {
        if pointer >> KERNEL_BIT & 1 == 1 {
            pointer | !0 << KERNEL_BIT
        } else {
            pointer
        }
    }

    fn page_tables(
        &self,
        dead: &Evidence<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Box<dyn PageTables>, String> {
        find::find(dead, warnings)
    }
}

/// `NUMBER(VA_BITS)`: what the kernel was built for.
fn built_bits(info: &VmcoreInfo) -> Option<u32> {
    plausible(info.number("VA_BITS")?)
}

/// `vabits_actual`: what the hardware was set to.
fn actual_bits(info: &VmcoreInfo) -> Option<u32> {
    plausible(64i64.checked_sub(info.number("TCR_EL1_T1SZ")?)?)
}

fn plausible(bits: i64) -> Option<u32> {
    u32::try_from(bits)
        .ok()
        .filter(|b| Geometry::KNOWN.iter().any(|(_, known)| known == b))
}

/// Where the linear map's first address lies, by the headers. Since 5.4 the linear map is the lower half of the kernel's addresses
/// and the image is in the upper one; before, it was the other way round.
fn linear_base(bits: u32, info: &VmcoreInfo, segments: &[Segment]) -> Option<u64> {
    let (lowest, middle) = (!0 << bits, !0 << (bits - 1));
    let image_is_above = |text: u64| text >= !0 << (bits.min(48) - 1);
    let linear = if info.symbol("_stext").is_none_or(image_is_above) {
        lowest..=middle - 1
    } else {
        middle..=u64::MAX
    };
    let segment = segments.iter().find(|s| linear.contains(&s.virt))?;
    Some((segment.start.raw()).wrapping_sub(segment.virt - linear.start()))
}

fn is_before_5_12(info: &VmcoreInfo) -> bool {
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit());
        text[..end.unwrap_or(text.len())].parse::<u32>().ok()
    };
    let release = info.text("OSRELEASE").unwrap_or("");
    let mut parts = release.splitn(3, '.');
    let version = (parts.next().and_then(number), parts.next().and_then(number));
    matches!(version, (Some(major), Some(minor)) if (major, minor) < (5, 12))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PhysAddr;

    fn segment(virt: u64, start: u64) -> Segment {
        Segment {
            start: PhysAddr::new(start),
            virt,
            offset: 4096,
            file_size: 1 << 30,
            mem_size: 1 << 30,
        }
    }

    fn info(text: &str) -> VmcoreInfo {
        VmcoreInfo::parse(text.as_bytes())
    }

    #[test]
    fn the_base_of_memory_is_said_or_computed_from_the_linear_map() {
        let key = info("NUMBER(PHYS_OFFSET)=0xfff1000040000000\n");
        assert_eq!(Aarch64.phys_base(&key, &[]), 0xfff1_0000_4000_0000);
        let flipped = [
            segment(0xffff_8000_1001_0000, 0x4121_0000),
            segment(0xffff_0000_0010_0000, 0x4010_0000),
        ];
        let keys = "NUMBER(VA_BITS)=48\nSYMBOL(_stext)=ffff800010010000\n";
        assert_eq!(Aarch64.phys_base(&info(keys), &flipped), 0x4000_0000);
        let old = [
            segment(0xffff_0000_0808_0000, 0x4128_0000),
            segment(0xffff_8000_0010_0000, 0x4010_0000),
        ];
        let keys = "NUMBER(VA_BITS)=48\nSYMBOL(_stext)=ffff000008080000\n";
        assert_eq!(Aarch64.phys_base(&info(keys), &old), 0x4000_0000);
        let large = [segment(0xfff0_0000_0010_0000, 0x4010_0000)];
        let keys =
            "NUMBER(VA_BITS)=52\nNUMBER(TCR_EL1_T1SZ)=0xc\nSYMBOL(_stext)=ffff800010010000\n";
        assert_eq!(Aarch64.phys_base(&info(keys), &large), 0x4000_0000);
        assert_eq!(Aarch64.phys_base(&info(""), &[]), 0);
    }

    #[test]
    fn sections_by_release_and_page_size() {
        let k64 = PageSize::new(65536).unwrap();
        let first = |release: &str, page| {
            Aarch64.section_size_bits(&info(&format!("OSRELEASE={release}\n")), page)[0]
        };
        assert_eq!(first("5.10.0-32-arm64", PageSize::K4), 30);
        assert_eq!(first("5.12.0", PageSize::K4), 27);
        assert_eq!(first("6.1.0-13-arm64", k64), 29);
        assert_eq!(first("4.19.0", k64), 30);
        assert_eq!(first("nonsense", PageSize::K4), 27);
    }

    #[test]
    fn a_tag_does_not_make_another_pointer() {
        assert_eq!(Aarch64.untag(0xf3ff_0000_1234_5678), 0xffff_0000_1234_5678);
        assert_eq!(Aarch64.untag(0xf4f0_0000_1234_5678), 0xfff0_0000_1234_5678);
        assert_eq!(Aarch64.untag(0x0000_ffff_1234_5678), 0x0000_ffff_1234_5678);
    }
}
