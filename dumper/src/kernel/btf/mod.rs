//! BTF: the kernel's own description of its types, read from its memory.
//!
//! Upstream: `Documentation/bpf/btf.rst`, `include/uapi/linux/btf.h`. A header, one record for each type, and their names as
//! NUL-terminated strings. Holds for: every kernel with `CONFIG_DEBUG_INFO_BTF` (5.2 and later); kinds that are newer than this text are
//! stepped over when the header has a layout section, otherwise the types behind the first of them are not seen.
//!
//! Several MiB are read in two passes and not kept: the strings (where are the wanted names?) and the types (which have such a name?).

mod blob;
mod types;

use super::virt::{VirtMem, Window};
use blob::Header;
use std::collections::HashMap;
use types::{Kind, Type};

pub use blob::search;

/// Every how many types the place of one is remembered.
const STEP: u32 = 256;
/// More types than any kernel has.
const MAX_TYPES: u32 = 1 << 22;
/// Types of a wanted name; real ones have one or two.
const MAX_NAMED: usize = 1024;
/// How deep typedefs, qualifiers and anonymous members are followed.
const MAX_DEPTH: u32 = 16;
/// Members and enumerators that one question looks at.
const MAX_MEMBERS: u32 = 1 << 16;
/// Anonymous members that one question goes into.
const MAX_ANONYMOUS: u32 = 256;
/// Types that are passed over to find others, for all questions together; those of a kernel need less than a tenth.
const MAX_STEPS: u32 = 1 << 20;

/// The types of a kernel, as far as they have one of the names wanted.
pub struct Btf<'a, 'm> {
    types: Window<'a, 'm>,
    header: Header,
    /// Where in the strings a wanted name is.
    names: HashMap<String, u32>,
    /// Places of type 1, 1 + STEP, …
    places: Vec<u32>,
    count: u32,
    /// Types with a wanted name, by its place in the strings.
    named: Vec<(u32, u32)>,
    /// What is left of [`MAX_STEPS`].
    steps: u32,
}

/// A member of a struct: where it is, in bits, and its type.
struct Member {
    bits: u32,
    type_id: u32,
}

/// What one question may still cost.
struct Budget {
    members: u32,
    anonymous: u32,
}

impl Budget {
    const fn new() -> Self {
        Self {
            members: MAX_MEMBERS,
            anonymous: MAX_ANONYMOUS,
        }
    }
}

impl<'a, 'm> Btf<'a, 'm> {
    /// Reads the BTF at virtual `start`. Only questions with names from `wanted` (types, members, enumerators) get an answer.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(mem: &'a VirtMem<'m>, start: u64, wanted: &[&str]) -> Result<Self, String> {
        let header = Header::read(mem, start)?;
        let names = header.find_names(mem, wanted)?;
        let mut btf = Self {
            types: Window::new(mem, header.types, u64::from(header.types_len)),
            header,
            names,
            places: Vec::new(),
            count: 0,
            named: Vec::new(),
            steps: MAX_STEPS,
        };
        btf.index();
        Ok(btf)
    }

    /// Number of types.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// No type at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Goes over all types once. What is damaged ends the walk: the types before it are known.
    fn index(&mut self) {
        let mut wanted: Vec<u32> = self.names.values().copied().collect();
        wanted.sort_unstable();
        let mut at = 0;
        while at < self.header.types_len && self.count < MAX_TYPES {
            let Some(found) = self.type_at(at) else {
                return;
            };
            let Some(next) = self.header.after(&found) else {
                return;
            };
            if self.count.is_multiple_of(STEP) {
                self.places.push(at);
            }
            self.count += 1;
            let is_wanted = found.name != 0 && wanted.binary_search(&found.name).is_ok();
            if is_wanted && self.named.len() < MAX_NAMED {
                self.named.push((found.name, at));
            }
            at = next;
        }
    }

    fn type_at(&mut self, at: u32) -> Option<Type> {
        let mut raw = [0; 12];
        self.types.read(at.into(), &mut raw).ok()?;
        Some(Type::decode(at, raw))
    }

    /// Type number `id`; 0 is `void`.
    fn by_id(&mut self, id: u32) -> Option<Type> {
        let index = id.checked_sub(1).filter(|index| *index < self.count)?;
        let mut at = *self.places.get(usize::try_from(index / STEP).ok()?)?;
        for _ in 0..index % STEP {
            self.steps = self.steps.checked_sub(1)?;
            let passed = self.type_at(at)?;
            at = self.header.after(&passed)?;
        }
        self.type_at(at)
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&mut self, mut found: Type) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            if !found.is_alias() {
                return Some(found);
            }
            found = self.by_id(found.size)?;
        }
        None
    }

    /// Every type of that name, typedefs followed.
    fn all_named(&mut self, name: &str) -> Vec<Type> {
        let Some(wanted) = self.names.get(name).copied() else {
            return Vec::new();
        };
        let places: Vec<u32> = self
            .named
            .iter()
            .filter(|(name, _)| *name == wanted)
            .map(|(_, at)| *at)
            .collect();
        let mut all = Vec::new();
        for at in places {
            if let Some(found) = self.type_at(at)
                && let Some(found) = self.resolve(found)
            {
                all.push(found);
            }
        }
        all
    }

    /// Size of a struct or union, or of what a typedef of that name stands for.
    pub fn size(&mut self, name: &str) -> Option<u64> {
        self.all_named(name)
            .into_iter()
            .find(|t| t.is_struct() && t.size != 0)
            .map(|t| t.size.into())
    }

    /// Offset of a member in bytes, also when it is in an anonymous struct or union. `None` for bit fields.
    pub fn offset(&mut self, name: &str, member: &str) -> Option<u64> {
        let found = self.member(name, member)?;
        found
            .bits
            .is_multiple_of(8)
            .then(|| (found.bits / 8).into())
    }

    /// Number of elements of a member that is an array.
    pub fn length(&mut self, name: &str, member: &str) -> Option<u64> {
        let found = self.member(name, member)?;
        let found = self.by_id(found.type_id)?;
        let array = self.resolve(found)?;
        if array.kind() != Kind::Array {
            return None;
        }
        let mut raw = [0; 12];
        self.types.read(array.body().into(), &mut raw).ok()?;
        Some(u32::from_le_bytes([raw[8], raw[9], raw[10], raw[11]]).into())
    }

    /// The value of a constant of an enum.
    pub fn enumerator(&mut self, name: &str, constant: &str) -> Option<i64> {
        let constant = *self.names.get(constant)?;
        let mut budget = Budget::new();
        for found in self.all_named(name) {
            let size = match found.kind() {
                Kind::Enum => 8,
                Kind::Enum64 => 12,
                _ => continue,
            };
            for index in 0..found.vlen {
                budget.members = budget.members.checked_sub(1)?;
                let mut raw = [0; 12];
                let raw = &mut raw[..size];
                let at = u64::from(found.body()) + u64::from(index) * size as u64;
                self.types.read(at, raw).ok()?;
                if let Some(value) = types::enumerator(raw, constant) {
                    return Some(value);
                }
            }
        }
        None
    }

    fn member(&mut self, name: &str, member: &str) -> Option<Member> {
        let member = *self.names.get(member)?;
        let mut budget = Budget::new();
        for found in self.all_named(name) {
            if let Some(found) = self.member_of(&found, member, 0, MAX_DEPTH, &mut budget) {
                return Some(found);
            }
        }
        None
    }

    /// Looks for the member named `wanted` in a struct that begins at bit `base`.
    fn member_of(
        &mut self,
        of: &Type,
        wanted: u32,
        base: u32,
        depth: u32,
        budget: &mut Budget,
    ) -> Option<Member> {
        if !of.is_struct() || depth == 0 {
            return None;
        }
        for index in 0..of.vlen {
            budget.members = budget.members.checked_sub(1)?;
            let mut raw = [0; 12];
            let at = u64::from(of.body()) + u64::from(index) * 12;
            self.types.read(at, &mut raw).ok()?;
            let member = types::member(raw, of.flag);
            let bits = base.checked_add(member.bits)?;
            if member.name == wanted {
                let type_id = member.type_id;
                return (member.width == 0).then_some(Member { bits, type_id });
            }
            if member.name != 0 {
                continue;
            }
            budget.anonymous = budget.anonymous.checked_sub(1)?;
            let inner = self.by_id(member.type_id).and_then(|t| self.resolve(t));
            let Some(inner) = inner else {
                continue;
            };
            if let Some(found) = self.member_of(&inner, wanted, bits, depth - 1, budget) {
                return Some(found);
            }
        }
        None
    }
}

#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;
