//! Debian packages of any suite, through the system's apt with a state of its own: the machine's package lists stay as they are.
//!
//! apt checks the signature of every suite with Debian's archive keyring and the hash of every package. The mirror is the system's.

use crate::lab::{Lab, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Suites in which kernels and tools are looked for, oldest first.
pub(crate) const SUITES: &[&str] = &["bullseye", "bookworm", "trixie", "trixie-backports", "sid"];
/// Debian architectures of the lab, that of the tools first.
const ARCHITECTURES: &[&str] = &["amd64", "arm64"];
/// How old the package index may be.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// The lab's own apt.
pub(crate) struct Apt {
    state: PathBuf,
    config: PathBuf,
    packages: PathBuf,
    debs: PathBuf,
    /// The mirror in use.
    pub(crate) mirror: String,
}

impl Apt {
    /// Writes the configuration and refreshes the index when it is older than a day. Without a network an older index is used.
    ///
    /// # Errors
    /// When there is no index at all.
    pub(crate) fn open(lab: &Lab) -> Result<Self> {
        let state = lab.dir("apt")?;
        for dir in ["apt/lists/partial", "apt/cache/archives/partial"] {
            lab.dir(dir)?;
        }
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing: install the package debian-archive-keyring");
        }
        let mirror = system_mirror().unwrap_or_else(|| DEFAULT_MIRROR.into());
        let sources: String = SUITES
            .iter()
            .map(|suite| {
                format!(
                    "deb [arch={} signed-by={KEYRING}] {mirror} {suite} main\n",
                    ARCHITECTURES.join(",")
                )
            })
            .collect();
        write_if_new(&state.join("sources.list"), &sources)?;
        write_if_new(&state.join("status"), "")?;
        let config = state.join("apt.conf");
        write_if_new(&config, &configuration(&state))?;
        let apt = Self {
            state: state.clone(),
            config,
            packages: lab.dir("packages")?,
            debs: lab.dir("debs")?,
            mirror,
        };
        apt.refresh()?;
        Ok(apt)
    }

    /// Updates the index, at most once a day or when the sources changed.
    fn refresh(&self) -> Result<()> {
        let state = &self.state;
        let stamp = state.join("updated");
        let updated = changed(&stamp);
        let young = updated.is_some_and(|at| {
            SystemTime::now()
                .duration_since(at)
                .is_ok_and(|age| age < MAX_AGE)
        });
        if young && updated >= changed(&state.join("sources.list")) {
            return Ok(());
        }
        say(&format!(
            "reading the package index of {} from {}",
            SUITES.join(", "),
            self.mirror
        ));
        let result = qemu::run_tool(self.command("apt-get").args(["update", "-q"]), &[0]);
        match result {
            Ok(_) => fs::write(&stamp, "").context("cannot write the time of the update"),
            // A suite that the mirror does not have makes apt fail; the others are there all the same.
            Err(error) if has_lists(state) => {
                say(&format!(
                    "the package index could not be refreshed as a whole: {error:#}"
                ));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a file was written after the index was refreshed.
    fn is_current(&self, file: &Path) -> bool {
        changed(file).is_some_and(|at| Some(at) >= changed(&self.state.join("updated")))
    }

    /// Names of packages that can be had and match apt's regular expression. Kept until the index is refreshed: apt needs seconds.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(crate) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let (known, head) = (self.state.join("names"), format!("{pattern}\n"));
        let text = match fs::read_to_string(&known) {
            Ok(text) if text.starts_with(&head) && self.is_current(&known) => text,
            _ => head + &self.read("apt-cache", &["search", "--names-only", pattern])?,
        };
        fs::write(&known, &text).with_context(|| format!("cannot write {}", known.display()))?;
        let lines = text.lines().skip(1);
        Ok(lines
            .filter_map(|line| line.split(' ').next())
            .map(str::to_owned)
            .collect())
    }

    /// The libraries that a package needs, with theirs, itself first. Only libraries: what it runs with, not what it runs.
    ///
    /// # Errors
    /// When apt-cache fails.
    pub(crate) fn with_libraries(&self, package: &str) -> Result<Vec<String>> {
        let arguments = [
            "depends",
            "--recurse",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
            "--no-replaces",
            package,
        ];
        Ok(libraries(&self.read("apt-cache", &arguments)?, package))
    }

    /// Downloads packages (newest of all suites) and unpacks them together into the lab's `packages/NAME`. When the index has
    /// nothing newer than what is there, nothing is done.
    ///
    /// # Errors
    /// When a package cannot be had.
    pub(crate) fn unpack(&self, name: &str, wanted: &[String]) -> Result<PathBuf> {
        let tree = self.packages.join(name);
        let list = self.packages.join(format!("{name}.list"));
        let known = fs::read_to_string(&list).unwrap_or_default();
        // The list: what was wanted, then the files that it was at that time.
        let head = format!("{}\n", wanted.join(" "));
        if tree.exists() && known.starts_with(&head) && self.is_current(&list) {
            return Ok(tree);
        }
        let uris = self.uris(wanted)?;
        let files: Vec<_> = uris.iter().map(|uri| uri.file.as_str()).collect();
        let content = head + &files.join("\n");
        if !tree.exists() || known != content {
            let megabytes = uris.iter().map(|uri| uri.size).sum::<u64>() / 1_000_000;
            say(&format!("fetching {name} ({megabytes} MB)"));
            qemu::run_tool(
                self.command("apt-get")
                    .current_dir(&self.debs)
                    .args(["download", "-q"])
                    .args(wanted),
                &[0],
            )?;
            self.extract(&files, &tree)?;
        }
        fs::write(&list, content).with_context(|| format!("cannot write {}", list.display()))?;
        Ok(tree)
    }

    /// Unpacks downloaded packages into one tree, which gets its name when it is whole.
    fn extract(&self, files: &[&str], tree: &Path) -> Result<()> {
        let mut partial = tree.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        for old in [partial.as_path(), tree] {
            if old.exists() {
                fs::remove_dir_all(old)
                    .with_context(|| format!("cannot remove {}", old.display()))?;
            }
        }
        for file in files {
            let deb = self.debs.join(file);
            qemu::run_tool(
                Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&partial),
                &[0],
            )?;
            fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
        }
        fs::rename(&partial, tree).with_context(|| format!("cannot name {}", tree.display()))
    }

    fn uris(&self, wanted: &[String]) -> Result<Vec<Uri>> {
        let mut arguments = vec!["download", "-q", "--print-uris"];
        arguments.extend(wanted.iter().map(String::as_str));
        let uris: Vec<_> = self
            .read("apt-get", &arguments)?
            .lines()
            .filter_map(uri)
            .collect();
        if uris.len() != wanted.len() {
            bail!(
                "the mirror {} does not have all of: {}",
                self.mirror,
                wanted.join(" ")
            );
        }
        Ok(uris)
    }

    fn read(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let out = qemu::run_tool(self.command(program).args(arguments), &[0])?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// `-c` is read after the system's configuration and so can clear parts of it, while its proxy stays.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).env("LC_ALL", "C");
        command
    }
}

/// Everything that apt would write goes to `state`; hooks of the system, which clean its caches, are not run.
fn configuration(state: &Path) -> String {
    let state = state.display();
    format!(
        r#"Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
APT::Architecture "amd64";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Architectures;
APT::Architectures:: "{}";
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::DEP-11-icons-hidpi;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large-hidpi;
"#,
        ARCHITECTURES.join("\";\nAPT::Architectures:: \"")
    )
}

/// A file that `apt-get download` would write.
struct Uri {
    file: String,
    size: u64,
}

/// A line of `--print-uris`: `'http://…' FILE SIZE HASH`.
fn uri(line: &str) -> Option<Uri> {
    let mut fields = line.strip_prefix('\'')?.split_whitespace().skip(1);
    Some(Uri {
        file: fields.next()?.to_owned(),
        size: fields.next()?.parse().ok()?,
    })
}

/// A package and the libraries that it needs, with theirs, in the output of `apt-cache depends --recurse`: the name of a package, then its
/// dependencies, indented.
fn libraries(text: &str, package: &str) -> Vec<String> {
    let needs = |name: &str| {
        let own = text.lines().skip_while(|line| *line != name).skip(1);
        own.take_while(|line| line.starts_with(' '))
            .filter_map(dependency)
            .filter(|name| is_library(name))
            .collect::<Vec<_>>()
    };
    let mut all = vec![package];
    let mut next = 0;
    while let Some(name) = all.get(next) {
        let new: Vec<_> = needs(name)
            .into_iter()
            .filter(|library| !all.contains(library))
            .collect();
        all.extend(new);
        next += 1;
    }
    all.into_iter().map(str::to_owned).collect()
}

/// A dependency line of `apt-cache depends`: `  Depends: NAME`, `  PreDepends: NAME`, the first of alternatives has `|`. Packages of a foreign architecture are `NAME:ARCHITECTURE`.
fn dependency(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches('|');
    line.strip_prefix("Depends: ")
        .or_else(|| line.strip_prefix("PreDepends: "))
}

fn is_library(name: &str) -> bool {
    name.starts_with("lib") || name.starts_with("zlib")
}

fn has_lists(state: &Path) -> bool {
    fs::read_dir(state.join("lists")).is_ok_and(|dir| {
        dir.flatten()
            .any(|file| file.file_name().to_string_lossy().contains("_Packages"))
    })
}

/// The first Debian mirror in the system's sources, in either form.
fn system_mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let mut parts: Vec<_> = fs::read_dir("/etc/apt/sources.list.d")
        .ok()?
        .flatten()
        .map(|file| file.path())
        .collect();
    parts.sort();
    files.extend(parts);
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| text.lines().find_map(mirror_of))
}

/// The address of a Debian archive in a line of a sources file; security archives hold only some suites.
fn mirror_of(line: &str) -> Option<String> {
    let line = line.trim();
    if !(line.starts_with("URIs:") || line.starts_with("deb ")) {
        return None;
    }
    let address = line
        .split_whitespace()
        .find(|word| word.starts_with("http://") || word.starts_with("https://"))?;
    let address = address.trim_end_matches('/');
    address.ends_with("/debian").then(|| address.to_owned())
}

/// When a file was last written.
fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

/// Keeps the time stamp of a file that says the same already.
fn write_if_new(file: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(file).is_ok_and(|known| known == text) {
        return Ok(());
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_both_forms() {
        assert_eq!(
            mirror_of("URIs: http://deb.debian.org/debian/"),
            Some("http://deb.debian.org/debian".into())
        );
        assert_eq!(
            mirror_of("deb [signed-by=/x] https://m/debian bookworm main"),
            Some("https://m/debian".into())
        );
        assert_eq!(
            mirror_of("deb http://m/debian-security bookworm main"),
            None
        );
        assert_eq!(
            mirror_of("deb https://deb.nodesource.com/node_20.x nodistro main"),
            None
        );
        assert_eq!(
            mirror_of("# URIs: http://snapshot.debian.org/archive/debian"),
            None
        );
    }

    #[test]
    fn lines_of_apt() {
        let found = uri("'http://m/x_1%3a2_amd64.deb' x_1%3a2_amd64.deb 123 SHA256:ab").unwrap();
        assert_eq!(
            (found.file.as_str(), found.size),
            ("x_1%3a2_amd64.deb", 123)
        );
        assert!(uri("Reading package lists...").is_none());
        assert_eq!(dependency("  Depends: libc6"), Some("libc6"));
        assert_eq!(dependency(" |PreDepends: zlib1g"), Some("zlib1g"));
        assert_eq!(dependency("  Recommends: crash"), None);
        let tree = "m\n  Depends: libc6\n  Depends: perl\nperl\n  Depends: libperl\nlibc6\n  Depends: libgcc\nlibgcc\n  Depends: libc6\n";
        assert_eq!(libraries(tree, "m"), ["m", "libc6", "libgcc"]);
        assert!(is_library("zlib1g") && !is_library("perl"));
    }
}
