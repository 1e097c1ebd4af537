//! Everything that must be loaded for some modules and file systems, in load order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::implied;
use super::index::{Index, Resolved};
use super::modinfo::{ModInfo, normalize};
use super::{ModuleError, Options};
use crate::kconfig::KernelConfig;

/// What is wanted, and what is known besides the modules themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// Modules by name or alias.
    pub modules: &'a [String],
    /// File-system types.
    pub filesystems: &'a [String],
    /// Soft dependencies written by the administrator.
    pub options: Option<&'a Options>,
    /// The kernel's configuration.
    pub config: Option<&'a KernelConfig>,
}

/// One module of the closure.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its name with `_`.
    pub name: String,
    /// Where it was found.
    pub path: PathBuf,
    /// The ELF file, decompressed.
    pub bytes: Vec<u8>,
    /// What it says of itself.
    pub info: ModInfo,
}

/// Modules in load order.
#[derive(Debug, Clone, Default)]
pub struct Closure {
    /// To be loaded one after the other.
    pub load: Vec<Module>,
    /// Wanted, but part of the kernel.
    pub builtin: BTreeSet<String>,
    /// Soft dependencies that this kernel has under no name.
    pub absent: BTreeSet<String>,
}

/// Computes the closure.
///
/// # Errors
/// A wanted module, or one that a module depends on, is neither built in nor there; a module can't be read.
pub fn close(index: &Index, wishes: &Wishes<'_>) -> Result<Closure, ModuleError> {
    let mut walk = Walk {
        index,
        wishes,
        seen: BTreeMap::new(),
        deferred: Vec::new(),
        closure: Closure::default(),
    };
    for name in wishes.modules {
        walk.require(name, "asked for")?;
        walk.finish_deferred()?;
    }
    for filesystem in wishes.filesystems {
        walk.require_filesystem(filesystem)?;
        walk.finish_deferred()?;
    }
    Ok(walk.closure)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its dependencies are being visited.
    Active,
    /// In the load list.
    Done,
}

/// What to do with a soft dependency; the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Soft {
    /// All that it depends on is there.
    Load,
    /// It depends on a module that is not loaded yet itself: after that one.
    Later,
    /// It or something that it depends on doesn't exist: no error, as with modprobe.
    Absent,
}

struct Walk<'a> {
    index: &'a Index,
    wishes: &'a Wishes<'a>,
    seen: BTreeMap<String, State>,
    /// Soft dependencies that need a module which is not loaded yet itself.
    deferred: Vec<String>,
    closure: Closure,
}

impl Walk<'_> {
    fn require(&mut self, name: &str, wanted_by: &str) -> Result<(), ModuleError> {
        match self.index.resolve(name) {
            Resolved::Unknown => Err(self.missing(name, wanted_by)),
            Resolved::Builtin(module) => self.builtin(&module),
            Resolved::Modules(modules) => modules.iter().try_for_each(|module| self.visit(module)),
        }
    }

    fn require_filesystem(&mut self, filesystem: &str) -> Result<(), ModuleError> {
        let known = |name: &str| self.index.resolve(name) != Resolved::Unknown;
        // ext2 and ext3 are aliases of ext4's on most kernels.
        let alias = format!("fs-{filesystem}");
        if !known(filesystem) && known(&alias) {
            return self.require(&alias, "file system");
        }
        let option = format!("CONFIG_{}_FS", filesystem.to_uppercase());
        if !known(filesystem)
            && self
                .wishes
                .config
                .is_some_and(|config| config.is_builtin(&option))
        {
            return self.builtin(&normalize(filesystem));
        }
        self.require(filesystem, "file system")
    }

    /// A built-in module needs no loading, but may want others.
    fn builtin(&mut self, module: &str) -> Result<(), ModuleError> {
        if !self.closure.builtin.insert(module.to_owned()) {
            return Ok(());
        }
        let mut wants = self
            .index
            .builtin_info(module)
            .map(|info| info.softdep_pre.clone())
            .unwrap_or_default();
        wants.extend(implied::wants(module, None, self.wishes.config));
        wants.iter().try_for_each(|name| self.wish(name))
    }

    fn visit(&mut self, name: &str) -> Result<(), ModuleError> {
        match self.seen.get(name) {
            Some(State::Done) => return Ok(()),
            Some(State::Active) => return Err(ModuleError::Cycle(name.to_owned())),
            None => self.seen.insert(name.to_owned(), State::Active),
        };
        let path = self
            .index
            .path(name)
            .ok_or_else(|| self.missing(name, "named by modules.alias"))?
            .to_owned();
        let (bytes, info) = Index::load(&path)?;
        let mut pre = info.softdep_pre.clone();
        let mut post = info.softdep_post.clone();
        if let Some(more) = self
            .wishes
            .options
            .and_then(|options| options.softdeps(name))
        {
            pre.extend_from_slice(&more.softdep_pre);
            post.extend_from_slice(&more.softdep_post);
        }
        pre.extend(implied::wants(name, Some(&path), self.wishes.config));
        pre.iter().try_for_each(|wanted| self.wish(wanted))?;
        for dependency in &info.depends {
            self.require(dependency, &format!("needed by {name}"))?;
        }
        self.seen.insert(name.to_owned(), State::Done);
        self.closure.load.push(Module {
            name: name.to_owned(),
            path,
            bytes,
            info,
        });
        post.iter().try_for_each(|wanted| self.wish(wanted))
    }

    /// Loads what a soft dependency names, when there is such a thing.
    fn wish(&mut self, name: &str) -> Result<(), ModuleError> {
        match self.index.resolve(name) {
            Resolved::Builtin(module) => self.builtin(&module),
            Resolved::Modules(modules) => modules
                .iter()
                .try_for_each(|module| self.wish_module(module)),
            Resolved::Unknown => {
                self.closure.absent.insert(normalize(name));
                Ok(())
            }
        }
    }

    fn wish_module(&mut self, module: &str) -> Result<(), ModuleError> {
        if self.seen.contains_key(module) {
            return Ok(());
        }
        match self.judge(module, &mut BTreeSet::new()) {
            Soft::Load => self.visit(module)?,
            Soft::Later => self.deferred.push(module.to_owned()),
            Soft::Absent => drop(self.closure.absent.insert(module.to_owned())),
        }
        Ok(())
    }

    /// Looks at everything that `module` depends on.
    fn judge(&self, module: &str, asked: &mut BTreeSet<String>) -> Soft {
        match self.seen.get(module) {
            Some(State::Active) => return Soft::Later,
            Some(State::Done) => return Soft::Load,
            None if !asked.insert(module.to_owned()) => return Soft::Load,
            None => {}
        }
        let Some(Ok((_, info))) = self.index.path(module).map(Index::load) else {
            return Soft::Absent;
        };
        let judge_one = |name: &String| match self.index.resolve(name) {
            Resolved::Builtin(_) => Soft::Load,
            Resolved::Unknown => Soft::Absent,
            Resolved::Modules(_) => self.judge(&normalize(name), asked),
        };
        info.depends
            .iter()
            .map(judge_one)
            .max()
            .unwrap_or(Soft::Load)
    }

    fn finish_deferred(&mut self) -> Result<(), ModuleError> {
        while let Some(module) = self.deferred.pop() {
            self.wish_module(&module)?;
        }
        Ok(())
    }

    fn missing(&self, name: &str, wanted_by: &str) -> ModuleError {
        let hint = if self.index.has_builtin_list() {
            "install the package that has it, or name the right directory with --modules-dir"
        } else {
            "there is no modules.builtin there, so what is built in is unknown: add the directory that has it with --modules-dir"
        };
        ModuleError::Missing {
            name: name.to_owned(),
            wanted_by: wanted_by.to_owned(),
            searched: self.index.searched(),
            hint,
        }
    }
}

#[cfg(test)]
mod tests;
