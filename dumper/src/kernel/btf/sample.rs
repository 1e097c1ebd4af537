//! BTF written by hand, for tests.

/// A blob in the making.
pub(in crate::kernel) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// `(name, type, bits, width of a bit field)`.
pub(in crate::kernel) type Member<'a> = (&'a str, u32, u32, u32);

impl Builder {
    pub(in crate::kernel) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            count: 0,
        }
    }

    pub(in crate::kernel) fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        let with_ends: Vec<u8> = [b"\0", name.as_bytes(), b"\0"].concat();
        if let Some(old) = self
            .strings
            .windows(with_ends.len())
            .position(|w| w == with_ends)
        {
            return u32::try_from(old).unwrap() + 1;
        }
        self.strings.extend_from_slice(&with_ends[1..]);
        at
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Any record; returns the number of the type.
    pub(in crate::kernel) fn record(
        &mut self,
        name: &str,
        info: u32,
        size: u32,
        more: &[u32],
    ) -> u32 {
        let name = self.name(name);
        self.words(&[name, info, size]);
        self.words(more);
        self.count += 1;
        self.count
    }

    pub(in crate::kernel) fn int(&mut self) -> u32 {
        self.record("unsigned long", 1 << 24, 8, &[64])
    }

    pub(in crate::kernel) fn array(&mut self, of: u32, elements: u32) -> u32 {
        self.record("", 3 << 24, 0, &[of, of, elements])
    }

    pub(in crate::kernel) fn alias(&mut self, name: &str, kind: u32, of: u32) -> u32 {
        self.record(name, kind << 24, of, &[])
    }

    /// A struct (kind 4) or union (5).
    pub(in crate::kernel) fn compound(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[Member<'_>],
    ) -> u32 {
        let widths = members.iter().any(|m| m.3 != 0);
        let mut more = Vec::new();
        for (name, type_id, bits, width) in members {
            more.extend([self.name(name), *type_id, bits | width << 24]);
        }
        let vlen = u32::try_from(members.len()).unwrap();
        let info = kind << 24 | vlen | u32::from(widths) << 31;
        self.record(name, info, size, &more)
    }

    pub(in crate::kernel) fn constants(&mut self, name: &str, all: &[(&str, i32)]) -> u32 {
        let mut more = Vec::new();
        for (name, value) in all {
            more.extend([self.name(name), value.cast_unsigned()]);
        }
        let vlen = u32::try_from(all.len()).unwrap();
        self.record(name, 6 << 24 | vlen, 4, &more)
    }

    /// The blob; with `layout` a newer header that says how long records of kind 100 are: `layout.0` bytes and `layout.1` for each.
    pub(in crate::kernel) fn build(&self, layout: Option<(u8, u8)>) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let (types, strings) = (length(&self.types), length(&self.strings));
        let header_len = if layout.is_some() { 32 } else { 24 };
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        for word in [header_len, 0, types, types, strings] {
            blob.extend_from_slice(&u32::to_le_bytes(word));
        }
        if layout.is_some() {
            for word in [types + strings, 101 * 4] {
                blob.extend_from_slice(&u32::to_le_bytes(word));
            }
        }
        blob.extend_from_slice(&self.types);
        blob.extend_from_slice(&self.strings);
        if let Some((once, each)) = layout {
            blob.extend_from_slice(&[0; 400]);
            blob.extend_from_slice(&[once, each, 0, 0]);
        }
        blob
    }
}

/// A kernel's struct page, zone, flags and types, as far as they matter.
pub(in crate::kernel) fn kernel() -> Builder {
    let mut b = Builder::new();
    let int = b.int();
    let inner = b.compound(4, "", 16, &[("lru", int, 0, 0), ("mapping", int, 128, 0)]);
    let tail = b.compound(4, "", 8, &[("compound_head", int, 0, 0)]);
    let union = b.compound(
        5,
        "",
        40,
        &[("", inner, 0, 0), ("", tail, 0, 0), ("", int, 0, 0)],
    );
    let mapcount = b.compound(5, "", 4, &[("_mapcount", int, 0, 0)]);
    let constant = b.alias("", 10, union);
    let members = [
        ("flags", int, 0, 0),
        ("", constant, 64, 0),
        ("private", int, 320, 0),
        ("", mapcount, 384, 0),
    ];
    b.compound(4, "page", 64, &members);
    let area = b.compound(4, "free_area", 104, &[("nr_free", int, 0, 0)]);
    let areas = b.array(area, 11);
    b.compound(4, "zone", 1856, &[("free_area", areas, 1536, 0)]);
    let counter = b.compound(4, "", 8, &[("counter", int, 0, 0)]);
    let named = b.alias("atomic64_t", 8, counter);
    b.alias("atomic_long_t", 8, named);
    let flags = [("PG_lru", 5), ("PG_head", 6), ("PG_private", 14)];
    b.constants(
        "pageflags",
        &[&flags[..], &[("PG_swapcache", 10), ("PG_swapbacked", 17)]].concat(),
    );
    let types = [
        ("PGTY_buddy", 0xf0),
        ("PGTY_slab", 0xf5),
        ("PGTY_hugetlb", 0xf4),
    ];
    b.constants("pagetype", &types);
    b
}
