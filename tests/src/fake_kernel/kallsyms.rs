//! The table of symbols of a synthetic kernel (scripts/kallsyms.c): the few that a reader asks for, with addresses in each of the forms
//! that kernels have had.

use super::layout::Addresses;
use super::machine::Machine;
use super::memory::Memory;

/// How addresses are stored, in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kallsyms {
    /// Negative: from the base downwards; else the address itself, of per-CPU variables (x86_64 until 6.14).
    AbsolutePercpu,
    /// Unsigned, from the base upwards.
    Relative,
    /// From the place of the number (7.1 and later).
    PlaceRelative,
}

impl Kallsyms {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AbsolutePercpu, Self::Relative, Self::PlaceRelative];
}

/// Where BTF is, from the start of the text.
pub(super) const BTF: u64 = 0x8_0000;
const COUNT: u64 = 0x4_0000;
const NAMES: u64 = 0x4_0100;
const TOKENS: u64 = 0x4_1000;
const INDEX: u64 = 0x4_2000;
const OFFSETS: u64 = 0x4_3000;
const BASE: u64 = 0x4_4000;

/// The names and addresses of the tables that VMCOREINFO exports since 6.0.
pub(super) fn exported(form: Kallsyms, a: &Addresses) -> Vec<(&'static str, u64)> {
    let mut all = vec![
        ("kallsyms_names", a.text + NAMES),
        ("kallsyms_num_syms", a.text + COUNT),
        ("kallsyms_token_table", a.text + TOKENS),
        ("kallsyms_token_index", a.text + INDEX),
        ("kallsyms_offsets", a.text + OFFSETS),
    ];
    if form != Kallsyms::PlaceRelative {
        all.push(("kallsyms_relative_base", a.text + BASE));
    }
    all
}

/// The letter for the kind and the name, and the address: of two symbols with one name the global one counts.
fn symbols(machine: Machine, a: &Addresses) -> Vec<(&'static str, u64)> {
    let root = match machine {
        Machine::X86 { .. } => "Dinit_top_pgt",
        Machine::Arm64(_) => "Dswapper_pg_dir",
    };
    vec![
        ("A__per_cpu_start", 0x1_f000),
        ("T_stext", a.text),
        (root, a.page_table),
        ("Dinit_uts_ns", a.uts),
        ("dprb", a.text + 0x1_2345),
        ("Dprb", a.prb),
        ("Bmem_section", a.mem_section_pointer),
        ("R__start_BTF", a.text + BTF),
    ]
}

/// Tokens are the letters themselves, and one for `BTF`.
const TOKEN: (u8, &str) = (1, "BTF");

/// Writes the tables.
pub(super) fn write(memory: &mut Memory, machine: Machine, form: Kallsyms, a: &Addresses) {
    let symbols = symbols(machine, a);
    let at = |offset: u64| a.image(a.text + offset);
    memory.write(at(COUNT), &(symbols.len() as u32).to_le_bytes());
    memory.write_u64(at(BASE), a.text);
    let mut names = Vec::new();
    for (name, _) in &symbols {
        let packed = name.replace(TOKEN.1, &char::from(TOKEN.0).to_string());
        names.push(packed.len() as u8);
        names.extend(packed.as_bytes());
    }
    memory.write(at(NAMES), &names);
    let (mut tokens, mut index) = (Vec::new(), Vec::new());
    for number in 0..=255u8 {
        index.extend((tokens.len() as u16).to_le_bytes());
        match number {
            number if number == TOKEN.0 => tokens.extend(TOKEN.1.as_bytes()),
            b'0'..=b'z' => tokens.push(number),
            _ => {}
        }
        tokens.push(0);
    }
    memory.write(at(TOKENS), &tokens);
    memory.write(at(INDEX), &index);
    for ((_, address), i) in symbols.into_iter().zip(0..) {
        let place = OFFSETS + i * 4;
        let number = match form {
            Kallsyms::AbsolutePercpu if address >> 31 == 0 => address,
            Kallsyms::AbsolutePercpu => (a.text - 1).wrapping_sub(address),
            Kallsyms::Relative => address.wrapping_sub(a.text),
            Kallsyms::PlaceRelative => address.wrapping_sub(a.text + place),
        };
        memory.write(at(place), &(number as u32).to_le_bytes());
    }
}
