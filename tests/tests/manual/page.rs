//! The source of a manual page in mdoc(7), as far as the pages here use it.

use crate::{Words, read};

/// The source of a manual page.
pub(crate) struct Page(pub(crate) String);

impl Page {
    pub(crate) fn read(name: &str) -> Self {
        Self(read(name))
    }

    /// The lines of a section or subsection.
    pub(crate) fn part(&self, heading: &str, title: &str) -> &str {
        let (_, rest) = self
            .0
            .split_once(&format!("\n{heading} {title}\n"))
            .unwrap_or_else(|| panic!("no {heading} {title}"));
        let end = [".Sh ", heading]
            .iter()
            .filter_map(|next| rest.find(&format!("\n{next}")))
            .min();
        &rest[..end.map_or(rest.len(), |end| end + 1)]
    }

    /// The words after this macro at the heads of a list.
    pub(crate) fn items(text: &str, name: &str) -> Words {
        let heads = text.lines().filter_map(|line| line.strip_prefix(".It "));
        heads.flat_map(|head| after(head, name)).collect()
    }

    /// The options at the heads of a list.
    pub(crate) fn options(text: &str) -> Words {
        Self::items(text, "Fl")
            .iter()
            .map(|flag| format!("-{flag}"))
            .collect()
    }

    /// Every option that is named at all; `Fl abc` is three.
    pub(crate) fn all_options(text: &str) -> Words {
        let flags = text
            .lines()
            .filter(|line| line.starts_with('.'))
            .flat_map(|line| after(&line[1..], "Fl"));
        flags
            .flat_map(|flag| match flag.strip_prefix('-') {
                Some(_) => vec![format!("-{flag}")],
                None => flag.chars().map(|c| format!("-{c}")).collect(),
            })
            .collect()
    }

    pub(crate) fn exit_codes(&self) -> Words {
        let text = self.part(".Sh", "EXIT STATUS");
        text.lines()
            .filter_map(|line| line.strip_prefix(".It "))
            .map(str::to_owned)
            .collect()
    }
}

/// The words that directly follow the word `name`.
pub(crate) fn after(line: &str, name: &str) -> Vec<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| pair[0] == name)
        .map(|pair| pair[1].to_owned())
        .collect()
}
