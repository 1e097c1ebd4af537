//! The text of LVM's metadata: sections, numbers, strings and lists.

/// Sections in sections: the format has four.
const DEPTH: usize = 8;
/// Values of all kinds; one volume has about twenty.
const VALUES: usize = 1 << 17;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Section(Section),
}

/// Names and values in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section(pub(super) Vec<(String, Value)>);

impl Section {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, v)| v)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self, name: &str) -> Option<&[Value]> {
        match self.get(name)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        match self.get(name)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    /// All sections in this one.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name.as_str(), section)),
            _ => None,
        })
    }

    /// Whether a list of strings holds `word`.
    pub(super) fn has(&self, list: &str, word: &str) -> bool {
        let is = |value: &Value| matches!(value, Value::Text(text) if text == word);
        self.list(list).is_some_and(|list| list.iter().any(is))
    }
}

/// Reads a whole text; `None` when it is not of this form.
pub(super) fn parse(text: &str) -> Option<Section> {
    let mut parser = Parser {
        rest: text,
        left: VALUES,
    };
    let section = parser.section(DEPTH)?;
    parser.blank();
    parser.rest.is_empty().then_some(section)
}

struct Parser<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> Parser<'a> {
    /// Skips blanks, comments, and the NULs at the end of what is on a disk.
    fn blank(&mut self) {
        loop {
            let blank = |c: char| c.is_ascii_whitespace() || c == '\0';
            self.rest = self.rest.trim_start_matches(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
    }

    fn take(&mut self, c: char) -> Option<()> {
        self.blank();
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }

    fn next_is(&mut self, c: char) -> bool {
        self.blank();
        self.rest.starts_with(c)
    }

    fn word(&mut self) -> Option<&'a str> {
        self.blank();
        let inside = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
        let end = self.rest.find(|c| !inside(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Everything up to a closing brace or the end.
    fn section(&mut self, depth: usize) -> Option<Section> {
        let mut section = Section::default();
        loop {
            self.blank();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Some(section);
            }
            self.left = self.left.checked_sub(1)?;
            let name = self.word()?.to_owned();
            let value = if self.next_is('{') {
                self.take('{')?;
                let inner = self.section(depth.checked_sub(1)?)?;
                self.take('}')?;
                Value::Section(inner)
            } else {
                self.take('=')?;
                self.value(true)?
            };
            section.0.push((name, value));
        }
    }

    fn value(&mut self, lists: bool) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        if self.next_is('"') {
            return self.string().map(Value::Text);
        }
        if lists && self.next_is('[') {
            return self.list();
        }
        let word = self.word()?;
        // Nothing that is needed is negative or a fraction.
        Some(Value::Number(word.parse().unwrap_or(u64::MAX)))
    }

    fn list(&mut self) -> Option<Value> {
        self.take('[')?;
        let mut list = Vec::new();
        while !self.next_is(']') {
            list.push(self.value(false)?);
            if !self.next_is(']') {
                self.take(',')?;
            }
        }
        self.take(']')?;
        Some(Value::List(list))
    }

    fn string(&mut self) -> Option<String> {
        self.take('"')?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(text);
                }
                '\\' => text.push(chars.next()?.1),
                c => text.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, proptest};

    #[test]
    fn all_kinds_of_values() {
        let text = "# Generated\nvg0 {\n id = \"a-\\\"b\\\\\"\n seqno = 3\n flags = []\n status = [\"READ\", \"WRITE\"]\n sub { x = -1.5 }\n}\ncontents = \"T\"\n\0";
        let section = parse(text).unwrap();
        let vg = section.section("vg0").unwrap();
        assert_eq!(vg.text("id"), Some("a-\"b\\"));
        assert_eq!((vg.number("seqno"), vg.number("id")), (Some(3), None));
        assert!(vg.has("status", "WRITE") && !vg.has("status", "RAID"));
        assert_eq!(vg.list("flags"), Some(&[][..]));
        assert_eq!(vg.sections().count(), 1);
        assert_eq!(section.text("contents"), Some("T"));
    }

    #[test]
    fn what_has_no_such_form() {
        for text in [
            "a",
            "a {",
            "a = ",
            "a = [1",
            "a = [1 2]",
            "a = \"x",
            "}",
            "= 1",
            "a = [[1]]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"a {".repeat(100)), None);
        assert_eq!(parse(&"a = 1\n".repeat(VALUES)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_harmless(parts in prop::collection::vec(prop::sample::select(vec!["a", "{", "}", "[", "]", "=", "\"", "\\", ",", "1", "#", "\n", "ä"]), 0..60), noise in any::<String>()) {
            let _ = (parse(&parts.concat()), parse(&noise));
        }
    }
}
