//! Licences and versions of all dependencies, held to the lists in `deny.toml`, which cargo-deny reads too.

use crate::lab::{Lab, say, step};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use xshell::{Shell, cmd};

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

/// Versions of a crate with a published advisory: `NAME:<VERSION`.
#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    versions: String,
    reason: String,
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
    version: String,
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
    let Deny { licenses, bans } = toml::from_str(&text).context("deny.toml")?;
    let allowed = licenses.allow;
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
    let banned: Vec<_> = bans
        .deny
        .iter()
        .filter_map(|ban| ban.hit(&packages))
        .collect();
    if !banned.is_empty() {
        bail!("has an advisory: {}; cargo update", banned.join(", "));
    }
    say(&format!(
        "{} packages, all on the list in deny.toml, none in a version with an advisory of the {} there",
        packages.len(),
        bans.deny.len()
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

impl Ban {
    /// The package that it is about, with the reason.
    fn hit(&self, packages: &[Package]) -> Option<String> {
        let (name, below) = self
            .versions
            .split_once(":<")
            .unwrap_or((&self.versions, "99999"));
        let mut hits = packages
            .iter()
            .filter(|package| package.name == name && numbers(&package.version) < numbers(below));
        hits.next()
            .map(|package| format!("{name} {} ({})", package.version, self.reason))
    }
}

/// Major, minor and patch of a version; that of a pre-release counts as released.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
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
    fn versions_with_an_advisory_are_named() {
        let package = |version: &str| Package {
            name: "x".into(),
            version: version.into(),
            license: None,
        };
        let ban = Ban {
            versions: "x:<0.60.3".into(),
            reason: "RUSTSEC 2026-0154".into(),
        };
        for (version, is_hit) in [
            ("0.9.9", true),
            ("0.60.2", true),
            ("0.60.3", false),
            ("1.0.0-rc.1", false),
        ] {
            let said = ban.hit(&[package(version)]);
            let expected = is_hit.then(|| format!("x {version} (RUSTSEC 2026-0154)"));
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn a_package_without_a_licence_is_named() {
        let package = Package {
            name: "x".into(),
            version: "1.0.0".into(),
            license: None,
        };
        assert_eq!(
            fault(&package, &[]).as_deref(),
            Some("x (no licence named)")
        );
    }
}
