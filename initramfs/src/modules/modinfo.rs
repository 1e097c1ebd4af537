//! What a module says of itself: the `key=value` strings of its `.modinfo` section, or of a kernel's `modules.builtin.modinfo`.
//!
//! Source: include/linux/module.h; modules.builtin.modinfo since Linux 5.2.

use std::collections::BTreeMap;

/// The fields that decide what must be loaded with a module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModInfo {
    /// Modules whose symbols it uses.
    pub depends: Vec<String>,
    /// Modules or aliases to load before it when there are such.
    pub softdep_pre: Vec<String>,
    /// Modules or aliases to load after it when there are such.
    pub softdep_post: Vec<String>,
    /// Other names of it, those with wildcards (device ids) left out.
    pub aliases: Vec<String>,
    /// Firmware files that it may ask for.
    pub firmware: Vec<String>,
}

/// One spelling for `-` and `_`, which mean the same in module names.
#[must_use]
pub fn normalize(name: &str) -> String {
    name.replace('-', "_")
}

impl ModInfo {
    /// Reads NUL-separated entries; what is not understood is passed over.
    #[must_use]
    pub fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for (key, value) in entries(section) {
            info.add(key, value);
        }
        info
    }

    /// Reads the file in which every key has its module's name and a dot in front.
    #[must_use]
    pub fn parse_builtin(bytes: &[u8]) -> BTreeMap<String, Self> {
        let mut modules: BTreeMap<String, Self> = BTreeMap::new();
        for (key, value) in entries(bytes) {
            if let Some((module, key)) = key.split_once('.') {
                modules
                    .entry(normalize(module))
                    .or_default()
                    .add(key, value);
            }
        }
        modules
    }

    /// Takes the soft dependencies `pre: a b post: c` of a softdep entry or a modprobe.d line.
    pub fn add_softdep(&mut self, text: &str) {
        let mut list = None;
        for word in text.split_ascii_whitespace() {
            match word {
                "pre:" => list = Some(&mut self.softdep_pre),
                "post:" => list = Some(&mut self.softdep_post),
                name => list.iter_mut().for_each(|list| list.push(name.to_owned())),
            }
        }
    }

    fn add(&mut self, key: &str, value: &str) {
        match key {
            "depends" => self.depends.extend(
                value
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .map(normalize),
            ),
            "softdep" => self.add_softdep(value),
            "alias" if !value.contains(['*', '?', '[']) => self.aliases.push(normalize(value)),
            "firmware" => self.firmware.push(value.to_owned()),
            _ => {}
        }
    }
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok()?.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let info = ModInfo::parse(
            b"license=GPL\0alias=fs-btrfs\0alias=pci:v00001AF4d*\0depends=xor,raid6-pq\0\0softdep=pre: a-b post: c pre: d\0firmware=x/y.bin\0nonsense\0\xff=\xff\0",
        );
        assert_eq!(info.depends, ["xor", "raid6_pq"]);
        assert_eq!(
            (info.softdep_pre, info.softdep_post),
            (vec!["a-b".into(), "d".into()], vec!["c".to_string()])
        );
        assert_eq!(info.aliases, ["fs_btrfs"]);
        assert_eq!(info.firmware, ["x/y.bin"]);
    }

    #[test]
    fn builtin_file() {
        let all = ModInfo::parse_builtin(b"ext4.softdep=pre: crypto-crc32c\0crc32c-generic.alias=crypto-crc32c\0ext4.alias=ext3\0");
        assert_eq!(all["ext4"].softdep_pre, ["crypto-crc32c"]);
        assert_eq!(all["crc32c_generic"].aliases, ["crypto_crc32c"]);
    }

    #[test]
    fn softdep_without_a_list_is_passed_over() {
        let mut info = ModInfo::default();
        info.add_softdep("a b");
        assert_eq!(info, ModInfo::default());
    }
}
