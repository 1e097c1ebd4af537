//! kallsyms: addresses of the kernel's symbols, from its own tables in its memory.
//!
//! Upstream: `kernel/kallsyms.c`, `scripts/kallsyms.c`. VMCOREINFO says where the tables are since 6.0. A name is a length (one byte, two
//! when bit 7 of the first is set, since 6.1) and that many token numbers; a token is a NUL-terminated string. An address is a 32-bit
//! number that has been read in three ways over the years; the right one is the one that gives the addresses VMCOREINFO says.

use super::virt::{VirtError, VirtMem, Window};
use crate::addr::VirtAddr;
use crate::vmcore::VmcoreInfo;
use std::ops::Range;

/// More symbols than any kernel has.
const MAX_SYMBOLS: u32 = 1 << 22;
/// The longest token table that is believed; real ones have about 1 KiB.
const MAX_TOKENS: usize = 16 << 10;
/// The longest table of names that is believed; real ones have 1 to 5 MiB.
const MAX_NAMES: u64 = 32 << 20;
/// KSYM_NAME_LEN is 512 since 6.1; with the letter for the kind.
const MAX_NAME: usize = 513;
/// Symbols whose addresses VMCOREINFO says: they tell how to read the offsets.
const KNOWN: [&str; 4] = ["_stext", "init_uts_ns", "swapper_pg_dir", "init_top_pgt"];

/// Where the tables are.
struct Tables {
    names: VirtAddr,
    count: u32,
    tokens: Vec<u8>,
    /// Where each token's string is in `tokens`.
    ranges: [Range<usize>; 256],
    offsets: VirtAddr,
    base: Option<u64>,
}

/// A symbol that was found: its place in the tables, and whether other files of the kernel can see it.
#[derive(Clone, Copy)]
struct Found {
    index: u32,
    global: bool,
}

/// The addresses of `wanted`, in that order; `None` for a name that is not there.
///
/// # Errors
/// A sentence that says why no name can be looked up.
pub fn find(
    mem: &VirtMem<'_>,
    info: &VmcoreInfo,
    wanted: &[&str],
) -> Result<Vec<Option<u64>>, String> {
    let tables = Tables::read(mem, info)?;
    let known: Vec<(&str, u64)> = KNOWN
        .iter()
        .filter_map(|name| Some((*name, info.symbol(name)?)))
        .collect();
    let names: Vec<&str> = wanted
        .iter()
        .copied()
        .chain(known.iter().map(|k| k.0))
        .collect();
    let found = tables.search(mem, &names)?;
    let (wanted_found, known_found) = found.split_at(wanted.len());
    let known: Vec<(u32, u64)> = known_found
        .iter()
        .zip(&known)
        .filter_map(|(found, (_, address))| Some(((*found)?.index, *address)))
        .collect();
    let formula = tables.formula(mem, &known)?;
    let address = |found: &Option<Found>| {
        let index = (*found)?.index;
        tables.address(mem, formula, index).filter(|a| *a != 0)
    };
    Ok(wanted_found.iter().map(address).collect())
}

/// How a number of the table becomes an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Formula {
    /// Not negative: the address itself; negative: `kallsyms_relative_base - 1 - number`.
    AbsolutePercpu,
    /// `kallsyms_relative_base + number`, unsigned.
    Relative,
    /// The address of the number itself plus the number.
    PlaceRelative,
}

impl Tables {
    fn read(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<Self, String> {
        let symbol = |name: &str| {
            info.symbol(name)
                .map(VirtAddr::new)
                .ok_or_else(|| format!("VMCOREINFO lacks SYMBOL({name})"))
        };
        let fail = |e: VirtError| format!("kallsyms cannot be read: {e}");
        let mut count = [0; 4];
        let mut index = [0; 512];
        let names = symbol("kallsyms_names")?;
        let offsets = symbol("kallsyms_offsets")?;
        mem.read(symbol("kallsyms_num_syms")?, &mut count)
            .map_err(fail)?;
        let count = u32::from_le_bytes(count);
        if count == 0 || count > MAX_SYMBOLS {
            return Err(format!("kallsyms says that it has {count} symbols"));
        }
        mem.read(symbol("kallsyms_token_index")?, &mut index)
            .map_err(fail)?;
        let starts: [usize; 256] = std::array::from_fn(|number| {
            usize::from(u16::from_le_bytes([
                index[number * 2],
                index[number * 2 + 1],
            ]))
        });
        let base = info
            .symbol("kallsyms_relative_base")
            .map(|at| mem.read_u64(VirtAddr::new(at)))
            .transpose()
            .map_err(fail)?;
        let tokens = read_tokens(mem, symbol("kallsyms_token_table")?, &starts).map_err(fail)?;
        Ok(Self {
            names,
            count,
            ranges: starts.map(|start| {
                let rest = tokens.get(start..).unwrap_or_default();
                start..start + rest.iter().position(|b| *b == 0).unwrap_or(0)
            }),
            tokens,
            offsets,
            base,
        })
    }

    /// The string of a token; empty when the table does not have it.
    fn token(&self, number: u8) -> &[u8] {
        let range = self.ranges[usize::from(number)].clone();
        self.tokens.get(range).unwrap_or_default()
    }

    /// Goes through all names once. Of symbols with the same name the first one that is global counts, else the first.
    fn search(&self, mem: &VirtMem<'_>, wanted: &[&str]) -> Result<Vec<Option<Found>>, String> {
        let mut table = Window::new(mem, self.names, MAX_NAMES);
        let mut found = vec![None; wanted.len()];
        let mut name = Vec::with_capacity(MAX_NAME);
        let mut at = 0;
        for index in 0..self.count {
            let broken = |e: VirtError| format!("the name of symbol {index} cannot be read: {e}");
            at += self.name_at(&mut table, at, &mut name).map_err(broken)?;
            let Some((kind, text)) = name.split_first() else {
                continue;
            };
            let Some(which) = wanted.iter().position(|w| w.as_bytes() == text) else {
                continue;
            };
            let global = kind.is_ascii_uppercase();
            let old: Option<Found> = found[which];
            if old.is_none_or(|old| global && !old.global) {
                found[which] = Some(Found { index, global });
            }
        }
        Ok(found)
    }

    /// Decodes the name at `at` of the table, letter for the kind first, and returns how many bytes it takes there.
    fn name_at(
        &self,
        table: &mut Window<'_, '_>,
        at: u64,
        name: &mut Vec<u8>,
    ) -> Result<u64, VirtError> {
        let mut len = [0; 2];
        table.read(at, &mut len[..1])?;
        let mut used = 1;
        let mut count = usize::from(len[0]);
        if len[0] & 0x80 != 0 {
            table.read(at + 1, &mut len[1..])?;
            used = 2;
            count = usize::from(len[0] & 0x7f) | usize::from(len[1]) << 7;
        }
        name.clear();
        let mut numbers = [0; MAX_NAME];
        let numbers = &mut numbers[..count.min(MAX_NAME)];
        table.read(at + used, numbers)?;
        for number in numbers {
            let token = self.token(*number);
            if name.len() + token.len() > MAX_NAME {
                name.clear();
                break;
            }
            name.extend_from_slice(token);
        }
        Ok(used + count as u64)
    }

    /// The way to read the offsets that gives every address that is known.
    fn formula(&self, mem: &VirtMem<'_>, known: &[(u32, u64)]) -> Result<Formula, String> {
        let all = [
            Formula::AbsolutePercpu,
            Formula::Relative,
            Formula::PlaceRelative,
        ];
        let fits = |formula: &Formula| {
            known
                .iter()
                .all(|(index, address)| self.address(mem, *formula, *index) == Some(*address))
        };
        all.into_iter()
            .find(|formula| !known.is_empty() && fits(formula))
            .ok_or_else(|| {
                "no way to read kallsyms gives the addresses that VMCOREINFO says".into()
            })
    }

    fn address(&self, mem: &VirtMem<'_>, formula: Formula, index: u32) -> Option<u64> {
        let place = self.offsets.checked_add(u64::from(index) * 4)?;
        let mut raw = [0; 4];
        mem.read(place, &mut raw).ok()?;
        let signed = i64::from(i32::from_le_bytes(raw));
        match formula {
            Formula::AbsolutePercpu if signed >= 0 => Some(signed.cast_unsigned()),
            Formula::AbsolutePercpu => {
                Some(self.base?.wrapping_sub(1).wrapping_add_signed(-signed))
            }
            Formula::Relative => Some(self.base?.wrapping_add(u64::from(u32::from_le_bytes(raw)))),
            Formula::PlaceRelative => Some(place.raw().wrapping_add_signed(signed)),
        }
    }
}

/// The token table ends with the string of the last token.
fn read_tokens(
    mem: &VirtMem<'_>,
    table: VirtAddr,
    starts: &[usize; 256],
) -> Result<Vec<u8>, VirtError> {
    let last = starts.iter().copied().max().unwrap_or(0);
    let mut window = Window::new(mem, table, (MAX_TOKENS + MAX_NAME) as u64);
    let mut tokens = vec![0; last.min(MAX_TOKENS)];
    window.read(0, &mut tokens)?;
    for _ in 0..MAX_NAME {
        let mut byte = [0];
        window.read(tokens.len() as u64, &mut byte)?;
        tokens.push(byte[0]);
        if byte[0] == 0 {
            break;
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::super::flat::{BASE, Flat};
    use super::*;
    use proptest::prelude::*;

    const SYMBOLS: [(&str, u64); 6] = [
        ("A__per_cpu_start", 0x1f000),
        ("T_stext", BASE),
        ("dprb", BASE + 0x7000),
        ("R__start_BTF", BASE + 0x12_3456),
        ("Dprb", BASE + 0x8000),
        ("Dinit_uts_ns", BASE + 0x20_0000),
    ];

    /// One page for each table; tokens are all single letters and "BTF", token 1.
    fn build(formula: Formula, two_byte: bool) -> (Flat, VmcoreInfo) {
        let mut bytes = vec![0; 0x6000];
        let mut at = 0x1000;
        let count = u32::try_from(SYMBOLS.len()).unwrap();
        bytes[..4].copy_from_slice(&count.to_le_bytes());
        for (name, _) in SYMBOLS {
            let packed = name.replace("BTF", "\x01");
            bytes[at] = u8::try_from(packed.len()).unwrap();
            at += 1;
            if two_byte {
                bytes[at - 1] |= 0x80;
                at += 1;
            }
            bytes[at..at + packed.len()].copy_from_slice(packed.as_bytes());
            at += packed.len();
        }
        let mut tokens = Vec::new();
        for number in 0..=255u8 {
            let start = u16::try_from(tokens.len()).unwrap();
            let index = 0x3000 + usize::from(number) * 2;
            bytes[index..index + 2].copy_from_slice(&start.to_le_bytes());
            match number {
                1 => tokens.extend_from_slice(b"BTF"),
                b'0'..=b'z' => tokens.push(number),
                _ => {}
            }
            tokens.push(0);
        }
        bytes[0x2000..0x2000 + tokens.len()].copy_from_slice(&tokens);
        let relative = BASE - 0x100_0000;
        bytes[0x5000..0x5008].copy_from_slice(&relative.to_le_bytes());
        for (index, (_, address)) in SYMBOLS.into_iter().enumerate() {
            let place = 0x4000 + index * 4;
            let value = match formula {
                Formula::AbsolutePercpu if address < 1 << 31 => address,
                Formula::AbsolutePercpu => (relative - 1).wrapping_sub(address),
                Formula::Relative => address.wrapping_sub(relative),
                Formula::PlaceRelative => address.wrapping_sub(BASE + place as u64),
            };
            bytes[place..place + 4].copy_from_slice(&value.to_le_bytes()[..4]);
        }
        let mut text = format!(
            "SYMBOL(_stext)={BASE:x}\nSYMBOL(init_uts_ns)={:x}\n",
            BASE + 0x20_0000
        );
        for (name, at) in [
            ("num_syms", 0),
            ("names", 0x1000),
            ("token_table", 0x2000),
            ("token_index", 0x3000),
            ("offsets", 0x4000),
        ] {
            text += &format!("SYMBOL(kallsyms_{name})={:x}\n", BASE + at);
        }
        if formula != Formula::PlaceRelative {
            text += &format!("SYMBOL(kallsyms_relative_base)={:x}\n", BASE + 0x5000);
        }
        (Flat(bytes), VmcoreInfo::parse(text.as_bytes()))
    }

    #[test]
    fn every_form_of_addresses_and_lengths() {
        for formula in [
            Formula::AbsolutePercpu,
            Formula::Relative,
            Formula::PlaceRelative,
        ] {
            for two_byte in [false, true] {
                let (flat, info) = build(formula, two_byte);
                let wanted = ["__start_BTF", "nothing", "prb", "_stext"];
                let found = find(&flat.mem(), &info, &wanted).unwrap();
                assert_eq!(found[0], Some(BASE + 0x12_3456), "{formula:?}");
                assert_eq!(found[1], None);
                assert_eq!(found[2], Some(BASE + 0x8000), "the global one");
                assert_eq!(found[3], Some(BASE));
            }
        }
    }

    #[test]
    fn tables_that_do_not_agree_with_vmcoreinfo_are_not_believed() {
        let (mut flat, info) = build(Formula::Relative, false);
        flat.0[0x4004] ^= 1;
        let why = find(&flat.mem(), &info, &["prb"]).unwrap_err();
        assert!(why.contains("no way to read kallsyms"), "{why}");
        flat.0[..4].fill(0xff);
        let why = find(&flat.mem(), &info, &["prb"]).unwrap_err();
        assert!(why.contains("4294967295 symbols"), "{why}");
        let none = VmcoreInfo::parse(b"SYMBOL(_stext)=ffffffff81000000\n");
        let why = find(&flat.mem(), &none, &["prb"]).unwrap_err();
        assert!(why.contains("kallsyms_names"), "{why}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_trouble(places in proptest::collection::vec((0..0x6000usize, any::<u8>()), 1..200), count: u32) {
            let (mut flat, info) = build(Formula::Relative, true);
            for (at, byte) in places {
                flat.0[at] = byte;
            }
            flat.0[..4].copy_from_slice(&(count % (MAX_SYMBOLS + 1)).to_le_bytes());
            let _ = find(&flat.mem(), &info, &["prb", "__start_BTF"]);
        }
    }
}
