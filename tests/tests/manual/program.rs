//! A program: what its help says, and what its completions offer.

use crate::help::{is_option, verbs};
use crate::page::Page;
use crate::{Words, read};
use std::path::Path;
use std::process::{Command, Stdio};
use tests::programs;

/// A program with its manual page.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    path: &'static Path,
    pub(crate) page: Page,
    /// Its commands that have a help text of their own.
    pub(crate) verbs: Words,
}

impl Program {
    pub(crate) fn all() -> [Self; 2] {
        [
            Self::new("baredump", programs::baredump(), "man/baredump.1"),
            Self::new("baredumpctl", programs::baredumpctl(), "man/baredumpctl.8"),
        ]
    }

    pub(crate) fn new(name: &'static str, path: &'static Path, page: &str) -> Self {
        let page = Page::read(page);
        let mut program = Self {
            name,
            path,
            page,
            verbs: Words::new(),
        };
        program.verbs = verbs(name, &program.help(""));
        assert!(program.verbs.len() > 2, "{name}: {:?}", program.verbs);
        program
    }

    /// What `VERB --help` prints; for no verb, the program's own.
    pub(crate) fn help(&self, verb: &str) -> String {
        let args = [verb, "--help"];
        let out = Command::new(self.path)
            .args(args.iter().filter(|arg| !arg.is_empty()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(out.status.success(), "{} {verb} --help", self.name);
        String::from_utf8(out.stdout).unwrap()
    }

    /// The commands with their own help, and "" for the program.
    pub(crate) fn helps(&self) -> impl Iterator<Item = (&str, String)> {
        let verbs = self.verbs.iter().map(String::as_str);
        std::iter::once("")
            .chain(verbs.filter(|verb| *verb != "help"))
            .map(|verb| (verb, self.help(verb)))
    }

    /// What bash offers for these words after the program's name.
    pub(crate) fn bash(&self, words: &[&str]) -> Words {
        let script = "compopt() { :; }; source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                      \"_$1\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let out = Command::new("bash")
            .args(["--noprofile", "--norc", "-c", script, "bash"])
            .arg(format!("../docs/completion/{}.bash", self.name))
            .arg(self.name)
            .args(words)
            .output()
            .expect("bash is needed to try its completion");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && errors.is_empty(), "{errors}");
        String::from_utf8(out.stdout)
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// The options in a function of the zsh completion: what stands before a description in brackets.
    pub(crate) fn zsh(&self, function: &str) -> Words {
        let text = read(&format!("completion/_{}", self.name));
        let (_, body) = text
            .split_once(&format!("\n{function}() {{\n"))
            .unwrap_or_else(|| panic!("no function {function} for zsh"));
        let (body, _) = body.split_once("\n}\n").unwrap();
        let specs = body
            .lines()
            .filter_map(|line| Some(line.split_once('[')?.0));
        specs
            .flat_map(|spec| {
                // Options that exclude each other stand before, in parentheses.
                let spec = spec.rsplit(')').next().unwrap_or_default();
                spec.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                    .filter(|word| is_option(word))
                    .map(str::to_owned)
                    .collect::<Words>()
            })
            .collect()
    }
}
