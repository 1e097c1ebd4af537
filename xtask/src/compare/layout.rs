//! What VMCOREINFO says of a kernel, as makedumpfile reads it: this is not the product's reader of it.

use std::collections::BTreeMap;

/// VMCOREINFO's lines.
pub(super) struct Info(BTreeMap<String, String>);

impl Info {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        // The first of equal keys counts.
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self(pairs.rev().collect())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// `KIND(name)` in decimal, or in hexadecimal when it is not that.
    pub(super) fn value(&self, kind: &str, name: &str) -> Option<i64> {
        let text = self.text(&format!("{kind}({name})"))?.trim();
        let hex = || u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        text.parse().ok().or_else(|| hex().map(u64::cast_signed))
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.value("NUMBER", name)
    }

    /// The low half of a number: page types are printed as the C type of their constant.
    pub(super) fn half(&self, name: &str) -> Option<u32> {
        let bytes = self.number(name)?.to_le_bytes();
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(super) fn size(&self, kind: &str, name: &str) -> Option<usize> {
        usize::try_from(self.value(kind, name)?).ok()
    }

    pub(super) fn offset(&self, name: &str) -> Option<usize> {
        self.size("OFFSET", name)
    }

    /// An address, always hexadecimal.
    pub(super) fn symbol(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.text(&format!("SYMBOL({name})"))?.trim(), 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let info = Info::parse("NUMBER(a)=-268435456\nNUMBER(b)=0x1f\nSYMBOL(c)=10\nNUMBER(a)=1\n");
        assert_eq!(info.half("a"), Some(0xf000_0000));
        assert_eq!(info.number("b"), Some(0x1f));
        assert_eq!(info.symbol("c"), Some(16));
        assert_eq!(info.number("c"), None);
    }
}
