//! A sentinel: a page that says what it is.
//!
//! Layout, all little-endian: 16 bytes [`MAGIC`], u32 class, u32 index, u64 index ^ [`SECRET`], then a
//! pseudo-random pattern up to the end of the piece. It starts at page offset 0, for slab at offset 64.

/// The first 16 bytes of a sentinel.
pub(crate) const MAGIC: [u8; 16] = *b"BAREDUMPSENTINEL";
/// Tells a sentinel from the magic in a program's own constants.
pub(crate) const SECRET: u64 = 0x5ea1_ed0f_fda7_a5e7;
/// Bytes before the pattern.
const HEADER: usize = 32;

/// What a page is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Class {
    /// Anonymous small pages.
    Anon = 1,
    /// Transparent huge pages.
    Thp = 2,
    /// hugetlb pages of 2 MiB.
    Hugetlb = 3,
    /// Page cache without private data: read from ext4.
    Cache = 4,
    /// Page cache with buffer heads: freshly written to ext4.
    CachePrivate = 5,
    /// tmpfs pages.
    Tmpfs = 6,
    /// Slab objects.
    Slab = 7,
    /// Pages given back to the buddy allocator.
    Free = 8,
    /// Anonymous pages that hold only zeros; these carry no sentinel.
    Zero = 9,
}

impl Class {
    /// The name on the console.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Anon => "anon",
            Class::Thp => "thp",
            Class::Hugetlb => "hugetlb",
            Class::Cache => "cache",
            Class::CachePrivate => "cache-private",
            Class::Tmpfs => "tmpfs",
            Class::Slab => "slab",
            Class::Free => "free",
            Class::Zero => "zero",
        }
    }
}

/// Writes the sentinel `index` of `class` over all of `piece`, in place.
pub(crate) fn fill(piece: &mut [u8], class: Class, index: u32) {
    let Some((header, pattern)) = piece.split_at_mut_checked(HEADER) else {
        return;
    };
    let class = class as u32;
    header[..16].copy_from_slice(&MAGIC);
    header[16..20].copy_from_slice(&class.to_le_bytes());
    header[20..24].copy_from_slice(&index.to_le_bytes());
    header[24..].copy_from_slice(&(u64::from(index) ^ SECRET).to_le_bytes());
    let mut state =
        (u64::from(class) << 32 | u64::from(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in pattern.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_where_the_document_says() {
        let mut page = [0u8; 4096];
        fill(&mut page, Class::Slab, 5);
        assert_eq!(page[..16], MAGIC);
        assert_eq!(page[16..24], [7, 0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(page[24..32], (5 ^ SECRET).to_le_bytes());
        assert!(page[32..].chunks(8).all(|word| word != [0; 8]));
    }

    #[test]
    fn pages_differ() {
        let (mut a, mut b) = ([0u8; 4096], [0u8; 4096]);
        fill(&mut a, Class::Anon, 1);
        fill(&mut b, Class::Anon, 2);
        assert_ne!(a[32..], b[32..]);
        fill(&mut b, Class::Thp, 1);
        assert_ne!(a[32..], b[32..]);
    }
}
