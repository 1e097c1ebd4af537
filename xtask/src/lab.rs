//! Where things lie: the repository, the target directory, and the lab under it, which holds everything that was fetched or made.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Paths of the repository and its products.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's target directory.
    pub(crate) target: PathBuf,
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
        Ok(Self { root, target })
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

/// Prints a step that begins.
pub(crate) fn step(text: &str) {
    println!("\x1b[1m==> {text}\x1b[0m");
}

/// Prints a fact.
pub(crate) fn say(text: &str) {
    println!("    {text}");
}
