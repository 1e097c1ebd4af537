//! Manual pages and shell completions say what the programs' help says: no option, command, exit code or configuration key more
//! or less.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod help;
mod page;
mod program;

use baredump::compress::Compression;
use baredump::config::{Config, ConfigError};
use help::{exit_codes, option_names, options};
use page::{Page, after};
use program::Program;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

type Words = BTreeSet<String>;

/// Options that belong to no synopsis: of every command, or of makedumpfile's form only.
const ELSEWHERE: &[&str] = &[
    "--help",
    "-R",
    "--split",
    "--splitblock-size",
    "--mem-usage",
    "--reassemble",
    "--dump-dmesg",
    "--partial-dmesg",
    "--check-params",
    "--show-stats",
    "--vtop",
    "-D",
    "-v",
];

fn read(name: &str) -> String {
    let path = Path::new("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn words<'a>(list: impl IntoIterator<Item = &'a str>) -> Words {
    list.into_iter().map(str::to_owned).collect()
}

/// Names in backticks in the first column of a table, with the second column.
fn table(text: &str) -> Vec<(Vec<&str>, &str)> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut columns = row.trim_matches('|').split(" | ").map(str::trim);
        let names = columns.next().unwrap().split('`').skip(1).step_by(2);
        (names.collect(), columns.next().unwrap())
    })
    .collect()
}

#[test]
fn manual_pages_have_the_commands_and_options_of_the_help() {
    for program in Program::all() {
        let page = &program.page;
        let described = Page::items(page.part(".Sh", "DESCRIPTION"), "Cm");
        assert_eq!(described, program.verbs, "{}: commands", program.name);
        let mut known = Words::new();
        for (verb, help) in program.helps() {
            let title = if verb.is_empty() {
                "Every command"
            } else {
                verb
            };
            let names = option_names(&help);
            assert!(names.contains("--help"), "{} {verb}", program.name);
            assert_eq!(
                Page::options(page.part(".Ss", title)),
                names,
                "{} {verb}: options",
                program.name
            );
            known.extend(names);
        }
        let named = Page::all_options(&page.0);
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", program.name);
    }
}

#[test]
fn synopses_are_complete() {
    for program in Program::all() {
        let synopsis = program.page.part(".Sh", "SYNOPSIS");
        for (verb, help) in program.helps().filter(|(verb, _)| !verb.is_empty()) {
            let form = synopsis
                .split(".Nm\n")
                .find(|form| form.lines().next() == Some(&format!(".Cm {verb}")))
                .unwrap_or_else(|| panic!("{} {verb}: no synopsis", program.name));
            let shown = Page::all_options(form);
            for names in options(&help) {
                let elsewhere = ELSEWHERE.iter().any(|name| names.contains(*name));
                assert!(
                    elsewhere || !names.is_disjoint(&shown),
                    "{} {verb}: {names:?} is not in the synopsis",
                    program.name
                );
            }
        }
    }
}

#[test]
fn exit_codes_are_those_of_the_help() {
    for program in Program::all() {
        let codes = program.page.exit_codes();
        assert_eq!(codes, exit_codes(&program.help("")), "{}", program.name);
        for (verb, help) in program.helps() {
            let used = exit_codes(&help);
            assert!(used.is_subset(&codes), "{} {verb}: {used:?}", program.name);
        }
        let readme = read("../README.md");
        let rows = readme.lines().filter_map(|line| line.strip_prefix("| "));
        let rows: Words = rows
            .filter(|row| row.starts_with(|c: char| c.is_ascii_digit()))
            .filter_map(|row| row.split(' ').next().map(str::to_owned))
            .collect();
        assert_eq!(rows, codes, "README.md and {}", program.name);
    }
}

#[test]
fn completions_offer_the_commands_and_options() {
    for program in Program::all() {
        assert_eq!(program.bash(&[""]), program.verbs, "{}", program.name);
        for (verb, help) in program.helps() {
            let mut names = option_names(&help);
            // Options of makedumpfile stand where a command would, and some only there.
            let (bash, zsh) = match (program.name, verb) {
                ("baredump", "") => {
                    names.extend(option_names(&program.help("dump")));
                    let zsh = &program.zsh("_baredump_first") | &program.zsh("_baredump_dump");
                    (program.bash(&["-"]), zsh)
                }
                ("baredump", "dump") => (
                    &program.bash(&["dump", "-"]) | &program.bash(&["-f", "-"]),
                    &program.zsh("_baredump_dump") | &program.zsh("_baredump"),
                ),
                (name, "") => (program.bash(&["-"]), program.zsh(&format!("_{name}_first"))),
                (name, verb) => (
                    program.bash(&[verb, "-"]),
                    program.zsh(&format!("_{name}_{verb}")),
                ),
            };
            assert_eq!(bash, names, "bash: {} {verb}", program.name);
            assert_eq!(zsh, names, "zsh: {} {verb}", program.name);
        }
        let zsh = read(&format!("completion/_{}", program.name));
        for verb in &program.verbs {
            let described = zsh.lines().any(|line| {
                line.trim_start()
                    .trim_start_matches(['\'', '"'])
                    .starts_with(&format!("{verb}:"))
            });
            assert!(described, "zsh: {} {verb}", program.name);
        }
    }
}

#[test]
fn completions_offer_the_values() {
    let [baredump, baredumpctl] = Program::all();
    let codecs = words(Compression::ALL.iter().map(|(_, name, _)| *name));
    let levels: Words = (0..=31).map(|level: u8| level.to_string()).collect();
    for words in [
        &["dump", "--compress", ""][..],
        &["dump", "--compress", "=", ""],
    ] {
        assert_eq!(baredump.bash(words), codecs, "{words:?}");
    }
    for words in [["dump", "-d", ""], ["-z", "--level", "="]] {
        assert_eq!(baredump.bash(&words), levels, "{words:?}");
    }
    assert_eq!(baredump.bash(&["dump", ""]), Words::new(), "a file");
    let help = baredumpctl.help("image");
    let (_, rest) = help.split_once("[possible values: ").unwrap();
    let values = words(rest.split(']').next().unwrap().split(", "));
    assert_eq!(baredumpctl.bash(&["image", "--compress", ""]), values);
    for (program, values) in [(&baredump, &codecs), (&baredumpctl, &values)] {
        let text = read(&format!("completion/_{}", program.name));
        let (_, line) = text.split_once("--compress[").unwrap();
        let list = line.lines().next().unwrap().rsplit('(').next().unwrap();
        assert_eq!(&words(list.split(')').next().unwrap().split(' ')), values);
    }
}

#[test]
fn configuration_keys_and_defaults_are_documented() {
    let Err(ConfigError::UnknownKey { known, .. }) = Config::from_toml_strict("no_such_key = 1")
    else {
        panic!("an unknown key is accepted");
    };
    let known = words(known.split(", "));
    let page = Page::read("man/baredump.toml.5");
    let text = page.part(".Sh", "DESCRIPTION");
    assert_eq!(Page::items(text, "Ic"), known, "baredump.toml.5");
    let mut defaults = String::new();
    for head in text.lines().filter(|line| line.starts_with(".It Ic ")) {
        let value = after(head, "Li").join(" ").replace("\\(dq", "\"");
        if !value.is_empty() {
            defaults += &format!("{} = {value}\n", after(head, "Ic")[0]);
        }
    }
    assert_defaults(&defaults, known.len());
    for document in ["configuration.md", "../ARCHITECTURE.md"] {
        let text = read(document);
        let (_, keys) = text.split_once("| Key | Default |").unwrap();
        let rows = table(keys.split("\n\n").next().unwrap());
        let names = words(rows.iter().flat_map(|(names, _)| names.iter().copied()));
        assert_eq!(names, known, "{document}");
        if document == "configuration.md" {
            let lines = rows.iter().filter(|(_, value)| *value != "none");
            let lines =
                lines.map(|(names, value)| format!("{} = {}\n", names[0], value.trim_matches('`')));
            assert_defaults(&lines.collect::<String>(), known.len());
        }
    }
}

/// Keys that are not set when nobody sets them: targets, interfaces, hosts and files.
const WITHOUT_DEFAULT: usize = 10;

/// Every other key, with the value that it has anyhow.
fn assert_defaults(toml: &str, keys: usize) {
    assert_eq!(toml.lines().count(), keys - WITHOUT_DEFAULT, "{toml}");
    let config = Config::from_toml_strict(toml).unwrap_or_else(|e| panic!("{toml}: {e}"));
    assert_eq!(config, Config::default());
}

#[test]
fn examples_of_the_configuration_are_valid() {
    let page = Page::read("man/baredump.toml.5");
    let examples: Vec<_> = page.part(".Sh", "EXAMPLES").split(".Bd ").skip(1).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let (_, text) = example.split_once('\n').unwrap();
        let text = text.split(".Ed").next().unwrap();
        // A path alone is resolved when the image is built.
        let text = &text.replace("\"/var/crash\"", "\"file:UUID=1:/var/crash\"");
        let config = Config::from_toml_strict(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(!config.targets.is_empty());
    }
}

#[test]
fn the_report_is_described_as_in_the_documents() {
    let page = Page::read("man/baredump.1");
    let text = page.part(".Ss", "Report");
    let shown = words(text.split_whitespace());
    let document = read("dump-directory.md");
    let rows = table(&document);
    assert!(rows.len() > 10);
    for (names, meaning) in rows {
        let nested = meaning.split('`').skip(1).step_by(2);
        for name in names.into_iter().chain(nested) {
            assert!(shown.contains(name), "report.json: {name}");
        }
    }
}
