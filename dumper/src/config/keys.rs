//! The table of configuration keys: name, what is allowed, how it is read. A new key is one line here.

use super::{Config, ConfigError, FinalAction, Threads, words};
use crate::compress::Compression;
use crate::filter::DumpLevel;
use crate::net::Interface;
use crate::target::TargetSpec;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A value as it was written: a list from TOML, or the text of a number, a string or a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, also for numbers.
    Text(String),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Anything else TOML can say; kept as its source text for the error.
    Other(String),
}

/// Keys and values in the order of the source, not yet judged.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    entries: Vec<(String, Value)>,
}

impl RawConfig {
    /// The top-level keys of a TOML text.
    ///
    /// # Errors
    /// When the text is no TOML.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| ConfigError::Syntax(e.message().into()))?;
        Ok(Self {
            entries: table
                .into_iter()
                .map(|(key, value)| (key, from_toml(value)))
                .collect(),
        })
    }

    /// The `baredump.*` words of a kernel command line that are not meant for PID 1 alone.
    pub fn from_cmdline(cmdline: &str) -> Self {
        let entries = words::words(cmdline)
            .filter(|(key, _)| !matches!(*key, "init" | "fault"))
            .map(|(key, value)| (key.to_owned(), Value::Text(value.to_owned())))
            .map(|(key, value)| {
                if ID_KEYS.contains(&key.as_str()) {
                    (format!("{WORD_ONLY}{key}"), value)
                } else {
                    (key, value)
                }
            })
            .collect();
        Self { entries }
    }

    /// Keys and values.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(s) => Value::Text(s),
        toml::Value::Integer(n) => Value::Text(n.to_string()),
        toml::Value::Boolean(b) => Value::Text(b.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|v| v.as_str().map(str::to_owned))
                .collect();
            texts.map_or_else(|| Value::Other(format!("{items:?}")), Value::List)
        }
        other => Value::Other(format!("a TOML {}", other.type_str())),
    }
}

/// Sets one field of a configuration, or says what is allowed.
type Setter = fn(&mut Config, &Value) -> Result<(), String>;

const DURATION: &str =
    "a time of at least one second is needed: a number of seconds, or a number with s, m or h";

/// Marks the ids of the command line, which the file may not set: the image does not know the boot.
const WORD_ONLY: &str = "baredump.";
const ID_KEYS: &[&str] = &["boot_id", "machine_id"];

const KEYS: &[(&str, Setter)] = &[
    ("targets", |c, v| put(&mut c.targets, targets(v))),
    ("level", |c, v| {
        put(
            &mut c.level,
            level(v).ok_or_else(|| "a dump level from 0 to 31 is needed".into()),
        )
    }),
    ("compress", |c, v| {
        put(
            &mut c.compress,
            compression(v)
                .ok_or_else(|| "zstd, zstd-fast, zlib, lzo, snappy or none is needed".into()),
        )
    }),
    ("threads", |c, v| {
        put(
            &mut c.threads,
            threads(v).ok_or_else(|| "a number from 0 to 1024 or auto is needed".into()),
        )
    }),
    ("final_action", |c, v| {
        put(
            &mut c.final_action,
            action(v).ok_or_else(|| "reboot, poweroff or halt is needed".into()),
        )
    }),
    ("deadline", |c, v| put(&mut c.deadline, duration(v))),
    ("stall", |c, v| put(&mut c.stall, duration(v))),
    ("device_timeout", |c, v| {
        put(&mut c.device_timeout, duration(v))
    }),
    ("module_timeout", |c, v| {
        put(&mut c.module_timeout, duration(v))
    }),
    ("network_timeout", |c, v| {
        put(&mut c.network_timeout, duration(v))
    }),
    ("interfaces", |c, v| put(&mut c.interfaces, interfaces(v))),
    ("log_to_all", |c, v| put(&mut c.log_to_all, yes_no(v))),
    ("fence_kdump", |c, v| {
        put(&mut c.fence_kdump, fence_hosts(v))
    }),
    ("ssh_key", |c, v| put(&mut c.ssh_key, file(v))),
    ("ssh_certificate", |c, v| {
        put(&mut c.ssh_certificate, file(v))
    }),
    ("ssh_known_hosts", |c, v| {
        put(&mut c.ssh_known_hosts, file(v))
    }),
    ("s3_credentials", |c, v| put(&mut c.s3_credentials, file(v))),
    ("presigned", |c, v| put(&mut c.presigned, file(v))),
    ("ca", |c, v| put(&mut c.ca, file(v))),
    ("recipients", |c, v| put(&mut c.recipients, recipients(v))),
    ("plaintext_log", |c, v| put(&mut c.plaintext_log, yes_no(v))),
];

const WORD_KEYS: &[(&str, Setter)] = &[
    ("baredump.boot_id", |c, v| {
        put(&mut c.boot_id, id(v).map(Some))
    }),
    ("baredump.machine_id", |c, v| {
        put(&mut c.machine_id, id(v).map(Some))
    }),
];

/// Sets `key` of `config`.
pub(super) fn set(config: &mut Config, key: &str, value: &Value) -> Result<(), ConfigError> {
    let Some((key, setter)) = KEYS.iter().chain(WORD_KEYS).find(|(name, _)| *name == key) else {
        let known = KEYS
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(ConfigError::UnknownKey {
            key: key.chars().take(64).collect(),
            known,
        });
    };
    setter(config, value).map_err(|why| ConfigError::BadValue {
        key,
        found: shown(value),
        why,
    })
}

/// Whether somebody who wrote this wanted encryption, be it with a key that does not exist.
pub(super) fn wants_recipients(key: &str, value: &Value) -> bool {
    let names = |text: &str| text.to_ascii_lowercase().contains("age1");
    key.to_ascii_lowercase().contains("recip")
        || match value {
            Value::Text(text) | Value::Other(text) => names(text),
            Value::List(list) => list.iter().any(|text| names(text)),
        }
}

fn put<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Text(s) => format!("`{s}`"),
        Value::List(list) => format!("{list:?}"),
        Value::Other(s) => s.clone(),
    };
    text.chars().take(120).collect()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(s) => Some(s),
        _ => None,
    }
}

/// A list of strings, or a text with commas.
fn list(value: &Value, like: &str) -> Result<Vec<String>, String> {
    match value {
        Value::Text(s) => Ok(s
            .split(',')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect()),
        Value::List(list) => Ok(list.clone()),
        Value::Other(_) => Err(format!("a list of strings like \"{like}\" is needed")),
    }
}

fn interfaces(value: &Value) -> Result<Vec<Interface>, String> {
    const LIKE: &str = "lan:mac=52:54:00:12:34:56;dhcp";
    let interfaces: Vec<Interface> = list(value, LIKE)?
        .iter()
        .map(|s| s.parse::<Interface>().map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    match interfaces.len() {
        0..=MAX_INTERFACES => Ok(interfaces),
        n => Err(format!(
            "{n} interfaces, at most {MAX_INTERFACES} are possible"
        )),
    }
}

const MAX_INTERFACES: usize = 32;

fn yes_no(value: &Value) -> Result<bool, String> {
    match text(value) {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err("true or false is needed".into()),
    }
}

/// Addresses, with or without a port. Names are not asked for at a crash.
fn fence_hosts(value: &Value) -> Result<Vec<SocketAddr>, String> {
    const LIKE: &str = "192.0.2.7:7410";
    let host = |s: &String| {
        let bare = s.trim_matches(['[', ']']).parse::<IpAddr>();
        s.parse::<SocketAddr>()
            .or_else(|_| bare.map(|ip| SocketAddr::new(ip, FENCE_PORT)))
            .map_err(|_| format!("`{s}` is no address like {LIKE}"))
    };
    let hosts: Vec<_> = list(value, LIKE)?
        .iter()
        .map(host)
        .collect::<Result<_, _>>()?;
    match hosts.len() {
        0..=MAX_FENCE_HOSTS => Ok(hosts),
        n => Err(format!("{n} hosts, at most {MAX_FENCE_HOSTS} are possible")),
    }
}

/// fence_kdump's own port.
const FENCE_PORT: u16 = 7410;
/// The most hosts that hear of the crash: PID 1 keeps them in fixed memory.
pub const MAX_FENCE_HOSTS: usize = 16;

/// A file of the host, which the image builder copies.
fn file(value: &Value) -> Result<Option<PathBuf>, String> {
    let path = text(value).filter(|path| path.starts_with('/') && path.len() < 4096);
    path.map(|path| Some(path.into()))
        .ok_or_else(|| "the absolute path of a file is needed".into())
}

fn recipients(value: &Value) -> Result<Vec<String>, String> {
    let list = list(value, "age1…")?;
    if list.is_empty() && !matches!(value, Value::List(_)) {
        return Err("it is empty: name an age recipient, age1…, as age-keygen prints it".into());
    }
    match list.iter().find(|r| !r.starts_with("age1")) {
        Some(bad) => Err(format!(
            "`{}` is no age recipient: it must begin with age1, as age-keygen prints it",
            crate::report::cut(bad, 64)
        )),
        None if list.len() > MAX_RECIPIENTS => Err(format!(
            "{} recipients, at most {MAX_RECIPIENTS} are possible",
            list.len()
        )),
        None => Ok(list),
    }
}

const MAX_RECIPIENTS: usize = 16;

fn targets(value: &Value) -> Result<Vec<TargetSpec>, String> {
    let parse = |s: &String| s.parse::<TargetSpec>().map_err(|e| e.to_string());
    let list: Vec<TargetSpec> = list(value, "file:UUID=…:/var/crash")?
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()?;
    match list.len() {
        0 => Err("at least one target is needed".into()),
        1..=MAX_TARGETS => Ok(list),
        n => Err(format!("{n} targets, at most {MAX_TARGETS} are possible")),
    }
}

/// The most targets: PID 1 keeps its list of attempts in fixed memory.
pub const MAX_TARGETS: usize = 8;

fn level(value: &Value) -> Option<DumpLevel> {
    text(value)?.parse().ok().and_then(DumpLevel::new)
}

fn compression(value: &Value) -> Option<Compression> {
    text(value)?.parse().ok()
}

fn threads(value: &Value) -> Option<Threads> {
    match text(value)? {
        "auto" => Some(Threads::Auto),
        n => n.parse().ok().filter(|&n| n <= 1024).map(Threads::Count),
    }
}

fn action(value: &Value) -> Option<FinalAction> {
    FinalAction::parse(text(value)?)
}

fn duration(value: &Value) -> Result<Duration, String> {
    text(value)
        .and_then(words::seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| DURATION.into())
}

fn id(value: &Value) -> Result<String, String> {
    let digits: String = text(value)
        .unwrap_or_default()
        .chars()
        .filter(|&c| c != '-')
        .collect();
    if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err("32 hex digits are needed".into())
}
