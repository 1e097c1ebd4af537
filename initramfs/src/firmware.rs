//! Firmware files that modules ask for, as the kernel's loader would find them.
//!
//! Source: drivers/base/firmware_loader/main.c, Linux 5.3 (`.xz`) to 7.2; `.zst` since 5.19.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::decompress::{self, DecompressError, SUFFIXES};

/// Files to put under `/lib/firmware`, and names that were not found.
#[derive(Debug, Clone, Default)]
pub struct Firmware {
    /// Decompressed bytes by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// For people: each names the firmware and the module.
    pub warnings: Vec<String>,
}

/// Where the kernel looks for firmware.
#[must_use]
pub fn default_dirs(release: &str) -> Vec<PathBuf> {
    [
        format!("/lib/firmware/updates/{release}"),
        "/lib/firmware/updates".to_owned(),
        format!("/lib/firmware/{release}"),
        "/lib/firmware".to_owned(),
    ]
    .map(PathBuf::from)
    .to_vec()
}

/// Finds what `module` names; a missing file is a warning, as most modules name files for hardware that isn't there.
///
/// # Errors
/// A file is there and can't be read or is damaged.
pub fn collect(
    firmware: &mut Firmware,
    module: &str,
    names: &[String],
    dirs: &[PathBuf],
) -> Result<(), DecompressError> {
    for name in names {
        if firmware.files.contains_key(name) {
            continue;
        }
        match find(name, dirs) {
            Some(path) => {
                firmware
                    .files
                    .insert(name.clone(), decompress::read(&path)?);
            }
            None => firmware.warnings.push(format!(
                "firmware {name}, which module {module} may ask for, was not found"
            )),
        }
    }
    Ok(())
}

fn find(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    // A name comes from a module file: it must stay below the directories.
    let clean = Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !clean {
        return None;
    }
    let spellings = std::iter::once("")
        .chain(SUFFIXES)
        .map(|suffix| format!("{name}{suffix}"));
    let spellings: Vec<_> = spellings.collect();
    dirs.iter()
        .flat_map(|dir| spellings.iter().map(|name| dir.join(name)))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Compression;

    #[test]
    fn plain_compressed_missing_and_hostile() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("x")).unwrap();
        std::fs::write(dir.path().join("x/plain.bin"), b"plain").unwrap();
        std::fs::write(
            dir.path().join("packed.bin.zst"),
            Compression::Zstd.compress(b"packed").unwrap(),
        )
        .unwrap();
        let names = [
            "x/plain.bin",
            "packed.bin",
            "gone.bin",
            "../../etc/passwd",
            "/etc/passwd",
        ]
        .map(str::to_owned);
        let mut firmware = Firmware::default();
        collect(
            &mut firmware,
            "m",
            &names,
            &["/nonexistent".into(), dir.path().to_owned()],
        )
        .unwrap();
        assert_eq!(firmware.files["x/plain.bin"], b"plain");
        assert_eq!(firmware.files["packed.bin"], b"packed");
        assert_eq!(firmware.warnings.len(), 3);
        assert_eq!(
            firmware.warnings[0],
            "firmware gone.bin, which module m may ask for, was not found"
        );
    }
}
