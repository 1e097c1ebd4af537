//! `tidy`: rules of ARCHITECTURE.md that a look at the text can hold. Textual on purpose: a rule that is hard to check is for people.

use crate::lab::{Lab, say, step};
use anyhow::{Context, Result, bail};
use std::fs;
use xshell::{Shell, cmd};

/// Files before this length are split.
const MAX_LINES: usize = 500;
/// Where the word for code that the compiler does not check may stand.
const UNCHECKED: &[&str] = &["dumper/src/sys/", "tests/guest/src/sys.rs"];
/// Where the architecture that the program is built for may be asked.
const ARCHITECTURE: &[&str] = &["dumper/src/sys/", "qemu/", "tests/guest/src/sys.rs"];
/// Stages that do no input or output and know nothing of the program around them.
const STAGES: &[&str] = &[
    "dumper/src/kernel/",
    "dumper/src/filter/",
    "dumper/src/compress/",
    "dumper/src/format/",
    "dumper/src/arch/",
];
/// What stages must not name.
const FOREIGN: &[&str] = &[
    "std::fs",
    "std::process",
    "std::net",
    "std::env",
    "crate::init",
    "crate::cli",
    "crate::config",
    "crate::target",
];

/// Checks every Rust file of ours that git knows.
///
/// # Errors
/// Names each broken rule.
pub(crate) fn run(sh: &Shell, lab: &Lab) -> Result<()> {
    step("rules of the source tree");
    let files = cmd!(
        sh,
        "git ls-files --cached --others --exclude-standard -- *.rs :!dumper/vendor"
    )
    .quiet()
    .read()?;
    let mut faults = Vec::new();
    let mut count = 0;
    for name in files.lines() {
        let file = lab.root.join(name);
        if !file.exists() {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        faults.extend(judge(name, &text));
        count += 1;
    }
    if count == 0 {
        bail!("git names no Rust file in {}", lab.root.display());
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    say(&format!("{count} files keep them"));
    Ok(())
}

/// The rules that a file breaks, a sentence each.
fn judge(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let within = |places: &[&str]| places.iter().any(|place| name.starts_with(place));
    if !text.trim_start().starts_with("//!") {
        faults.push(format!(
            "{name}: does not begin with a `//!` text that says what it is"
        ));
    }
    if text.lines().count() > MAX_LINES {
        faults.push(format!("{name}: has more than {MAX_LINES} lines; split it"));
    }
    let tests = text
        .find("#[cfg(test)]")
        .map_or(usize::MAX, |at| text[..at].lines().count());
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut fault = |what: &str| faults.push(format!("{name}:{}: {what}", index + 1));
        if uses(code, concat!("un", "safe")) && !within(UNCHECKED) {
            fault(&format!(
                "`{}` belongs into {}",
                concat!("un", "safe"),
                UNCHECKED.join(" or ")
            ));
        }
        if code.contains(concat!("target_", "arch")) && !within(ARCHITECTURE) {
            fault(&format!(
                "asks for the target architecture outside {}",
                ARCHITECTURE.join(" and ")
            ));
        }
        if within(STAGES) && index < tests {
            for word in FOREIGN.iter().filter(|word| code.contains(**word)) {
                fault(&format!("a stage must not use {word}"));
            }
        }
    }
    faults
}

/// Whether a line uses a keyword, as a word of its own and not inside a string.
fn uses(code: &str, keyword: &str) -> bool {
    let outside: String = code.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    outside
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = concat!("//! doc\nfn f() { un", "safe { g() } }\n");

    #[test]
    fn words_in_their_place() {
        assert_eq!(judge("dumper/src/sys/map.rs", BLOCK), Vec::<String>::new());
        assert_eq!(judge("dumper/src/dump.rs", BLOCK).len(), 1);
        assert!(
            judge(
                "qemu/src/a.rs",
                concat!(
                    "//! doc\n// un",
                    "safe in a comment\nlet a = \"un",
                    "safe\";"
                )
            )
            .is_empty()
        );
        assert!(judge("a.rs", concat!("//! doc\n#![deny(un", "safe_code)]")).is_empty());
    }

    #[test]
    fn stages_do_no_io() {
        let text = "//! doc\nuse std::fs;\n#[cfg(test)]\nmod tests { use std::env; }\n";
        assert_eq!(
            judge("dumper/src/filter/a.rs", text),
            ["dumper/src/filter/a.rs:2: a stage must not use std::fs"]
        );
        assert!(judge("dumper/src/target/a.rs", text).is_empty());
    }

    #[test]
    fn head_and_length() {
        assert_eq!(judge("a.rs", "fn f() {}").len(), 1);
        assert_eq!(
            judge("a.rs", &format!("//! doc\n{}", "\n".repeat(MAX_LINES))).len(),
            1
        );
        assert_eq!(
            judge(
                "a.rs",
                concat!("//! doc\n#[cfg(target_", "arch = \"x86_64\")]")
            )
            .len(),
            1
        );
    }
}
