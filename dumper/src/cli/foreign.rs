//! makedumpfile's options that are refused, and those that are taken and have nothing to do.
//!
//! Upstream: `makedumpfile.8` of 1.7.9 and its head of mid-2026.

use lexopt::Arg;
use lexopt::prelude::{Long, Short, Value};

/// Why, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "x",
        "leave it out: no vmlinux is needed, VMCOREINFO is read from the vmcore (or from a file with -i)",
    ),
    (
        "g",
        "VMCOREINFO files are not made: the kernel puts VMCOREINFO into every vmcore, and QEMU does with -device vmcoreinfo",
    ),
    (
        "e",
        "leave it out: the struct pages of dropped pages are kept, so that every command of crash works",
    ),
    ("X", "Xen dumps are not read; use makedumpfile for them"),
    (
        "xen-syms",
        "Xen dumps are not read; use makedumpfile for them",
    ),
    (
        "xen-vmcoreinfo",
        "Xen dumps are not read; use makedumpfile for them",
    ),
    (
        "xen_phys_start",
        "Xen dumps are not read; use makedumpfile for them",
    ),
    (
        "diskset",
        "sadump files are not read; use makedumpfile for them",
    ),
    (
        "split",
        "leave it out: one file is written, by as many threads as --num-threads says",
    ),
    (
        "config",
        "data are not erased by a configuration; restrict who can read the dump, or encrypt it",
    ),
    (
        "eppic",
        "eppic scripts are not run; restrict who can read the dump, or encrypt it",
    ),
    (
        "extension",
        "shared objects are not loaded into this program; leave it out",
    ),
    (
        "mem-usage",
        "a running system is not looked at; 'baredump dump --dry-run --show-stats -d 31 VMCORE' says what a vmcore holds",
    ),
];

/// They change how makedumpfile itself works: buffers, temporary files, the size of parts.
const WITHOUT_EFFECT: &[&str] = &["b", "work-dir", "splitblock-size"];

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

/// Whether the option is taken, with its value, and does nothing here.
pub(super) fn is_without_effect(arg: &Arg<'_>) -> bool {
    WITHOUT_EFFECT.contains(&name(arg).as_str())
}

/// Why an option is not taken.
pub(super) fn refusal(arg: &Arg<'_>) -> String {
    let name = name(arg);
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let known = REFUSED.iter().find(|(refused, _)| *refused == name);
    known.map_or_else(
        || format!("unknown option '{dashes}{name}'"),
        |(_, why)| format!("option '{dashes}{name}': {why}"),
    )
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

fn name(arg: &Arg<'_>) -> String {
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
        assert!(refusal(&Short('x')).contains("leave it out"));
        assert!(refusal(&Long("xen-syms")).starts_with("option '--xen-syms': "));
        assert_eq!(refusal(&Short('q')), "unknown option '-q'");
        assert!(is_without_effect(&Short('b')) && !is_without_effect(&Long("split")));
    }
}
