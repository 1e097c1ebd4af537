//! What the guest's initramfs holds of kexec-tools: the program and the libraries that it is linked to.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PROGRAM: &str = "usr/sbin/kexec";
/// Where Debian has arm64 libraries, the dynamic loader among them.
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";

/// Paths and bytes. The libraries lie in `lib`, which every dynamic loader searches.
///
/// # Errors
/// When the tree is not as expected.
pub(crate) fn files(tree: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    linked(tree, &[PROGRAM, "sbin/kexec"], LIBRARIES)
}

/// A program of an unpacked tree, under the first of its names, and the libraries that it is linked to, in `lib`.
///
/// # Errors
/// When the tree is not as expected.
pub(crate) fn linked(
    tree: &Path,
    names_of_program: &[&str],
    libraries: &str,
) -> Result<Vec<(String, Vec<u8>)>> {
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let first = names_of_program.first().copied().unwrap_or_default();
    let program = names_of_program.iter().map(|path| tree.join(path));
    let program = program.into_iter().find(|path| path.is_file());
    let program = program.with_context(|| format!("{} holds no {first}", tree.display()))?;
    let dir = tree.join(libraries);
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut there = BTreeMap::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".so") && entry.path().is_file() {
            there.insert(name, entry.path());
        }
    }
    let mut files = vec![(first.to_owned(), read(&program)?)];
    let mut next = 0;
    while let Some((_, bytes)) = files.get(next) {
        for name in names(bytes) {
            if let Some(path) = there.remove(&name) {
                files.push((format!("lib/{name}"), read(&path)?));
            }
        }
        next += 1;
    }
    Ok(files)
}

/// The strings of a program that may be names of libraries: those that it is linked to are among them.
fn names(bytes: &[u8]) -> BTreeSet<String> {
    let strings = bytes.split(|byte| *byte == 0);
    strings
        .filter(|text| text.len() < 64 && text.windows(3).any(|part| part == b".so"))
        .filter_map(|text| String::from_utf8(text.to_vec()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_libraries() {
        let tree = std::env::temp_dir().join(format!("xtask-kexec-{}", std::process::id()));
        let write = |path: &str, bytes: &[u8]| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write(PROGRAM, b"ELF\0libz.so.1\0libnone.so.2\0");
        write("usr/lib/aarch64-linux-gnu/libz.so.1", b"\0libc.so.6\0");
        write("usr/lib/aarch64-linux-gnu/libc.so.6", b"\0libz.so.1\0");
        write("usr/lib/aarch64-linux-gnu/libother.so.1", b"");
        let found: Vec<_> = files(&tree)
            .unwrap()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        fs::remove_dir_all(&tree).unwrap();
        assert_eq!(found, [PROGRAM, "lib/libz.so.1", "lib/libc.so.6"]);
    }
}
