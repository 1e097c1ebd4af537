//! What an image must hold: configuration, modules and file systems, from the command line, the configuration and this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use baredump::config::{Config, RawConfig, Value};
use baredump::target::{self, TargetSpec};
use initramfs::sysfs;

/// Modules and file systems, each once.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Module names.
    pub(super) modules: Vec<String>,
    /// File-system types.
    pub(super) filesystems: Vec<String>,
    /// Drivers that are part of the running kernel.
    pub(super) builtin: BTreeSet<String>,
}

/// The configuration as it goes into the image: the file's text, or with `targets` that replace its own.
pub(super) fn config(path: &Path, required: bool, targets: &[String]) -> Result<(Config, String)> {
    let text = match fs::read_to_string(path) {
        Err(err)
            if err.kind() == std::io::ErrorKind::NotFound && !required && !targets.is_empty() =>
        {
            String::new()
        }
        other => other.with_context(|| {
            format!(
                "{}: write one with targets = [\"file:UUID=…:/var/crash\"], or give --target",
                path.display()
            )
        })?,
    };
    let text = if targets.is_empty() {
        text
    } else {
        with_targets(&text, targets)?
    };
    let config = Config::from_toml_strict(&text).with_context(|| path.display().to_string())?;
    if config.targets.is_empty() {
        bail!(
            "{} names no target: write targets = [\"file:UUID=…:/var/crash\"], or give --target",
            path.display()
        );
    }
    Ok((config, text))
}

fn with_targets(text: &str, targets: &[String]) -> Result<String> {
    let raw = RawConfig::from_toml(text)?;
    let mut lines = vec![format!("targets = {}", serde_json::to_string(targets)?)];
    for (key, value) in raw.entries().filter(|(key, _)| *key != "targets") {
        // JSON's strings and arrays of strings are TOML's too.
        let value = match value {
            Value::Text(text) => serde_json::to_string(text)?,
            Value::List(list) => serde_json::to_string(list)?,
            Value::Other(source) => source.clone(),
        };
        lines.push(format!("{key} = {value}"));
    }
    Ok(lines.join("\n") + "\n")
}

impl Wanted {
    /// What the user names.
    pub(super) fn named(modules: &[String], filesystems: &[String]) -> Self {
        let mut wanted = Self::default();
        modules
            .iter()
            .for_each(|name| push(&mut wanted.modules, name));
        filesystems
            .iter()
            .for_each(|name| push(&mut wanted.filesystems, name));
        wanted
    }

    /// Adds what the target needs on this machine.
    pub(super) fn probe(&mut self, target: &TargetSpec) -> Result<()> {
        let TargetSpec::File { device, .. } = target;
        let hint = || {
            format!(
                "target {target} can't be looked at here; to build an image for another machine give --no-probe with --module and --filesystem"
            )
        };
        let found = target::wait_for_device(device, Duration::ZERO).with_context(hint)?;
        let Some(filesystem) = found.fs() else {
            bail!(
                "target {target}: {} holds no file system that baredump knows; make one, or choose another device",
                found.node.display()
            );
        };
        let drivers = sysfs::drivers(Path::new("/"), &found.node)?;
        drivers
            .modules
            .iter()
            .for_each(|name| push(&mut self.modules, name));
        self.builtin.extend(drivers.builtin);
        push(&mut self.filesystems, filesystem.name());
        Ok(())
    }
}

fn push(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|other| other == name) {
        list.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "file:LABEL=\"crash\":/dumps";

    #[test]
    fn targets_of_the_command_line_replace_those_of_the_file() {
        let text = "# mine\nlevel = 1\ntargets = [\"file:/dev/vda:/\"]\ncompress = \"none\"\n";
        let text = with_targets(text, &[TARGET.to_owned()]).unwrap();
        let config = Config::from_toml_strict(&text).unwrap();
        assert_eq!(config.targets, [TARGET.parse().unwrap()]);
        assert!(text.contains("level = \"1\""), "{text}");
    }

    #[test]
    fn no_target_and_unknown_keys_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("baredump.toml");
        assert!(config(&path, false, &[]).is_err());
        assert!(config(&path, true, &[TARGET.to_owned()]).is_err());
        assert_eq!(
            config(&path, false, &[TARGET.to_owned()])
                .unwrap()
                .0
                .targets
                .len(),
            1
        );
        fs::write(&path, "level = 31\n").unwrap();
        assert!(
            config(&path, true, &[])
                .unwrap_err()
                .to_string()
                .contains("names no target")
        );
        fs::write(&path, "levle = 31\n").unwrap();
        assert!(
            format!(
                "{:#}",
                config(&path, true, &[TARGET.to_owned()]).unwrap_err()
            )
            .contains("levle")
        );
    }
}
