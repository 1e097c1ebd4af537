//! What an image must hold: configuration, modules and file systems, from the command line, the configuration and this machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use baredump::config::{Config, RawConfig, Value};
use baredump::net::Plan;
use baredump::target::{self, Kind, TargetSpec};
use initramfs::image::Source;
use initramfs::{ext4, network, sysfs};

use super::local::{self, Disks, Seen};

/// Modules and file systems, each once.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Module names.
    pub(super) modules: Vec<String>,
    /// File-system types.
    pub(super) filesystems: Vec<String>,
    /// Drivers that are part of the running kernel.
    pub(super) builtin: BTreeSet<String>,
    /// Drivers of what runs besides, without which a dump is made all the same.
    optional: BTreeSet<String>,
    /// Modules among them that drive watchdogs.
    watchdogs: BTreeSet<String>,
}

/// The configuration as it goes into the image: the file's text, or with targets that replace its own: those of the command line, and
/// what `probe` finds that a path or the name of a device means on this machine.
pub(super) fn config(source: &Source, probe: bool) -> Result<(Config, String)> {
    let (path, targets) = (&source.config, &source.targets);
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Err(err)
            if err.kind() == std::io::ErrorKind::NotFound
                && !source.config_is_needed
                && !targets.is_empty() =>
        {
            String::new()
        }
        other => other.with_context(|| {
            format!("{shown}: write one with targets = [\"/var/crash\"], or give --target")
        })?,
    };
    let given = if targets.is_empty() {
        let raw = RawConfig::from_toml(&text).with_context(|| shown.to_string())?;
        let value = raw.entries().find(|(key, _)| *key == "targets");
        match value {
            Some((_, Value::Text(text))) => text.split(',').map(str::to_owned).collect(),
            Some((_, Value::List(list))) => list.clone(),
            _ => Vec::new(),
        }
    } else {
        targets.clone()
    };
    let resolved = resolve(&given, probe)?;
    let text = if targets.is_empty() && resolved == given {
        text
    } else {
        with_targets(&text, &resolved)?
    };
    let config = Config::from_toml_strict(&text).with_context(|| shown.to_string())?;
    if config.targets.is_empty() {
        bail!("{shown} names no target: write targets = [\"/var/crash\"], or give --target");
    }
    with_claims(config, text, probe)
}

/// Targets as the capture kernel finds them.
fn resolve(given: &[String], probe: bool) -> Result<Vec<String>> {
    if !given.iter().any(|target| local::is_local(target)) {
        return Ok(given.to_vec());
    }
    if !probe {
        if let Some(path) = given.iter().find(|target| local::is_path(target)) {
            bail!(
                "target {path} is a path of this machine, which --no-probe does not look at: write file:UUID=…:/path"
            );
        }
        eprintln!(
            "baredumpctl: a target is named by its place below /dev, and with --no-probe it stays so: another kernel may give that name to another device"
        );
        return Ok(given.to_vec());
    }
    let disks = Disks::look()?;
    given.iter().map(|target| disks.resolve(target)).collect()
}

/// The same with the ids of the claimed partitions in `raw:` targets.
fn with_claims(config: Config, text: String, probe: bool) -> Result<(Config, String)> {
    let Some(targets) = super::claim::with_ids(&config.targets, probe)? else {
        return Ok((config, text));
    };
    let text = with_targets(&text, &targets)?;
    Ok((Config::from_toml_strict(&text)?, text))
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

    /// Adds what the targets need on every machine.
    pub(super) fn serve(&mut self, config: &Config) {
        for target in &config.targets {
            match &target.kind {
                Kind::Nfs { options, .. } => {
                    push(&mut self.filesystems, "nfs");
                    let three = options.vers.as_deref() == Some("3");
                    // The versions are modules of their own, which the kernel would ask modprobe for.
                    if options.vers.is_none() || three {
                        self.optional.insert("nfsv3".into());
                    }
                    if !three {
                        self.optional.insert("nfsv4".into());
                    }
                }
                Kind::Virtiofs { .. } => push(&mut self.filesystems, "virtiofs"),
                _ => {}
            }
        }
    }

    /// Adds what the network needs, and with `probe` the drivers of this machine's interfaces.
    pub(super) fn connect(&mut self, plan: &Plan, probe: bool) -> Result<()> {
        self.optional.extend(network::modules(plan));
        if probe {
            let drivers = network::drivers(Path::new("/"), plan)?;
            drivers
                .modules
                .iter()
                .for_each(|name| push(&mut self.modules, name));
            self.builtin.extend(drivers.builtin);
        }
        Ok(())
    }

    /// Adds what the targets need on this machine, and says where their dumps will be seen.
    pub(super) fn examine(&mut self, targets: &[TargetSpec]) -> Result<Vec<Seen>> {
        if targets.iter().all(|target| target.device().is_none()) {
            return Ok(Vec::new());
        }
        let disks = Disks::look()?;
        for target in targets {
            self.probe(target, &disks)?;
            if let Some(path) = disks.obstacle(target) {
                bail!(
                    "target {target}: {} is no directory, and dumps need one: remove it, or name another path",
                    path.display()
                );
            }
        }
        Ok(targets
            .iter()
            .filter_map(|target| disks.seen(target))
            .collect())
    }

    /// Adds what the target needs on this machine.
    fn probe(&mut self, target: &TargetSpec, disks: &Disks) -> Result<()> {
        let Some(device) = target.device() else {
            return Ok(());
        };
        let hint = || {
            format!(
                "target {target} can't be looked at here; to build an image for another machine give --no-probe with --module and --filesystem"
            )
        };
        let found = match disks.one(device) {
            Ok(found) => found.clone(),
            Err(_) => target::wait_for_device(device, Duration::ZERO).with_context(hint)?,
        };
        let drivers = sysfs::drivers(Path::new("/"), &found.node)?;
        drivers
            .modules
            .iter()
            .for_each(|name| push(&mut self.modules, name));
        self.builtin.extend(drivers.builtin);
        if matches!(target.kind, Kind::Raw { .. }) {
            return Ok(());
        }
        let filesystem = found
            .mountable()
            .with_context(|| format!("target {target}"))?;
        push(&mut self.filesystems, filesystem.name());
        if filesystem.name().starts_with("ext") {
            let wants = ext4::wants(&found.node);
            let wants = wants.with_context(|| found.node.display().to_string())?;
            wants.iter().for_each(|name| push(&mut self.modules, name));
        }
        Ok(())
    }

    /// Adds what else must be driven on this machine: watchdogs that run, consoles that need a driver.
    pub(super) fn attend(&mut self, sysroot: &Path) {
        let watchdogs = sysfs::watchdogs(sysroot);
        self.watchdogs.clone_from(&watchdogs.modules);
        for drivers in [watchdogs, sysfs::consoles(sysroot)] {
            self.optional.extend(drivers.modules);
            self.optional.extend(drivers.builtin);
        }
    }

    /// What is said when the capture kernel does not know the driver of a watchdog that runs.
    pub(super) fn unwatched(&self, is_unknown: impl Fn(&str) -> bool) -> Option<String> {
        let unknown = self.watchdogs.iter().map(String::as_str);
        let unknown: Vec<_> = unknown.filter(|name| is_unknown(name)).collect();
        (!unknown.is_empty()).then(|| {
            format!(
                "a watchdog of this machine runs, but the capture kernel has no {}: it may reset the machine before the dump is complete",
                unknown.join(" and no ")
            )
        })
    }

    /// What the running kernel has built in may be a module of the capture kernel, and what is only good to have may be missing
    /// there. A driver has the name of its module, where it has one.
    pub(super) fn settle(&mut self, is_module: impl Fn(&str) -> bool) {
        let mut first = Vec::new();
        // Watchdogs before all: their time has been running since the panic, and what comes later may lock up.
        for name in self
            .watchdogs
            .iter()
            .chain(self.builtin.union(&self.optional))
        {
            if is_module(name) {
                push(&mut first, name);
            }
        }
        self.builtin.retain(|name| !is_module(name));
        for name in &self.modules {
            push(&mut first, name);
        }
        self.modules = first;
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
        let config = |config_is_needed, targets: &[&str]| {
            let source = Source {
                config: path.clone(),
                config_is_needed,
                targets: targets.iter().map(ToString::to_string).collect(),
                builtin: BTreeSet::new(),
            };
            super::config(&source, false).map_err(|error| format!("{error:#}"))
        };
        assert!(config(false, &[]).is_err());
        assert!(config(true, &[TARGET]).is_err());
        assert_eq!(config(false, &[TARGET]).unwrap().0.targets.len(), 1);
        fs::write(&path, "level = 31\n").unwrap();
        assert!(config(true, &[]).unwrap_err().contains("names no target"));
        fs::write(&path, "levle = 31\n").unwrap();
        assert!(config(true, &[TARGET]).unwrap_err().contains("levle"));
        let error = config(true, &["/var/crash"]).unwrap_err();
        assert!(error.contains("--no-probe does not look"), "{error}");
    }

    #[test]
    fn what_is_built_in_here_may_be_a_module_there() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let mut wanted = Wanted {
            modules: vec!["ext4".into(), "i6300esb".into()],
            builtin: names(&["nvme", "pcieport"]),
            optional: names(&["ahci", "i6300esb", "hpwdt", "serial"]),
            watchdogs: names(&["i6300esb", "hpwdt"]),
            ..Wanted::default()
        };
        wanted.settle(|name| ["ahci", "nvme", "ext4", "i6300esb"].contains(&name));
        assert_eq!(wanted.modules, ["i6300esb", "ahci", "nvme", "ext4"]);
        assert_eq!(wanted.builtin, names(&["pcieport"]));
        assert_eq!(wanted.unwatched(|_| false), None);
        let said = wanted.unwatched(|name| name == "hpwdt").unwrap();
        assert!(said.contains("has no hpwdt: it may reset"), "{said}");
    }
}
