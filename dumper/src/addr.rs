//! Page frame numbers, physical and virtual addresses of the dead kernel.
//!
//! A value of these types is an allegation: it says nothing about whether memory is there. The only way from an address to
//! bytes is [`crate::vmcore::PhysMem::read`], which returns a `Result`. There are no arithmetic operators, only checked ones.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta] $name:ident)*) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw number.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }
            /// The raw number.
            pub const fn raw(self) -> u64 {
                self.0
            }
            /// The sum, or `None` when it wraps.
            pub const fn checked_add(self, by: u64) -> Option<Self> {
                match self.0.checked_add(by) {
                    Some(v) => Some(Self(v)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )*};
}

number! {
    /// A physical address of the dead kernel, in bytes.
    PhysAddr
    /// A kernel virtual address of the dead kernel.
    VirtAddr
    /// A page frame number of the dead kernel.
    Pfn
}

/// The page size of the dead kernel: 4, 16 or 64 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageSize {
    shift: u8,
}

impl PageSize {
    /// 4096 bytes.
    pub const K4: Self = Self { shift: 12 };
    /// 16 KiB.
    pub const K16: Self = Self { shift: 14 };
    /// 64 KiB.
    pub const K64: Self = Self { shift: 16 };

    /// A page size in bytes; `None` for anything but 4096, 16384 and 65536.
    pub const fn new(bytes: u64) -> Option<Self> {
        match bytes {
            4096 => Some(Self { shift: 12 }),
            16384 => Some(Self { shift: 14 }),
            65536 => Some(Self { shift: 16 }),
            _ => None,
        }
    }

    /// log2 of the page size.
    pub const fn shift(self) -> u32 {
        self.shift as u32
    }

    /// The page size in bytes.
    pub const fn bytes(self) -> usize {
        1 << self.shift
    }

    /// The page that holds `addr`.
    pub const fn pfn(self, addr: PhysAddr) -> Pfn {
        Pfn(addr.0 >> self.shift)
    }

    /// The first byte of `pfn`, or `None` when the address does not fit 64 bits.
    pub const fn phys(self, pfn: Pfn) -> Option<PhysAddr> {
        if pfn.0 > u64::MAX >> self.shift {
            None
        } else {
            Some(PhysAddr(pfn.0 << self.shift))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_addresses() {
        assert_eq!(PageSize::new(8192), None);
        assert_eq!(PageSize::K4.phys(Pfn::new(3)), Some(PhysAddr::new(0x3000)));
        assert_eq!(
            PageSize::K4.phys(Pfn::new(u64::MAX >> 12)),
            Some(PhysAddr::new(!0xfff))
        );
        assert_eq!(PageSize::K4.phys(Pfn::new((u64::MAX >> 12) + 1)), None);
        assert_eq!(PhysAddr::new(u64::MAX).checked_add(1), None);
        assert_eq!(PhysAddr::new(0x1fff).to_string(), "0x1fff");
    }
}
