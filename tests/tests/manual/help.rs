//! Help texts, ours and clap's.

use crate::Words;
use crate::page::after;

pub(crate) fn is_option(word: &str) -> bool {
    let name = word.strip_prefix("--").or(word.strip_prefix('-'));
    name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Each option of a help text with all its names: `  -o, --output <FILE>`, not indented as far as a description.
pub(crate) fn options(help: &str) -> Vec<Words> {
    let lines = help.lines().filter(|line| {
        let indent = line.len() - line.trim_start().len();
        (1..8).contains(&indent) && line.trim_start().starts_with('-')
    });
    let names = |line: &str| {
        line.split_whitespace()
            .map(|word| word.trim_end_matches(',').to_owned())
            .take_while(|word| is_option(word))
            .collect()
    };
    lines.map(names).collect()
}

pub(crate) fn option_names(help: &str) -> Words {
    options(help).into_iter().flatten().collect()
}

/// The commands of a program's help: those of its usage lines, or of clap's list.
pub(crate) fn verbs(program: &str, help: &str) -> Words {
    let listed = help.split_once("Commands:\n").map_or("", |(_, list)| {
        list.split("\n\n").next().unwrap_or_default()
    });
    let listed = listed.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        line.split(' ').next()
    });
    let used = help
        .lines()
        .take_while(|line| !line.starts_with("VMCORE"))
        .flat_map(|line| after(line, program))
        .collect::<Vec<_>>();
    listed
        .chain(used.iter().map(String::as_str))
        .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect()
}

/// The numbers of `exit codes: 0 complete, 1 failed, …`, wherever it wraps.
pub(crate) fn exit_codes(help: &str) -> Words {
    let lower = help.to_ascii_lowercase();
    let Some((_, text)) = lower.split_once("exit codes: ") else {
        return Words::new();
    };
    let text = text.split("\n\n").next().unwrap_or_default();
    text.split(", ")
        .filter_map(|item| item.split_whitespace().next())
        .filter(|word| word.bytes().all(|b| b.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}
