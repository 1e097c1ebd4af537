//! modprobe.d: the module parameters and soft dependencies that an administrator has written.
//!
//! Source: modprobe.d(5), kmod 31.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::modinfo::{ModInfo, normalize};

/// Where modprobe looks; of two files of one name the one in the earlier directory counts.
pub const DEFAULT_DIRS: [&str; 5] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
];

/// `options` and `softdep` lines by module.
#[derive(Debug, Clone, Default)]
pub struct Options {
    parameters: BTreeMap<String, Vec<String>>,
    softdeps: BTreeMap<String, ModInfo>,
}

impl Options {
    /// Reads the `*.conf` files of `dirs` in the order of their names; directories that don't exist are passed over.
    ///
    /// # Errors
    /// A directory or file that exists can't be read.
    pub fn read(dirs: &[PathBuf]) -> io::Result<Self> {
        let mut files: BTreeMap<_, PathBuf> = BTreeMap::new();
        for dir in dirs {
            for path in conf_files(dir)? {
                if let Some(name) = path.file_name() {
                    files.entry(name.to_owned()).or_insert(path);
                }
            }
        }
        let mut options = Self::default();
        for path in files.values() {
            options.parse(&String::from_utf8_lossy(&std::fs::read(path)?));
        }
        Ok(options)
    }

    /// Takes the lines of one file; a backslash at the end continues a line.
    pub fn parse(&mut self, text: &str) {
        for line in text.replace("\\\n", " ").lines() {
            let line = line.trim();
            let Some((command, rest)) = line.split_once(char::is_whitespace) else {
                continue;
            };
            let Some((module, value)) = rest.trim_start().split_once(char::is_whitespace) else {
                continue;
            };
            let module = normalize(module);
            match command {
                "options" => self
                    .parameters
                    .entry(module)
                    .or_default()
                    .push(value.trim().to_owned()),
                "softdep" => self.softdeps.entry(module).or_default().add_softdep(value),
                _ => {}
            }
        }
    }

    /// The parameters of a module, separated by spaces; empty when there are none.
    #[must_use]
    pub fn parameters(&self, module: &str) -> String {
        self.parameters
            .get(&normalize(module))
            .map(|lines| lines.join(" "))
            .unwrap_or_default()
    }

    /// Soft dependencies that the administrator added to a module.
    #[must_use]
    pub fn softdeps(&self, module: &str) -> Option<&ModInfo> {
        self.softdeps.get(&normalize(module))
    }
}

fn conf_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "conf") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let mut options = Options::default();
        options.parse(
            "# options x y=0\noptions my-mod a=1 \\\n  b=\"two words\"\noptions my_mod  c\nblacklist z\nsoftdep z pre: p post: q\noptions\noptions alone\n",
        );
        assert_eq!(options.parameters("my-mod"), "a=1    b=\"two words\" c");
        assert_eq!(options.parameters("x"), "");
        let softdeps = options.softdeps("z").unwrap();
        assert_eq!(
            (
                softdeps.softdep_pre.as_slice(),
                softdeps.softdep_post.as_slice()
            ),
            (&["p".to_string()][..], &["q".to_string()][..])
        );
    }

    #[test]
    fn earlier_directory_hides_a_file_of_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let (etc, lib) = (dir.path().join("etc"), dir.path().join("lib"));
        for (place, name, text) in [
            (&etc, "m.conf", "options m a=1\n"),
            (&lib, "m.conf", "options m a=2\n"),
            (&lib, "n.conf", "options n b=1\n"),
            (&lib, "n.txt", "options n b=2\n"),
        ] {
            std::fs::create_dir_all(place).unwrap();
            std::fs::write(place.join(name), text).unwrap();
        }
        let options = Options::read(&[etc, dir.path().join("none"), lib]).unwrap();
        assert_eq!(options.parameters("m"), "a=1");
        assert_eq!(options.parameters("n"), "b=1");
    }
}
