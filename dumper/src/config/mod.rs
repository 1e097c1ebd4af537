//! What the capture kernel is to do: `/etc/baredump.toml` and the `baredump.*` words of the kernel command line.
//!
//! Two ways in. [`Config::from_toml_strict`] is for the image builder: everything unknown or wrong is an error. [`Config::load`] is
//! for the moment of the crash: everything unknown or wrong is a warning and the default stands, because a dump with default
//! settings is better than none. Encryption alone has no default to fall back on: what was meant to name recipients and names none
//! forbids that anything is written in clear.

mod keys;
pub mod words;

use crate::compress::Compression;
use crate::filter::DumpLevel;
use crate::net::Interface;
use crate::target::TargetSpec;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use keys::{MAX_FENCE_HOSTS, MAX_TARGETS, RawConfig, Value};

/// The last thing PID 1 does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinalAction {
    /// Restart the machine.
    #[default]
    Reboot,
    /// Switch it off.
    Poweroff,
    /// Stop it and leave the console as it is.
    Halt,
}

impl FinalAction {
    /// The word of the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Poweroff => "poweroff",
            Self::Halt => "halt",
        }
    }

    /// The action of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Reboot, Self::Poweroff, Self::Halt]
            .into_iter()
            .find(|a| a.name() == text)
    }
}

/// How many worker threads compress pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Threads {
    /// So many; 0 = everything in one thread.
    Count(u16),
    /// As many as the capture kernel has CPUs, none when it has one.
    Auto,
}

impl Threads {
    /// The number for [`crate::dump::Options::threads`].
    pub fn count(self) -> usize {
        match self {
            Self::Count(n) => usize::from(n),
            Self::Auto => std::thread::available_parallelism()
                .map_or(0, |n| if n.get() > 1 { n.get() } else { 0 }),
        }
    }
}

/// A validated configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where the dump goes, in the order in which they are tried.
    pub targets: Vec<TargetSpec>,
    /// Which page classes are dropped.
    pub level: DumpLevel,
    /// Page compression.
    pub compress: Compression,
    /// Worker threads.
    pub threads: Threads,
    /// The end.
    pub final_action: FinalAction,
    /// From the start of PID 1 to the final action.
    pub deadline: Duration,
    /// A capture step without progress for so long is killed.
    pub stall: Duration,
    /// How long to wait for a target's device.
    pub device_timeout: Duration,
    /// How long one module may take to load.
    pub module_timeout: Duration,
    /// How long an interface may take to have its addresses.
    pub network_timeout: Duration,
    /// Interfaces that are not to be as the image builder found them.
    pub interfaces: Vec<Interface>,
    /// The log goes to every target that can be reached, not only to the one with the dump.
    pub log_to_all: bool,
    /// Who hears from the moment the network is up that this machine is busy.
    pub fence_kdump: Vec<SocketAddr>,
    /// The key for SSH servers: a file of the host that the image is built on.
    pub ssh_key: Option<PathBuf>,
    /// Its certificate.
    pub ssh_certificate: Option<PathBuf>,
    /// The keys of SSH servers.
    pub ssh_known_hosts: Option<PathBuf>,
    /// The keys for object storage.
    pub s3_credentials: Option<PathBuf>,
    /// Pre-signed URLs in their place.
    pub presigned: Option<PathBuf>,
    /// Who signs the certificates of HTTPS servers.
    pub ca: Option<PathBuf>,
    /// Who can read dumps; everybody who has the files when there is none.
    pub recipients: Vec<String>,
    /// Why nothing may be written in clear although no recipient is known: somebody wanted some, and their names cannot be read.
    #[serde(default)]
    pub clear_forbidden: Option<String>,
    /// The log is readable for all even when the dump is not.
    pub plaintext_log: bool,
    /// Boot id of the dead kernel, 32 hex digits; only from the command line.
    pub boot_id: Option<String>,
    /// Machine id, 32 hex digits; only from the command line.
    pub machine_id: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            level: DumpLevel::MAX,
            compress: Compression::Zstd,
            threads: Threads::Count(0),
            final_action: FinalAction::Reboot,
            deadline: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(120),
            device_timeout: Duration::from_secs(30),
            module_timeout: Duration::from_secs(30),
            network_timeout: Duration::from_secs(60),
            interfaces: Vec::new(),
            log_to_all: false,
            fence_kdump: Vec::new(),
            ssh_key: None,
            ssh_certificate: None,
            ssh_known_hosts: None,
            s3_credentials: None,
            presigned: None,
            ca: None,
            recipients: Vec::new(),
            clear_forbidden: None,
            plaintext_log: false,
            boot_id: None,
            machine_id: None,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML.
    #[error("the configuration is no valid TOML: {0}")]
    Syntax(String),
    /// A key that does not exist.
    #[error("unknown configuration key `{key}`: the keys are {known}")]
    UnknownKey {
        /// The key found.
        key: String,
        /// All keys.
        known: String,
    },
    /// A value that cannot be.
    #[error("configuration key `{key}` is {found}: {why}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is allowed, or what is wrong.
        why: String,
    },
}

impl Config {
    /// A configuration from the text of `/etc/baredump.toml`, as the image builder judges it.
    ///
    /// # Errors
    /// On text that is no TOML, an unknown key or a value that is not allowed.
    pub fn from_toml_strict(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, value) in RawConfig::from_toml(text)?.entries() {
            keys::set(&mut config, key, value)?;
        }
        Ok(config)
    }

    /// Judges the `baredump.*` words of a command line before it is used.
    ///
    /// # Errors
    /// On an unknown key or a value that is not allowed.
    pub fn from_words_strict(cmdline: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for (key, value) in RawConfig::from_cmdline(cmdline).entries() {
            keys::set(&mut config, key, value)?;
        }
        Ok(config)
    }

    /// The configuration in force at the crash: the file, then the words of `cmdline`, which win. Never fails: the second value
    /// says what was ignored.
    pub fn load(toml: Option<&str>, cmdline: &str) -> (Self, Vec<String>) {
        let mut config = Self::default();
        let mut warnings = Vec::new();
        match toml.map(RawConfig::from_toml) {
            Some(Ok(raw)) => apply(&mut config, &raw, &mut warnings),
            Some(Err(e)) => {
                if toml.is_some_and(|text| text.contains("recipient")) {
                    config.forbid_clear("/etc/baredump.toml", "it is no valid TOML");
                }
                warnings.push(format!("/etc/baredump.toml is ignored: {e}"));
            }
            None => {}
        }
        apply(
            &mut config,
            &RawConfig::from_cmdline(cmdline),
            &mut warnings,
        );
        (config, warnings)
    }

    /// Takes the recipients that the image itself names, whatever became of the configuration. Those of the configuration win.
    pub fn seal_to(&mut self, image: std::io::Result<String>) {
        match image {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            _ if !self.recipients.is_empty() => {}
            Ok(text) if !text.trim().is_empty() => {
                self.recipients = text.split_whitespace().map(str::to_owned).collect();
            }
            Ok(_) => self.forbid_clear(SEALED, "it names nobody"),
            Err(e) => self.forbid_clear(SEALED, &e.to_string()),
        }
    }

    fn forbid_clear(&mut self, place: &str, why: &str) {
        let text = format!("nothing is written in clear: {place}: {why}");
        self.clear_forbidden = Some(text);
    }
}

/// The recipients in the image, for every step by itself: the step that reads the configuration may die.
pub const SEALED: &str = "/etc/baredump/sealed";

fn apply(config: &mut Config, raw: &RawConfig, warnings: &mut Vec<String>) {
    for (key, value) in raw.entries() {
        if let Err(e) = keys::set(config, key, value) {
            if keys::wants_recipients(key, value) {
                let why = match &e {
                    ConfigError::BadValue { why, .. } => why,
                    _ => "the key is `recipients`",
                };
                config.forbid_clear(&format!("`{key}`"), why);
            }
            warnings.push(format!("{e} (ignored)"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        targets = ["file:UUID=0e0cf1bc-1e62-4d22-b2c8-f3c2c4a6a2a1:/var/crash", "file:/dev/vdb:/"]
        level = 17
        compress = "zlib"
        threads = "auto"
        final_action = "poweroff"
        deadline = "1h"
        stall = 45
        device_timeout = "5s"
        module_timeout = "2m"
    "#;

    #[test]
    fn every_key_is_read() {
        let c = Config::from_toml_strict(FULL).unwrap();
        assert_eq!(c.targets.len(), 2);
        assert_eq!(c.level.bits(), 17);
        assert_eq!(c.compress, Compression::Zlib);
        assert_eq!(c.threads, Threads::Auto);
        assert_eq!(c.final_action, FinalAction::Poweroff);
        assert_eq!((c.deadline.as_secs(), c.stall.as_secs()), (3600, 45));
        assert_eq!(
            (c.device_timeout.as_secs(), c.module_timeout.as_secs()),
            (5, 120)
        );
    }

    #[test]
    fn strict_names_key_found_and_allowed() {
        let error = |text| Config::from_toml_strict(text).unwrap_err().to_string();
        let e = error("levle = 3");
        assert!(
            e.contains("`levle`") && e.contains("level") && e.contains("final_action"),
            "{e}"
        );
        let e = error("level = 40");
        assert!(
            e.contains("`level`") && e.contains("40") && e.contains("0 to 31"),
            "{e}"
        );
        let e = error("compress = \"lz4\"");
        assert!(
            e.contains("lz4") && e.contains("lzo") && e.contains("snappy"),
            "{e}"
        );
        let e = error("targets = [\"gopher:x\"]");
        assert!(e.contains("gopher") && e.contains("file"), "{e}");
        assert!(error("deadline = \"soon\"").contains("soon"));
        assert!(error("deadline = 0").contains("deadline"));
        assert!(error("level = ").contains("TOML"));
        assert!(error("boot_id = \"00000000000000000000000000000000\"").contains("unknown"));
    }

    #[test]
    fn words_win_and_errors_are_warnings() {
        let cmdline = "quiet baredump.level=1 baredump.targets=file:LABEL=a:/x,file:/dev/vdb:/y baredump.foo=1 \
                       baredump.stall=never baredump.init=1 baredump.fault=capture:kill \
                       baredump.boot_id=0E0CF1BC-1e62-4d22-b2c8-f3c2c4a6a2a1 baredump.machine_id=xyz";
        let (c, warnings) = Config::load(Some(FULL), cmdline);
        assert_eq!(c.level.bits(), 1);
        assert_eq!(c.targets.len(), 2);
        assert_eq!(c.targets[0].to_string(), "file:LABEL=a:/x");
        assert_eq!(c.stall.as_secs(), 45);
        assert_eq!(
            c.boot_id.as_deref(),
            Some("0e0cf1bc1e624d22b2c8f3c2c4a6a2a1")
        );
        assert_eq!(c.machine_id, None);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }

    #[test]
    fn words_are_judged_before_they_are_used() {
        let strict = |words: &str| Config::from_words_strict(words).map_err(|e| e.to_string());
        let good = "quiet baredump.level=23 baredump.fault=config:kill! nvme.x=1";
        assert_eq!(strict(good).unwrap().level.bits(), 23);
        for (words, part) in [
            ("baredump.recipients=AGE1QL3Z7HJ", "no age recipient"),
            ("baredump.recipient=age1ql3z7hj", "unknown"),
            ("baredump.targets=/var/crash", "/var/crash"),
            ("baredump.level", "0 to 31"),
            ("\"baredump.stall=in a minute\"", "stall"),
        ] {
            let error = strict(words).unwrap_err();
            assert!(error.contains(part), "{words}: {error}");
        }
    }

    #[test]
    fn a_broken_file_leaves_the_defaults() {
        let (c, warnings) = Config::load(
            Some("targets = [\"file:/dev/vda:/x\"\n"),
            "baredump.final_action=halt",
        );
        assert_eq!(
            c,
            Config {
                final_action: FinalAction::Halt,
                ..Config::default()
            }
        );
        assert_eq!(warnings.len(), 1);
        assert_eq!(Config::load(None, "").0, Config::default());
    }

    #[test]
    fn json_round_trip() {
        let c = Config::from_toml_strict(FULL).unwrap();
        let json = serde_json::to_string(&c).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), c);
    }
}
