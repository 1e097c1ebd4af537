//! A struct page in words.

use super::known::Known;
use super::model::{Model, Rule, half, word};
use anyhow::Result;

/// Flags that VMCOREINFO gives numbers of.
const FLAGS: [&str; 6] = [
    "lru",
    "private",
    "swapcache",
    "swapbacked",
    "slab",
    "hwpoison",
];
/// Page types that it gives values of.
const TYPES: [(&str, &str); 5] = [
    ("buddy", "PAGE_BUDDY_MAPCOUNT_VALUE"),
    ("slab", "PAGE_SLAB_MAPCOUNT_VALUE"),
    ("hugetlb", "PAGE_HUGETLB_MAPCOUNT_VALUE"),
    ("offline", "PAGE_OFFLINE_MAPCOUNT_VALUE"),
    ("unaccepted", "PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
];

/// The rule that decided on a page, and where its range begins.
pub(super) fn rule(pfn: u64, (rule, first): (Rule, u64)) -> String {
    let verdict = if rule >= Rule::Buddy {
        "dropped"
    } else {
        "kept"
    };
    if first == pfn {
        return format!("{verdict}: {rule}");
    }
    format!("{verdict} with pfn {first:#x}: {rule}")
}

/// The fields of a page and of the next one as a side sees them, as two lines.
///
/// # Errors
/// When they cannot be read.
pub(super) fn fields(model: &Model<'_>, quirks: &[Known], pfn: u64) -> Result<String> {
    let Some((page, next)) = model.struct_page(pfn, quirks)? else {
        return Ok("    no struct page".into());
    };
    let head = |page: &[u8]| {
        let at = model.fields.compound_head.or(model.fields.compound_info);
        at.map_or(0, |at| word(page, at))
    };
    let flags = word(&next, model.fields.flags);
    Ok(format!(
        "    {}\n    next: flags {flags:#x} (low byte {}), compound word {:#x}",
        own(model, &page, head(&page)),
        flags & 0xff,
        head(&next)
    ))
}

fn own(model: &Model<'_>, page: &[u8], head: u64) -> String {
    let (info, fields) = (&model.memory.info, &model.fields);
    let flags = word(page, fields.flags);
    let is_set = |name: &&&str| {
        let bit = info.number(&format!("PG_{name}"));
        bit.is_some_and(|bit| flags >> (bit & 63) & 1 != 0)
    };
    let mut names: Vec<_> = FLAGS
        .iter()
        .filter(is_set)
        .map(|name| (*name).to_owned())
        .collect();
    let mask = info.number("PG_head_mask").unwrap_or(0);
    if flags & mask.cast_unsigned() != 0 {
        names.push("head".into());
    }
    if info.number("PG_slab").is_none() && flags >> 7 & 1 != 0 {
        names.push("bit 7 (waiters)".into());
    }
    let mapping = word(page, fields.mapping);
    let low = ["", " (anon)", " (movable)", " (ksm)"][usize::from(mapping.to_le_bytes()[0] & 3)];
    let page_type = fields.mapcount.map_or(0, |at| half(page, at));
    let named = TYPES
        .iter()
        .find(|(_, key)| info.half(key) == Some(page_type));
    format!(
        "flags {flags:#x} ({}), mapping {mapping:#x}{low}, _mapcount {page_type:#x} ({}), private {:#x}, compound word {head:#x}{}",
        names.join(" "),
        named.map_or("no type", |(name, _)| name),
        fields.private.map_or(0, |at| word(page, at)),
        if head & 1 != 0 { " (tail)" } else { "" },
    )
}
