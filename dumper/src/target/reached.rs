//! A target that was reached: what was found of it, and how the directory of a dump is made there and opened again.

use super::dumpdir::DumpDir;
use super::file::{Mounted, TargetError};
use super::place::Place;
use super::spec::TargetSpec;
use serde::{Deserialize, Serialize};

/// What a later step needs to know of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// A mounted file system.
    Mounted(Mounted),
}

impl Reached {
    /// Makes the directory of a dump: `name`, or `name-2`, … when that exists.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(&self, spec: &TargetSpec, name: &str) -> Result<Box<dyn Place>, TargetError> {
        Ok(match self {
            Self::Mounted(mounted) => Box::new(DumpDir::create(mounted, spec.path(), name)?),
        })
    }

    /// Opens the directory that had this path.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open(&self, _spec: &TargetSpec, path: &str) -> Result<Box<dyn Place>, TargetError> {
        Ok(match self {
            Self::Mounted(mounted) => Box::new(DumpDir::open(mounted, path)?),
        })
    }
}
