//! Whether an image still fits the machine: what `image` would put into it now, against what is in it.

use std::path::Path;

use anyhow::{Context, Result};
use baredump::config::Config;
use baredump::net::Plan;
use initramfs::cpio::Archive;
use initramfs::image::{self, Source};

use super::local::Seen;
use super::wanted::{self, Wanted};
use super::{network, private};

/// What to do about all of it.
pub(super) const REMEDY: &str =
    "build the image anew with baredumpctl image, and load it with baredumpctl arm";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// Where the dumps of its targets will be seen.
    pub(super) seen: Vec<Seen>,
    /// What is not as it was.
    pub(super) faults: Vec<String>,
    /// Whether the image says what it was made of.
    pub(super) is_known: bool,
}

impl Fit {
    /// Looks again at everything that the image was made of. An image for another machine is not judged.
    pub(super) fn of(archive: &Archive) -> Self {
        let mut fit = Self::default();
        if let Some(source) = image::source(archive) {
            fit.is_known = true;
            fit.compare(archive, &source);
        }
        fit
    }

    fn compare(&mut self, archive: &Archive, source: &Source) {
        let text = archive.file_bytes(image::CONFIG_FILE).unwrap_or_default();
        let there = match Config::from_toml_strict(&String::from_utf8_lossy(text)) {
            Ok(config) => config,
            Err(error) => return self.faults.push(format!("its configuration: {error}")),
        };
        match wanted::config(source, true) {
            Ok((now, _)) => self.faults.extend(changed(&there, &now, &source.config)),
            Err(error) => self.fault(&error),
        }
        match private::read_all(&there) {
            Ok(files) => {
                let differs = |(name, bytes): &(&str, Vec<u8>)| {
                    let there = archive.file_bytes(&format!("etc/baredump/{name}"));
                    there.is_some_and(|there| there != bytes)
                };
                let files = files.iter().filter(|file| differs(file));
                let faults = files.map(|(name, _)| format!("the file for {name} was changed"));
                self.faults.extend(faults);
            }
            Err(error) => self.fault(&error),
        }
        let mut wanted = Wanted::default();
        match network::plan(&there, true, &mut wanted) {
            Ok(now) => self.faults.extend(other_way(archive, now)),
            Err(error) => self.fault(&error),
        }
        match wanted.examine(&there.targets) {
            Ok(seen) => self.seen = seen,
            Err(error) => self.fault(&error),
        }
        let lacking = wanted
            .modules
            .iter()
            .filter(|name| !source.builtin.contains(*name) && !has_module(archive, name));
        let lacking: Vec<_> = lacking.map(String::as_str).collect();
        if !lacking.is_empty() {
            let lacking = lacking.join(" and ");
            self.faults.push(format!(
                "its targets need {lacking}, which it does not have"
            ));
        }
    }

    fn fault(&mut self, error: &anyhow::Error) {
        self.faults.push(format!("{error:#}"));
    }
}

/// The image file, unpacked.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Archive)> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| {
        format!("{shown}: build it with baredumpctl image, or name one with --image")
    })?;
    let archive =
        image::unpack(&bytes).with_context(|| format!("{shown} can't be the capture image"))?;
    Ok((bytes, archive))
}

/// What a configuration says that the image's does not.
fn changed(there: &Config, now: &Config, file: &Path) -> Option<String> {
    let list = |config: &Config| {
        let targets = config.targets.iter().map(ToString::to_string);
        targets.collect::<Vec<_>>().join(", ")
    };
    if there.targets != now.targets {
        return Some(format!(
            "its targets are {}, but by {} they would be {} now",
            list(there),
            file.display(),
            list(now)
        ));
    }
    (there != now).then(|| format!("{} was changed after it was built", file.display()))
}

/// Whether another interface, address or router leads to a server than the image says.
fn other_way(archive: &Archive, now: Option<Plan>) -> Option<String> {
    let path = format!("etc/baredump/{}", network::FILE);
    let there: Option<Plan> = archive
        .file_bytes(&path)
        .and_then(|text| serde_json::from_slice(text).ok());
    let lines = |plan: Option<Plan>| {
        let plan = plan.unwrap_or_default();
        let lines = plan.interfaces.iter().map(ToString::to_string);
        (lines.collect::<Vec<_>>().join(", "), plan.targets)
    };
    let (there, now) = (lines(there), lines(now));
    (there != now).then(|| {
        format!(
            "its way to the servers is {}, but would be {} now",
            there.0, now.0
        )
    })
}

/// `-` and `_` mean the same in a module's name.
fn has_module(archive: &Archive, name: &str) -> bool {
    let same = |path: &str| {
        let file = path.strip_prefix("lib/modules/")?.strip_suffix(".ko")?;
        (file.replace('-', "_") == name.replace('-', "_")).then_some(())
    };
    archive.entries().any(|(path, _)| same(path).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn archive(config: &str, source: &Source) -> Archive {
        let mut archive = Archive::new();
        let text = config.as_bytes().to_vec();
        archive.file(image::CONFIG_FILE, 0o600, text).unwrap();
        let source = serde_json::to_vec(source).unwrap();
        archive.file(image::SOURCE_FILE, 0o600, source).unwrap();
        archive
    }

    #[test]
    fn what_was_changed_after_the_image_was_built_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let (file, urls) = (dir.path().join("baredump.toml"), dir.path().join("urls"));
        let source = Source {
            config: file.clone(),
            ..Source::default()
        };
        let faults = |archive: &Archive| Fit::of(archive).faults.join("; ");
        let text = format!("targets = [\"dmesg:\"]\npresigned = {urls:?}\n");
        let same = archive(&text, &source);
        fs::write(&urls, "1").unwrap();
        fs::write(&file, format!("# a remark\n{text}")).unwrap();
        assert_eq!(faults(&same), "");
        fs::write(&file, format!("{text}level = 1\n")).unwrap();
        assert!(faults(&same).ends_with("baredump.toml was changed after it was built"));
        fs::write(&file, text.replace("dmesg:", "syslog://127.0.0.1")).unwrap();
        assert!(faults(&same).contains("they would be syslog://127.0.0.1 now"));
        fs::write(&file, "targets = [").unwrap();
        assert!(faults(&same).contains("no valid TOML"));
        fs::remove_file(&file).unwrap();
        assert!(faults(&same).contains("baredump.toml"));
        fs::write(&file, &text).unwrap();
        fs::remove_file(&urls).unwrap();
        assert!(
            faults(&same).contains("`presigned` names"),
            "{}",
            faults(&same)
        );
        // The file system is gone.
        let text = "targets = [\"file:UUID=0e0cf1bc-1e62-4d22-b2c8-000000000000:/x\"]\n";
        fs::write(&file, text).unwrap();
        let gone = faults(&archive(text, &source));
        assert!(
            gone.contains("0e0cf1bc-1e62-4d22-b2c8-000000000000"),
            "{gone}"
        );
        // One for another machine.
        let mut other = Archive::new();
        other.file(image::CONFIG_FILE, 0o600, text.into()).unwrap();
        let fit = Fit::of(&other);
        assert!(!fit.is_known && fit.faults.is_empty());
    }

    #[test]
    fn another_way_and_missing_modules() {
        let mut archive = Archive::new();
        let plan = |mac: &str| -> Plan {
            let text =
                format!(r#"{{"interfaces": ["lan:mac={mac};dhcp"], "targets": {{"1": "lan"}}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let path = format!("etc/baredump/{}", network::FILE);
        let json = serde_json::to_vec(&plan("52:54:00:12:34:56")).unwrap();
        archive.file(&path, 0o600, json).unwrap();
        assert_eq!(other_way(&archive, Some(plan("52:54:00:12:34:56"))), None);
        let said = other_way(&archive, Some(plan("52:54:00:12:34:57"))).unwrap();
        assert!(
            said.contains("56;dhcp, but would be lan:mac=52:54:00:12:34:57"),
            "{said}"
        );
        assert!(other_way(&archive, None).is_some());
        archive
            .file("lib/modules/virtio-blk.ko", 0o644, Vec::new())
            .unwrap();
        assert!(has_module(&archive, "virtio_blk") && !has_module(&archive, "nvme"));
    }
}
