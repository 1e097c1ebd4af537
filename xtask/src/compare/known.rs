//! The known differences between makedumpfile and this filter. Each has a section in `docs/known-differences.md`.

/// A difference that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// Before what follows 1.7.9: OFFSET(page.compound_info) of Linux 7.1 is not known, so tail pages are judged as if they were pages of
    /// their own.
    TailPages,
    /// Without NUMBER(PG_slab), bit 7 of the flags is still taken for it; from Linux 6.10 on it is PG_waiters.
    Waiters,
    /// Only five low bits of `section_mem_map` are taken for flags; Linux 6.15 has a sixth.
    SectionFlags,
    /// arm64 page tables of 52-bit addresses with pages of 4 or 16 KiB are not read.
    Lpa2,
    /// Before what follows 1.7.9: arm64 kernels built for 52-bit addresses with pages of 4 or 16 KiB are not read on any processor.
    Va52,
}

impl Known {
    /// The heading of its section.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TailPages => "tail-pages",
            Self::Waiters => "waiters",
            Self::SectionFlags => "section-flags",
            Self::Lpa2 => "lpa2",
            Self::Va52 => "va52",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_section() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/known-differences.md");
        let text = std::fs::read_to_string(file).unwrap();
        for known in [
            Known::TailPages,
            Known::Waiters,
            Known::SectionFlags,
            Known::Lpa2,
            Known::Va52,
        ] {
            let heading = format!("## `{}`", known.name());
            assert!(text.contains(&heading), "{heading}");
        }
    }
}
