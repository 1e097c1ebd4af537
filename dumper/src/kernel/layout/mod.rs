//! The kernel's layout: VMCOREINFO, and what it does not say from the kernel's own tables, kallsyms and BTF.
//!
//! A healthy vmcore costs a look at the keys. Only when one is missing that its kernel must have exported, the tables are read: once, with
//! what is wanted known beforehand, in a fixed amount of memory.

mod keys;

use super::btf::{self, Btf};
use super::kallsyms;
use super::virt::VirtMem;
use crate::addr::VirtAddr;
use crate::vmcore::VmcoreInfo;
use keys::Question;

/// The symbol of the first byte of BTF.
const START_BTF: &str = "__start_BTF";

/// Adds to `info` what the kernel's own tables say about keys that are missing. Returns what there is to tell, a sentence each.
pub fn complete(info: &mut VmcoreInfo, mem: &VirtMem<'_>) -> Vec<String> {
    let missing = keys::missing(info);
    if info.is_empty() || missing.is_empty() {
        return Vec::new();
    }
    let wanted: Vec<&str> = missing
        .iter()
        .copied()
        .flatten()
        .chain(keys::OPTIONAL)
        .copied()
        .filter(|key| info.text(key).is_none())
        .collect();
    let (btf_at, no_symbols) = match add_symbols(info, mem, &wanted) {
        Ok(btf_at) => (btf_at, None),
        Err(why) => (None, Some(why)),
    };
    let questions: Vec<(&str, Question<'_>)> = wanted
        .iter()
        .filter_map(|key| Some((*key, Question::of(key)?)))
        .collect();
    let at = btf_at.or_else(|| btf::search(mem, info.symbol("_stext")?));
    let no_types = match at.map(|at| Btf::read(mem, at, &names(&questions))) {
        Some(Ok(mut btf)) => {
            add_types(info, &mut btf, &questions);
            None
        }
        Some(Err(why)) => Some(why),
        None => Some("no BTF is found in the vmcore".into()),
    };
    let answered: Vec<String> = missing
        .iter()
        .filter_map(|line| line.iter().find(|key| info.text(key).is_some()))
        .map(|key| (*key).to_owned())
        .collect();
    let (symbols, types): (Vec<_>, Vec<_>) = keys::missing(info)
        .iter()
        .map(|line| line.join(" or "))
        .partition(|key| key.starts_with("SYMBOL("));
    let taken = "taken from the kernel's own symbols and types".to_owned();
    let unknown = || "the kernel's own symbols and types do not say it either".to_owned();
    [
        (answered, taken),
        (symbols, no_symbols.unwrap_or_else(unknown)),
        (types, no_types.unwrap_or_else(unknown)),
    ]
    .into_iter()
    .filter(|(keys, _)| !keys.is_empty())
    .map(|(keys, what)| format!("VMCOREINFO lacks {}: {what}", list(&keys)))
    .collect()
}

/// Looks up the symbols among `wanted`, and returns where BTF begins.
fn add_symbols(
    info: &mut VmcoreInfo,
    mem: &VirtMem<'_>,
    wanted: &[&str],
) -> Result<Option<u64>, String> {
    let mut keys = vec![START_BTF];
    let mut symbols = vec![START_BTF];
    for key in wanted {
        if let Some(Question::Symbol(name)) = Question::of(key) {
            keys.push(*key);
            symbols.push(name);
        }
    }
    let found = kallsyms::find(mem, info, &symbols)?;
    for ((key, name), address) in keys.iter().zip(&symbols).zip(&found).skip(1) {
        // What is exported by this name is the array that the variable points to.
        let address = match address {
            Some(at) if *name == "mem_section" => mem.read_u64(VirtAddr::new(*at)).ok(),
            address => *address,
        };
        if let Some(address) = address.filter(|a| *a != 0) {
            info.add(key, &format!("{address:x}"));
        }
    }
    Ok(found.first().copied().flatten())
}

/// Every name that answering the questions needs.
fn names<'a>(questions: &[(&str, Question<'a>)]) -> Vec<&'a str> {
    let mut names = vec!["pageflags", "pagetype", "compound_dtor_id"];
    for (_, question) in questions {
        match *question {
            Question::Symbol(_) => {}
            Question::Size(one)
            | Question::Flag(one)
            | Question::FlagMask(one)
            | Question::Destructor(one) => names.push(one),
            Question::Offset(one, other)
            | Question::Length(one, other)
            | Question::PageType(one, other) => names.extend([one, other]),
        }
    }
    names
}

fn add_types(info: &mut VmcoreInfo, btf: &mut Btf<'_, '_>, questions: &[(&str, Question<'_>)]) {
    for (key, question) in questions {
        if let Some(value) = answer(btf, *question) {
            info.add(key, &value.to_string());
        }
    }
}

fn answer(btf: &mut Btf<'_, '_>, question: Question<'_>) -> Option<i64> {
    let known = |value: u64| i64::try_from(value).ok();
    match question {
        Question::Symbol(_) => None,
        Question::Size(of) => btf.size(of).and_then(known),
        Question::Offset(of, member) => btf.offset(of, member).and_then(known),
        Question::Length(of, member) => btf.length(of, member).and_then(known),
        Question::Flag(name) => btf.enumerator("pageflags", name),
        Question::FlagMask(name) => {
            let bit = btf.enumerator("pageflags", name)?;
            1i64.checked_shl(u32::try_from(bit).ok()?)
        }
        Question::PageType(name, before) => page_type(btf, name, before),
        Question::Destructor(name) => btf.enumerator("compound_dtor_id", name),
    }
}

/// Since 6.12 a type is a number for the top byte; in 6.11 it was the one bit that is clear in the word.
fn page_type(btf: &mut Btf<'_, '_>, name: &str, before: &str) -> Option<i64> {
    if let Some(value) = btf.enumerator("pagetype", name) {
        let value = u32::try_from(value).ok().filter(|v| *v < 256)?;
        return Some((value << 24).cast_signed().into());
    }
    let bit = btf.enumerator("pagetype", before)?;
    u32::try_from(bit)
        .ok()
        .filter(|bit| bit.is_power_of_two())
        .map(|bit| (!bit).cast_signed().into())
}

/// Not more keys than a sentence can hold.
fn list(keys: &[String]) -> String {
    const MANY: usize = 8;
    match keys.split_at_checked(MANY) {
        Some((first, more)) if !more.is_empty() => {
            format!("{} and {} more", first.join(", "), more.len())
        }
        _ => keys.join(", "),
    }
}

#[cfg(test)]
mod tests;
