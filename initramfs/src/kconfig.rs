//! The configuration that a kernel was built with: `/boot/config-REL`, `/lib/modules/REL/config`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Options that are set, and where they were read.
#[derive(Debug, Clone, Default)]
pub struct KernelConfig {
    options: BTreeMap<String, String>,
    /// The file's name, for people.
    pub source: String,
}

impl KernelConfig {
    /// Reads `CONFIG_X=value` lines; everything else is passed over.
    #[must_use]
    pub fn parse(text: &str, source: &str) -> Self {
        let options = text
            .lines()
            .filter(|line| line.starts_with("CONFIG_"))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim().trim_matches('"').to_owned()))
            .collect();
        Self {
            options,
            source: source.to_owned(),
        }
    }

    /// Reads one file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        Ok(Self::parse(&text, &path.display().to_string()))
    }

    /// The configuration of `release` at its usual places, the module directories among them.
    #[must_use]
    pub fn find(release: &str, module_dirs: &[PathBuf]) -> Option<Self> {
        let boot = PathBuf::from(format!("/boot/config-{release}"));
        let places = std::iter::once(boot).chain(module_dirs.iter().map(|dir| dir.join("config")));
        places.filter_map(|path| Self::read(&path).ok()).next()
    }

    /// Is the option `y`?
    #[must_use]
    pub fn is_builtin(&self, option: &str) -> bool {
        self.value(option) == Some("y")
    }

    /// The option's value without quotes; none when it is not set.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let config = KernelConfig::parse(
            "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D=\"ascii\"\nCONFIG_E=437\n",
            "x",
        );
        assert_eq!(config.value("CONFIG_A"), None);
        assert!(config.is_builtin("CONFIG_B") && !config.is_builtin("CONFIG_C"));
        assert_eq!(config.value("CONFIG_D"), Some("ascii"));
        assert_eq!(config.value("CONFIG_E"), Some("437"));
    }

    #[test]
    fn found_in_a_module_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config"), "CONFIG_X=y\n").unwrap();
        let dirs = [PathBuf::from("/nonexistent"), dir.path().to_owned()];
        assert!(
            KernelConfig::find("no-such-release", &dirs)
                .unwrap()
                .is_builtin("CONFIG_X")
        );
    }
}
