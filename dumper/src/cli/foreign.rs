//! makedumpfile's options that are refused, and those that are taken and have nothing to do.
//!
//! Upstream: `makedumpfile.8` of 1.7.9 and its head of mid-2026.

use lexopt::Arg;
use lexopt::prelude::{Long, Short, Value};

/// Refused: nothing else that they could mean makes a dump.
const REFUSED: &[(&str, &str)] = &[
    (
        "g",
        "VMCOREINFO files are not made: the kernel puts VMCOREINFO into every vmcore, and QEMU does with -device vmcoreinfo",
    ),
    (
        "diskset",
        "sadump files are not read; use makedumpfile for them",
    ),
];

/// Taken with a warning, or without one where nothing is lost: a dump that is larger, or not erased, is worth more than none.
const IGNORED: &[(&str, Ignored)] = &[
    ("b", Ignored::silently()),
    ("work-dir", Ignored::silently()),
    (
        "x",
        Ignored::with_value("no vmlinux is needed, VMCOREINFO is read from the vmcore"),
    ),
    (
        "e",
        Ignored::alone("the struct pages of dropped pages are kept"),
    ),
    ("X", Ignored::alone(NO_XEN)),
    ("xen-syms", Ignored::with_value(NO_XEN)),
    ("xen-vmcoreinfo", Ignored::with_value(NO_XEN)),
    ("xen_phys_start", Ignored::with_value(NO_XEN)),
    ("config", Ignored::with_value(NOT_ERASED)),
    ("eppic", Ignored::with_value(NOT_ERASED)),
    (
        "extension",
        Ignored::with_value("shared objects are not loaded into this program"),
    ),
];

const NO_XEN: &str = "of a Xen host all pages are kept, whichever domain has them";
const NOT_ERASED: &str = "NOTHING is erased from the dump; restrict who can read it, or encrypt it";

/// An option that is taken and not done.
#[derive(Clone, Copy)]
pub(super) struct Ignored {
    pub(super) takes_value: bool,
    /// What happens instead.
    instead: Option<&'static str>,
}

impl Ignored {
    const fn silently() -> Self {
        Self {
            takes_value: true,
            instead: None,
        }
    }

    const fn alone(instead: &'static str) -> Self {
        Self {
            takes_value: false,
            instead: Some(instead),
        }
    }

    const fn with_value(instead: &'static str) -> Self {
        Self {
            takes_value: true,
            instead: Some(instead),
        }
    }

    /// The sentence that says so.
    pub(super) fn warning(self, name: &str) -> Option<String> {
        let instead = self.instead?;
        Some(format!("{} has no effect: {instead}", dashed(name)))
    }
}

/// Long options of its manual: a unique beginning is enough, as with getopt_long(3).
const LONG: &[&str] = &[
    "check-params",
    "config",
    "cyclic-buffer",
    "diskset",
    "dry-run",
    "dump-dmesg",
    "eppic",
    "extension",
    "help",
    "mem-usage",
    "message-level",
    "non-mmap",
    "num-threads",
    "partial-dmesg",
    "reassemble",
    "show-stats",
    "split",
    "splitblock-size",
    "strict-makedumpfile",
    "vtop",
    "work-dir",
    "xen-syms",
    "xen-vmcoreinfo",
    "xen_phys_start",
];

/// What is to be done with an option that is taken and not done.
pub(super) fn ignored(name: &str) -> Option<Ignored> {
    let known = IGNORED.iter().find(|(known, _)| *known == name);
    known.map(|(_, ignored)| *ignored)
}

/// Why an option is not taken.
pub(super) fn refusal(name: &str) -> String {
    let known = REFUSED.iter().find(|(refused, _)| *refused == name);
    known.map_or_else(
        || format!("unknown option '{}'", dashed(name)),
        |(_, why)| format!("option '{}': {why}", dashed(name)),
    )
}

fn dashed(name: &str) -> String {
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    format!("{dashes}{name}")
}

/// The long option that a word on makedumpfile's command line means: itself, or the only one that begins so.
pub(super) fn completed(word: &str) -> String {
    let Some(typed) = word.strip_prefix("--").filter(|typed| !typed.is_empty()) else {
        return word.to_owned();
    };
    let (beginning, value) = typed
        .split_once('=')
        .map_or((typed, None), |(name, value)| (name, Some(value)));
    if LONG.contains(&beginning) {
        return word.to_owned();
    }
    let mut meant = LONG.iter().filter(|name| name.starts_with(beginning));
    match (meant.next(), meant.next(), value) {
        (Some(name), None, Some(value)) => format!("--{name}={value}"),
        (Some(name), None, None) => format!("--{name}"),
        _ => word.to_owned(),
    }
}

/// The option's name, without dashes.
pub(super) fn name(arg: &Arg<'_>) -> String {
    match arg {
        Short(c) => c.to_string(),
        Long(name) => (*name).to_owned(),
        Value(v) => v.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_beginnings_are_enough() {
        for (typed, meant) in [
            ("--message=7", "--message-level=7"),
            ("--num", "--num-threads"),
            ("--split", "--split"),
            ("--xen", "--xen"),
            ("--nonsense", "--nonsense"),
            ("--", "--"),
            ("-d", "-d"),
            ("vmcore", "vmcore"),
        ] {
            assert_eq!(completed(typed), meant);
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert!(refusal("diskset").starts_with("option '--diskset': "));
        assert_eq!(refusal("q"), "unknown option '-q'");
        assert!(ignored("b").unwrap().warning("b").is_none() && ignored("split").is_none());
        let warning = ignored("x").unwrap().warning("x").unwrap();
        assert!(warning.starts_with("-x has no effect: "), "{warning}");
    }
}
