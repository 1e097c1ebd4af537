//! The rarer kinds of pages, each where the kernel and the machine offer it (`guest.kinds=1`). They carry no sentinels: the console says
//! how many pages of each kind there are, or why there are none.

use anyhow::Result;

use super::{blocks, census, huge, merged, poison, swap, waiters};
use crate::say;
use crate::words::Words;

/// Makes the pages of a kind; how many.
type Make = fn(&Words) -> Result<usize>;

/// What is made before the sentinels: it needs memory in large pieces, or gives memory for them.
const FIRST: [(&str, Make); 5] = [
    ("offline", blocks::offline),
    ("online-movable", blocks::movable),
    ("hugetlb-1g", huge::gigantic),
    ("hugetlb-free", huge::pool),
    ("mthp", huge::multi_size),
];

/// What is made after the sentinels.
const AFTER: [(&str, Make); 6] = [
    ("mlocked", merged::mlocked),
    ("ksm", merged::ksm),
    ("swap-cache", swap::cache),
    ("hwpoison", poison::pages),
    ("balloon", blocks::balloon),
    ("waiters", waiters::pages),
];

/// The kinds that come before the sentinels.
pub(crate) fn before(words: &Words) {
    make(&FIRST, words);
}

/// The kinds that come after the sentinels, and what the kernel counts of every kind.
pub(crate) fn after(words: &Words) {
    make(&AFTER, words);
    match census::take() {
        Ok(census) => say(&format!("census {census}")),
        Err(error) => say(&format!("census failed: {error:#}")),
    }
}

fn make(kinds: &[(&str, Make)], words: &Words) {
    for (name, make) in kinds {
        match make(words) {
            Ok(count) => say(&format!("class {name} {count}")),
            Err(error) => say(&format!("class {name} none: {error:#}")),
        }
    }
}
