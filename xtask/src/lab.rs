//! Where things lie: the repository, the target directory, and the lab under it, which holds everything that was fetched or made.

use crate::Stop;
use anyhow::{Context, Result};
use nix::sys::statvfs::statvfs;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Paths of the repository and its products.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
    /// The static binaries are built in a third of the time, larger and slower: for work on one scenario.
    pub(crate) quick: bool,
}

impl Lab {
    /// The lab of the repository that this program was built from.
    ///
    /// # Errors
    /// When the repository is gone.
    pub(crate) fn open() -> Result<Self> {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir
            .parent()
            .context("xtask lies in no workspace")?
            .to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self {
            root,
            target,
            quick: false,
        })
    }

    /// Sees that what is to be made fits: `bytes` with what the target directory holds already. A guest whose disk cannot grow any more
    /// waits without a word.
    ///
    /// # Errors
    /// When the file system has not so much left.
    pub(crate) fn has_room(&self, bytes: u64) -> Result<()> {
        fs::create_dir_all(&self.target)?;
        let space = statvfs(&self.target).context("cannot look at the file system")?;
        let free = space.blocks_available() * space.fragment_size();
        let missing = bytes.saturating_sub(held(&self.target));
        if free < missing {
            return Err(Stop::new(format!(
                "{} has {} MB left, and {} MB are needed: make room, or set CARGO_TARGET_DIR to a directory that has them",
                self.target.display(),
                free / MEGABYTE,
                missing / MEGABYTE
            )));
        }
        Ok(())
    }

    /// A directory of the lab, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.target.join("lab").join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// An empty directory of the lab: what it held is removed.
    ///
    /// # Errors
    /// When it cannot be emptied.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.target.join("lab").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        self.dir(name)
    }
}

const MEGABYTE: u64 = 1_000_000;

/// Bytes of blocks below a directory; what vanishes meanwhile does not count.
fn held(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => held(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// Prints a step that begins.
pub(crate) fn step(text: &str) {
    println!("\x1b[1m==> {text}\x1b[0m");
}

/// Prints a fact.
pub(crate) fn say(text: &str) {
    println!("    {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_looked_for() {
        let target = std::env::temp_dir().join(format!("xtask-room-{}", std::process::id()));
        let lab = Lab {
            root: target.clone(),
            target: target.clone(),
            quick: false,
        };
        lab.has_room(0).unwrap();
        let error = lab.has_room(u64::MAX).unwrap_err();
        assert!(error.is::<Stop>() && error.to_string().contains("make room"));
        fs::create_dir_all(target.join("a")).unwrap();
        fs::write(target.join("a/b"), [7; 100_000]).unwrap();
        assert!(held(&target) >= 100_000);
        fs::remove_dir_all(&target).unwrap();
    }
}
