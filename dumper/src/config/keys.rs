//! The table of configuration keys: name, what is allowed, how it is read. A new key is one line here.

use super::{Config, ConfigError, FinalAction, Threads, words};
use crate::compress::Compression;
use crate::filter::DumpLevel;
use crate::target::TargetSpec;
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

fn targets(value: &Value) -> Result<Vec<TargetSpec>, String> {
    let parse = |s: &str| s.parse::<TargetSpec>().map_err(|e| e.to_string());
    let list: Vec<TargetSpec> = match value {
        Value::Text(s) => s
            .split(',')
            .filter(|s| !s.is_empty())
            .map(parse)
            .collect::<Result<_, _>>()?,
        Value::List(list) => list.iter().map(|s| parse(s)).collect::<Result<_, _>>()?,
        Value::Other(_) => {
            return Err("a list of strings like \"file:UUID=…:/var/crash\" is needed".into());
        }
    };
    match list.len() {
        0 => Err("at least one target is needed".into()),
        1..=MAX_TARGETS => Ok(list),
        n => Err(format!("{n} targets, at most {MAX_TARGETS} are possible")),
    }
}

/// PID 1 keeps its list of attempts in fixed memory.
const MAX_TARGETS: usize = 8;

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
