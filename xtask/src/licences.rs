//! Licences of all dependencies, held to the list in `deny.toml`, which cargo-deny reads too.

use crate::lab::{Lab, say, step};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use xshell::{Shell, cmd};

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
}

/// Checks every package of the lock file; with `full` also runs `cargo deny`, installing it when it is missing.
///
/// # Errors
/// Names each package whose licence is not on the list.
pub(crate) fn run(sh: &Shell, lab: &Lab, full: bool) -> Result<()> {
    step("licences of the dependencies");
    let file = lab.root.join("deny.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let allowed = toml::from_str::<Deny>(&text)
        .context("deny.toml")?
        .licenses
        .allow;
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --locked")
        .quiet()
        .read()?;
    let packages = serde_json::from_str::<Metadata>(&metadata)
        .context("cargo metadata")?
        .packages;
    let bad: Vec<_> = packages
        .iter()
        .filter_map(|package| fault(package, &allowed))
        .collect();
    if !bad.is_empty() {
        bail!("not on the list in deny.toml: {}", bad.join(", "));
    }
    say(&format!(
        "{} packages, all on the list in deny.toml",
        packages.len()
    ));
    if full { deny(sh) } else { Ok(()) }
}

/// cargo-deny takes minutes to build, so it is only asked for by `--full`.
fn deny(sh: &Shell) -> Result<()> {
    if cmd!(sh, "cargo deny --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_err()
    {
        say("installing cargo-deny");
        cmd!(sh, "cargo install --quiet --locked cargo-deny")
            .quiet()
            .run()?;
    }
    cmd!(
        sh,
        "cargo deny --log-level error check licenses bans sources"
    )
    .quiet()
    .run()
    .context("cargo deny")
}

fn fault(package: &Package, allowed: &[String]) -> Option<String> {
    match &package.license {
        Some(text) if satisfied(text, allowed) => None,
        Some(text) => Some(format!("{} ({text})", package.name)),
        None => Some(format!("{} (no licence named)", package.name)),
    }
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is the old way to write `OR`.
fn satisfied(text: &str, allowed: &[String]) -> bool {
    let text = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<_> = text.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest, allowed) == Some(true) && rest.is_empty()
}

/// `all OR all …`; `None` when it is no expression.
fn any(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut good = all(words, allowed)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        good |= all(words, allowed)?;
    }
    Some(good)
}

/// `term AND term …`
fn all(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let mut good = term(words, allowed)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        good &= term(words, allowed)?;
    }
    Some(good)
}

/// `( any )`, `LICENCE` or `LICENCE WITH EXCEPTION`
fn term(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
    let is_allowed = |name: &str| allowed.iter().any(|known| known == name);
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let good = any(words, allowed)?;
            *words = words.strip_prefix(&[")"])?;
            Some(good)
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            Some(is_allowed(&format!("{name} WITH {exception}")))
        }
        [name, rest @ ..] => {
            *words = rest;
            Some(is_allowed(name))
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-2.0 OR MIT",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in [
            "GPL-2.0",
            "MIT AND GPL-2.0",
            "Apache-2.0",
            "MIT OR",
            "(MIT",
            "",
            "MIT MIT",
            "(GPL-2.0 OR X) AND MIT",
        ] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_package_without_a_licence_is_named() {
        let package = Package {
            name: "x".into(),
            license: None,
        };
        assert_eq!(
            fault(&package, &[]).as_deref(),
            Some("x (no licence named)")
        );
    }
}
