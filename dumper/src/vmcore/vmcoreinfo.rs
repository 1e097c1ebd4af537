//! VMCOREINFO: what the dead kernel says of itself, as `KEY=VALUE` lines.
//!
//! Upstream: `kernel/vmcore_info.c` (`kernel/crash_core.c` before 6.9) and each architecture's `arch_crash_save_vmcoreinfo`.
//! The kernel cuts a line at 79 bytes and the whole text at 4 KiB (8 KiB in the newest), so the last keys may be missing.

/// The parsed text. A key that is missing or malformed is `None`, never 0. Of equal keys the first counts.
#[derive(Clone, Debug, Default)]
pub struct VmcoreInfo {
    entries: Vec<(String, String)>,
}

impl VmcoreInfo {
    /// Parses the note's text; lines that are no UTF-8 or have no `=` are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut entries: Vec<(String, String)> = text
            .split(|b| *b == b'\n' || *b == 0)
            .filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|later, first| later.0 == first.0);
        Self { entries }
    }

    /// The raw value of a whole key, for instance `OSRELEASE`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let at = self
            .entries
            .binary_search_by(|(k, _)| k.as_str().cmp(key))
            .ok()?;
        Some(&self.entries[at].1)
    }

    fn entry(&self, kind: &str, name: &str) -> Option<&str> {
        self.text(&format!("{kind}({name})"))
    }

    /// `SYMBOL(name)`: a virtual address, KASLR included. 0 and all ones mean nothing.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<u64> {
        let value = u64::from_str_radix(self.entry("SYMBOL", name)?, 16).ok()?;
        (value != 0 && value != u64::MAX).then_some(value)
    }

    /// `SIZE(name)` in bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        unsigned(self.entry("SIZE", name)?).filter(|v| *v != 0)
    }

    /// `OFFSET(struct.member)` in bytes. Offsets of a megabyte or more are not believed.
    #[must_use]
    pub fn offset(&self, name: &str) -> Option<usize> {
        let value = unsigned(self.entry("OFFSET", name)?)?;
        (value < 1 << 20).then(|| usize::try_from(value).ok())?
    }

    /// `LENGTH(name)` in elements.
    #[must_use]
    pub fn length(&self, name: &str) -> Option<u64> {
        unsigned(self.entry("LENGTH", name)?)
    }

    /// `NUMBER(name)`: decimal, or hexadecimal where the kernel prints it so.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        let text = self.entry("NUMBER", name)?;
        text.parse()
            .ok()
            .or_else(|| unsigned(text).map(u64::cast_signed))
    }

    /// A bit number that fits a 64-bit word.
    #[must_use]
    pub fn bit(&self, name: &str) -> Option<u32> {
        u32::try_from(self.number(name)?)
            .ok()
            .filter(|bit| *bit < 64)
    }

    /// A value of the 32-bit `_mapcount`/`page_type` word, printed as a signed or unsigned number.
    #[must_use]
    pub fn page_type(&self, name: &str) -> Option<u32> {
        let value = self.number(name)?;
        i32::try_from(value)
            .map(i32::cast_unsigned)
            .or_else(|_| u32::try_from(value))
            .ok()
    }

    /// Adds a line that the kernel did not write but that is known to be true. A key that is there already stays as it is.
    pub fn add(&mut self, key: &str, value: &str) {
        if let Err(at) = self.entries.binary_search_by(|(k, _)| k.as_str().cmp(key)) {
            self.entries.insert(at, (key.to_owned(), value.to_owned()));
        }
    }

    /// The same without some keys.
    #[must_use]
    pub fn without(&self, gone: impl Fn(&str) -> bool) -> Self {
        let mut info = self.clone();
        info.entries.retain(|(key, _)| !gone(key));
        info
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Decimal, else hexadecimal with or without `0x`.
fn unsigned(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .or_else(|| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_the_kernel_prints_them() {
        let info = VmcoreInfo::parse(
            b"OSRELEASE=6.1.0\nSYMBOL(a)=ffffffff81000000\nSYMBOL(zero)=0\nOFFSET(page.flags)=0\nNUMBER(phys_base)=-16777216\n\
              NUMBER(v)=0xffffc90000000000\nNUMBER(t)=-268435456\nNUMBER(u)=4026531840\nNUMBER(PG_lru)=5\nNUMBER(bad)=70\nSIZE(x)=64\n\
              SIZE(x)=65\nno equals sign\n\xff\xfe=1\nLENGTH(m)=2048\0\0",
        );
        assert_eq!(info.text("OSRELEASE"), Some("6.1.0"));
        assert_eq!(info.symbol("a"), Some(0xffff_ffff_8100_0000));
        assert_eq!(info.symbol("zero"), None);
        assert_eq!(info.offset("page.flags"), Some(0));
        assert_eq!(info.number("phys_base"), Some(-16_777_216));
        assert_eq!(
            info.number("v"),
            Some(0xffff_c900_0000_0000_u64.cast_signed())
        );
        assert_eq!(info.page_type("t"), Some(0xf000_0000));
        assert_eq!(info.page_type("u"), Some(0xf000_0000));
        assert_eq!(info.bit("PG_lru"), Some(5));
        assert_eq!(info.bit("bad"), None);
        assert_eq!(info.size("x"), Some(64));
        assert_eq!(info.length("m"), Some(2048));
        assert_eq!(info.size("missing"), None);
        let mut info = info;
        info.add("SIZE(missing)", "7");
        info.add("SIZE(x)", "8");
        assert_eq!((info.size("missing"), info.size("x")), (Some(7), Some(64)));
    }
}
