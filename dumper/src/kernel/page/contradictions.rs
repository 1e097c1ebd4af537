//! Facts that cannot be true together: none of them is believed, and the pages that only they would tell are kept.

use super::exports::{Exports, Fact, HEAD_WORD, MAPCOUNT};

impl Exports {
    /// Forgets what contradicts something else; a sentence for each is added to `warnings`.
    pub(super) fn drop_contradictions(&mut self, warnings: &mut Vec<String>) {
        self.misplaced(warnings);
        equal(
            &mut self.bits,
            "page flags that must differ have the same number",
            warnings,
        );
        equal(
            &mut self.types,
            "page types that must differ have the same value",
            warnings,
        );
        self.tail_fields(warnings);
    }

    /// Fields outside of struct page, not aligned, or overlapping.
    fn misplaced(&mut self, warnings: &mut Vec<String>) {
        let width = |field: usize| if field == MAPCOUNT { 4 } else { 8 };
        for (field, fact) in self.fields.iter_mut().enumerate() {
            let bad = |at: usize| at + width(field) > self.size || !at.is_multiple_of(width(field));
            if let Some(at) = fact.value.filter(|at| bad(*at)) {
                warnings.push(format!(
                    "OFFSET({})={at} cannot be in a struct page of {} bytes; it is not believed, what it would tell is kept",
                    fact.key, self.size
                ));
                fact.value = None;
            }
        }
        for a in 0..self.fields.len() {
            for b in a + 1..self.fields.len() {
                let (one, other) = (self.fields[a], self.fields[b]);
                let (Some(at), Some(to)) = (one.value, other.value) else {
                    continue;
                };
                if at < to + width(b) && to < at + width(a) {
                    warnings.push(format!(
                        "OFFSET({})={at} and OFFSET({})={to} overlap; neither is believed, what they would tell is kept",
                        one.key, other.key
                    ));
                    (self.fields[a].value, self.fields[b].value) = (None, None);
                }
            }
        }
    }

    /// Order and destructor in the first tail: inside of it, not in its compound_head, not in the same place.
    fn tail_fields(&mut self, warnings: &mut Vec<String>) {
        let head = self.fields[HEAD_WORD].value;
        let in_head = |at: usize| head.is_some_and(|head| (head..head + 8).contains(&at));
        let same = self.tail_bytes[0].value == self.tail_bytes[1].value;
        for fact in &mut self.tail_bytes {
            if let Some(at) = fact
                .value
                .filter(|at| same || *at >= self.size || in_head(*at))
            {
                warnings.push(format!(
                    "OFFSET({}), {at} in the tail page, cannot be; it is not believed, the large pages that it would tell are kept",
                    fact.key
                ));
                fact.value = None;
            }
        }
        // The low 8 bits of that word are the order.
        if let Some(bit) = self.tail_hugetlb.filter(|bit| *bit < 8) {
            warnings.push(format!(
                "NUMBER(PG_hugetlb)={bit} is a bit of the order; hugetlb pages are kept"
            ));
            self.tail_hugetlb = None;
        }
    }
}

/// Of facts with the same value none is believed.
fn equal<T: Copy + PartialEq + std::fmt::Display>(
    facts: &mut [Fact<T>],
    what: &str,
    warnings: &mut Vec<String>,
) {
    let doubtful: Vec<bool> = facts
        .iter()
        .map(|one| {
            one.value.is_some()
                && facts
                    .iter()
                    .filter(|other| other.value == one.value)
                    .count()
                    > 1
        })
        .collect();
    let names: Vec<String> = facts
        .iter_mut()
        .zip(doubtful)
        .filter(|(_, doubtful)| *doubtful)
        .filter_map(|(fact, _)| Some(format!("{}={}", fact.key, fact.value.take()?)))
        .collect();
    if !names.is_empty() {
        warnings.push(format!(
            "{what}: {}; none is believed, the pages that they would tell are kept",
            names.join(", ")
        ));
    }
}
