//! The modules of one kernel by name and alias.
//!
//! Source: depmod.d(5), kmod 31; modules.builtin since Linux 2.6.33, modules.builtin.modinfo since 5.2.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::modinfo::{ModInfo, normalize};
use super::{ModuleError, elf};
use crate::decompress;

/// Deeper than any module tree; a loop of directories ends here.
const DEPTH_MAX: usize = 24;

/// Names, paths and built-ins of a kernel.
#[derive(Debug, Default)]
pub struct Index {
    dirs: Vec<PathBuf>,
    paths: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
    builtin_info: BTreeMap<String, ModInfo>,
    has_builtin_list: bool,
    aliases: OnceCell<BTreeMap<String, BTreeSet<String>>>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Part of the kernel image, under this name.
    Builtin(String),
    /// These modules provide it.
    Modules(Vec<String>),
    /// Neither.
    Unknown,
}

impl Index {
    /// Reads the tree below `dirs`; more than one when a kernel's packages were unpacked into separate directories.
    ///
    /// # Errors
    /// A directory can't be read.
    pub fn read(dirs: &[PathBuf]) -> Result<Self, ModuleError> {
        let mut index = Self {
            dirs: dirs.to_vec(),
            ..Self::default()
        };
        let mut files = Vec::new();
        for dir in dirs {
            walk(dir, 0, &mut files).map_err(|cause| ModuleError::Directory {
                path: dir.clone(),
                cause,
            })?;
            index.read_builtin(dir);
        }
        // The best-ranked file of a name comes first; readdir order means nothing.
        files.sort_by_key(|path| (rank(path, dirs), path.clone()));
        for path in files {
            if let Some(name) = module_name(&path) {
                index.paths.entry(name).or_insert(path);
            }
        }
        Ok(index)
    }

    /// The directories, for people.
    #[must_use]
    pub fn searched(&self) -> String {
        self.dirs
            .iter()
            .map(|dir| dir.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Is it known which modules are built in?
    #[must_use]
    pub fn has_builtin_list(&self) -> bool {
        self.has_builtin_list
    }

    /// The file of a module.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.paths.get(&normalize(name)).map(PathBuf::as_path)
    }

    /// What a built-in module says of itself.
    #[must_use]
    pub fn builtin_info(&self, name: &str) -> Option<&ModInfo> {
        self.builtin_info.get(&normalize(name))
    }

    /// Reads a module's bytes and what it says of itself.
    ///
    /// # Errors
    /// The file can't be read or is no module.
    pub fn load(path: &Path) -> Result<(Vec<u8>, ModInfo), ModuleError> {
        let bytes = decompress::read(path)?;
        let section = elf::section(&bytes, b".modinfo")
            .ok_or_else(|| ModuleError::NoModule(path.to_owned()))?;
        let info = ModInfo::parse(section);
        Ok((bytes, info))
    }

    /// What a module name or alias stands for. A generic implementation is preferred over those that need a certain processor.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Resolved {
        let name = normalize(name);
        if self.paths.contains_key(&name) {
            return Resolved::Modules(vec![name]);
        }
        if self.builtin.contains(&name) {
            return Resolved::Builtin(name);
        }
        let provides = |info: &ModInfo| info.aliases.contains(&name);
        if let Some((module, _)) = self.builtin_info.iter().find(|(_, info)| provides(info)) {
            return Resolved::Builtin(module.clone());
        }
        let Some(modules) = self.aliases().get(&name) else {
            return Resolved::Unknown;
        };
        match modules.iter().find(|module| module.ends_with("_generic")) {
            Some(generic) => Resolved::Modules(vec![generic.clone()]),
            None => Resolved::Modules(modules.iter().cloned().collect()),
        }
    }

    /// From `modules.alias`, else, which takes a while, from every module.
    fn aliases(&self) -> &BTreeMap<String, BTreeSet<String>> {
        self.aliases.get_or_init(|| {
            let lists: Vec<_> = self
                .dirs
                .iter()
                .filter_map(|dir| std::fs::read_to_string(dir.join("modules.alias")).ok())
                .collect();
            if lists.is_empty() {
                self.aliases_of_modules()
            } else {
                parse_aliases(&lists)
            }
        })
    }

    fn aliases_of_modules(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, path) in &self.paths {
            // A damaged module that nobody asks for is no reason to fail.
            let Ok((_, info)) = Self::load(path) else {
                continue;
            };
            for alias in info.aliases {
                aliases.entry(alias).or_default().insert(name.clone());
            }
        }
        aliases
    }

    fn read_builtin(&mut self, dir: &Path) {
        if let Ok(list) = std::fs::read_to_string(dir.join("modules.builtin")) {
            self.has_builtin_list = true;
            self.builtin
                .extend(list.lines().filter_map(|line| module_name(Path::new(line))));
        }
        if let Ok(bytes) = std::fs::read(dir.join("modules.builtin.modinfo")) {
            self.has_builtin_list = true;
            self.builtin_info.extend(ModInfo::parse_builtin(&bytes));
            self.builtin.extend(self.builtin_info.keys().cloned());
        }
    }
}

/// `kernel/fs/nls/nls_iso8859-1.ko.xz` → `nls_iso8859_1`; none for other files.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    decompress::plain_name(file)
        .strip_suffix(".ko")
        .map(normalize)
}

/// As depmod does it without configuration: what an administrator added beats what the kernel came with.
fn rank(path: &Path, dirs: &[PathBuf]) -> usize {
    let first = dirs
        .iter()
        .find_map(|dir| path.strip_prefix(dir).ok()?.iter().next()?.to_str());
    match first {
        Some("updates") => 0,
        Some("extra") => 1,
        Some("weak-updates") => 2,
        _ => 3,
    }
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        // Links to files count (weak-updates), links to directories (build, source) don't.
        if entry.file_type()?.is_dir() {
            if depth < DEPTH_MAX {
                walk(&path, depth + 1, files)?;
            }
        } else if module_name(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

fn parse_aliases(lists: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lists.iter().flat_map(|list| list.lines()) {
        let mut words = line.split_ascii_whitespace();
        if let (Some("alias"), Some(alias), Some(module)) =
            (words.next(), words.next(), words.next())
        {
            aliases
                .entry(normalize(alias))
                .or_default()
                .insert(normalize(module));
        }
    }
    aliases
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::modules::elf::tests::module;
    use tempfile::TempDir;

    /// A module directory: files with their `.modinfo` entries, and modules.builtin lines.
    pub(crate) fn tree(modules: &[(&str, &[&str])], builtin: &[&str]) -> (TempDir, Index) {
        let dir = tempfile::tempdir().unwrap();
        for (path, modinfo) in modules {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, module(modinfo)).unwrap();
        }
        std::fs::write(dir.path().join("modules.builtin"), builtin.join("\n")).unwrap();
        let index = Index::read(&[dir.path().to_owned()]).unwrap();
        (dir, index)
    }

    fn modules(names: &[&str]) -> Resolved {
        Resolved::Modules(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_aliases_and_builtins() {
        let (_dir, index) = tree(
            &[
                ("kernel/fs/nls/nls_iso8859-1.ko", &["name=x"]),
                (
                    "kernel/crypto/sha256_generic.ko",
                    &["alias=sha256", "alias=crypto-sha256"],
                ),
                ("kernel/arch/sha256-ssse3.ko", &["alias=sha256"]),
                ("kernel/a.ko", &["alias=both"]),
                ("kernel/b.ko", &["alias=both"]),
                ("kernel/broken.ko", &[]),
            ],
            &["kernel/fs/ext4/ext4.ko"],
        );
        assert_eq!(index.resolve("nls-iso8859-1"), modules(&["nls_iso8859_1"]));
        assert_eq!(index.resolve("sha256"), modules(&["sha256_generic"]));
        assert_eq!(index.resolve("both"), modules(&["a", "b"]));
        assert_eq!(index.resolve("ext4"), Resolved::Builtin("ext4".into()));
        assert_eq!(index.resolve("nothing"), Resolved::Unknown);
        assert!(index.has_builtin_list());
    }

    #[test]
    fn updates_beat_the_kernels_own() {
        let (dir, index) = tree(
            &[
                ("kernel/a/m.ko", &[]),
                ("updates/dkms/m.ko", &[]),
                ("extra/m.ko", &[]),
            ],
            &[],
        );
        assert_eq!(
            index.path("m").unwrap(),
            dir.path().join("updates/dkms/m.ko")
        );
    }

    #[test]
    fn builtin_aliases() {
        let (dir, _) = tree(&[], &[]);
        std::fs::write(
            dir.path().join("modules.builtin.modinfo"),
            "crc32c_generic.alias=crypto-crc32c\0",
        )
        .unwrap();
        let index = Index::read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(
            index.resolve("crypto-crc32c"),
            Resolved::Builtin("crc32c_generic".into())
        );
    }

    #[test]
    fn modules_alias_is_used_when_there() {
        let (dir, _) = tree(&[("kernel/m.ko", &["alias=not-read"])], &[]);
        std::fs::write(
            dir.path().join("modules.alias"),
            "# Aliases\nalias fs-m m\n",
        )
        .unwrap();
        let index = Index::read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(index.resolve("fs-m"), modules(&["m"]));
        assert_eq!(index.resolve("not-read"), Resolved::Unknown);
    }

    #[test]
    fn missing_directory_and_garbage() {
        assert!(matches!(
            Index::read(&["/nonexistent".into()]),
            Err(ModuleError::Directory { .. })
        ));
        let (dir, _) = tree(&[], &[]);
        let path = dir.path().join("x.ko");
        std::fs::write(&path, "garbage").unwrap();
        assert!(matches!(Index::load(&path), Err(ModuleError::NoModule(_))));
    }
}
