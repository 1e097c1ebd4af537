//! The records of BTF.

/// The kinds of types that questions are asked about; every other is one of these to be stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Array,
    Struct,
    Enum,
    Enum64,
    /// Another name, or a qualifier.
    Alias,
    Other,
}

/// The part that all records begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    /// Where it is in the type section.
    pub(super) at: u32,
    /// Where its name is in the strings; 0 for none.
    pub(super) name: u32,
    /// BTF_KIND_*.
    pub(super) number: u32,
    /// Number of members, enumerators, parameters.
    pub(super) vlen: u32,
    /// For a struct: the upper 8 bits of a member's offset are the width of a bit field.
    pub(super) flag: bool,
    /// Size in bytes, or the number of the type that this one is made from.
    pub(super) size: u32,
}

/// Bytes of [`Type`].
pub(super) const TYPE: u32 = 12;

impl Type {
    pub(super) fn decode(at: u32, raw: [u8; 12]) -> Self {
        let info = u32_at(&raw, 4);
        Self {
            at,
            name: u32_at(&raw, 0),
            // 5 bits and 16 bits so far; the bits beside them are 0 and free for growth.
            number: info >> 24 & 0x7f,
            vlen: info & 0xff_ffff,
            flag: info >> 31 != 0,
            size: u32_at(&raw, 8),
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.number {
            3 => Kind::Array,
            4 | 5 => Kind::Struct,
            6 => Kind::Enum,
            19 => Kind::Enum64,
            // typedef, volatile, const, restrict, type tag
            8..=11 | 18 => Kind::Alias,
            _ => Kind::Other,
        }
    }

    pub(super) fn is_struct(&self) -> bool {
        self.kind() == Kind::Struct
    }

    pub(super) fn is_alias(&self) -> bool {
        self.kind() == Kind::Alias
    }

    /// Where what follows the common part begins.
    pub(super) const fn body(&self) -> u32 {
        self.at.saturating_add(TYPE)
    }

    /// Bytes once and bytes for each of `vlen` that follow the common part; `None` for a kind that is not known.
    pub(super) const fn following(&self) -> Option<(u32, u32)> {
        Some(match self.number {
            // int, variable, declaration tag
            1 | 14 | 17 => (4, 0),
            3 => (12, 0),
            // struct, union, data section, enum64
            4 | 5 | 15 | 19 => (0, 12),
            // enum, function prototype
            6 | 13 => (0, 8),
            // pointer, forward, typedef, qualifiers, function (its vlen is a linkage), float, type tag
            2 | 7..=12 | 16 | 18 => (0, 0),
            _ => return None,
        })
    }
}

/// A member of a struct.
pub(super) struct RawMember {
    pub(super) name: u32,
    pub(super) type_id: u32,
    /// Offset in bits.
    pub(super) bits: u32,
    /// Width of a bit field; 0 for an ordinary member.
    pub(super) width: u32,
}

pub(super) fn member(raw: [u8; 12], has_widths: bool) -> RawMember {
    let offset = u32_at(&raw, 8);
    RawMember {
        name: u32_at(&raw, 0),
        type_id: u32_at(&raw, 4),
        bits: if has_widths {
            offset & 0xff_ffff
        } else {
            offset
        },
        width: if has_widths { offset >> 24 } else { 0 },
    }
}

/// The value of an enumerator (8 bytes; 12 with a value of 64 bits), if it is the one named `wanted`.
pub(super) fn enumerator(raw: &[u8], wanted: u32) -> Option<i64> {
    if u32_at(raw, 0) != wanted {
        return None;
    }
    let low = u32_at(raw, 4);
    if raw.len() < 12 {
        return Some(low.cast_signed().into());
    }
    let value = u64::from(u32_at(raw, 8)) << 32 | u64::from(low);
    Some(value.cast_signed())
}

pub(super) fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
