//! Processors that synthetic kernels run on.

/// An arm64 kernel's pages and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm64 {
    /// log2 of the page size.
    pub page_shift: u32,
    /// `VA_BITS`: what the kernel was built for.
    pub built: u32,
    /// What the processor can do.
    pub actual: u32,
}

impl Arm64 {
    /// The configurations that distributions and users build, and what they become on smaller processors.
    pub const ALL: [Self; 10] = [
        Self::new(12, 48, 48),
        Self::new(12, 39, 39),
        Self::new(12, 52, 52),
        Self::new(12, 52, 48),
        Self::new(14, 47, 47),
        Self::new(14, 52, 52),
        Self::new(14, 52, 47),
        Self::new(16, 48, 48),
        Self::new(16, 52, 52),
        Self::new(16, 52, 48),
    ];

    const fn new(page_shift: u32, built: u32, actual: u32) -> Self {
        Self {
            page_shift,
            built,
            actual,
        }
    }

    /// `VA_BITS_MIN`: the addresses of the image and of vmemmap are the same on every processor.
    pub const fn least_bits(self) -> u32 {
        match (self.built, self.page_shift) {
            (52, 14) => 47,
            (52, _) => 48,
            (built, _) => built,
        }
    }

    /// Virtual addresses of 52 bits with pages below 64 KiB.
    pub const fn has_lpa2(self) -> bool {
        self.actual == 52 && self.page_shift < 16
    }

    /// The lowest address bit of the index into each level of tables, the top level first, and the bits that all of them resolve.
    pub const fn levels(self) -> (&'static [u32], u32) {
        match (self.page_shift, self.built, self.actual) {
            (12, _, 39) => (&[30, 21, 12], 39),
            (12, _, 48) => (&[39, 30, 21, 12], 48),
            (12, ..) => (&[48, 39, 30, 21, 12], 52),
            (14, _, 47) => (&[36, 25, 14], 47),
            (14, ..) => (&[47, 36, 25, 14], 52),
            (_, 48, _) => (&[42, 29, 16], 48),
            _ => (&[42, 29, 16], 52),
        }
    }
}

/// What a synthetic kernel runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86_64 with 4 or 5 levels of page tables.
    X86 {
        /// Levels.
        levels: u32,
    },
    /// arm64.
    Arm64(Arm64),
}

impl Machine {
    /// `e_machine`.
    pub const fn elf(self) -> u16 {
        match self {
            Self::X86 { .. } => 62,
            Self::Arm64(_) => 183,
        }
    }

    /// `utsname.machine`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86 { .. } => "x86_64",
            Self::Arm64(_) => "aarch64",
        }
    }

    /// Bytes of `struct elf_prstatus`.
    pub const fn status_size(self) -> usize {
        match self {
            Self::X86 { .. } => 336,
            Self::Arm64(_) => 392,
        }
    }

    /// `MAX_PHYSMEM_BITS`.
    pub const fn physmem_bits(self) -> u32 {
        match self {
            Self::X86 { levels: 5 } | Self::Arm64(Arm64 { built: 52, .. }) => 52,
            Self::X86 { .. } => 46,
            Self::Arm64(_) => 48,
        }
    }
}
