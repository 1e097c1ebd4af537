//! What others say of a dump: our own `verify`, `crash`, and the newest packaged makedumpfile.

use crate::build::Binaries;
use crate::fetch::{Kernel, Packaged};
use crate::guest::{HOST, MACHINE_ID, PANIC};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that judge a dump.
#[derive(Clone, Debug)]
pub(crate) struct Judges {
    /// Ours.
    pub(crate) binaries: Binaries,
    /// The one that wrote the format.
    pub(crate) makedumpfile: Packaged,
}

/// How a target holds a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As files.
    File,
    /// As a stream.
    Stream,
    /// As a stream in pieces, in a directory whose name was fixed before the crash.
    Pieces,
    /// As a stream that is encrypted, like the log; the file with the key.
    Sealed(PathBuf),
}

impl Form {
    /// Names of the files with checksums, sorted.
    const fn files(&self) -> [&'static str; 2] {
        match self {
            Self::File => ["vmcore", "vmcore-dmesg.txt"],
            Self::Stream | Self::Pieces => ["vmcore-dmesg.txt", "vmcore.flat"],
            Self::Sealed(_) => ["vmcore-dmesg.txt.age", "vmcore.flat.age"],
        }
    }

    /// Takes the pieces behind the first one out of the names of files; a stream in pieces must have some.
    fn without_pieces<S: AsRef<str>>(&self, mut names: Vec<S>) -> Result<Vec<S>> {
        let before = names.len();
        names.retain(|name| !is_piece(name.as_ref()));
        let pieces = before - names.len();
        match self {
            Self::Pieces if pieces == 0 => bail!("the stream is in one piece"),
            Self::Pieces => Ok(names),
            _ if pieces > 0 => bail!("the stream is in pieces"),
            _ => Ok(names),
        }
    }
}

/// Whether this is a piece behind the first one.
fn is_piece(name: &str) -> bool {
    let number = name.strip_prefix("vmcore.flat.");
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Joins the pieces of a stream, as cat(1) does.
fn join(dir: &Path, to: &Path) -> Result<()> {
    let mut whole =
        fs::File::create(to).with_context(|| format!("cannot make {}", to.display()))?;
    let numbered = (2..).map(|number| dir.join(format!("vmcore.flat.{number}")));
    let rest = numbered.take_while(|piece| piece.exists());
    for piece in std::iter::once(dir.join("vmcore.flat")).chain(rest) {
        let copied = fs::File::open(&piece).and_then(|mut piece| io::copy(&mut piece, &mut whole));
        copied.with_context(|| format!("cannot copy {}", piece.display()))?;
    }
    Ok(())
}

/// A judge and what it said.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Who.
    pub(crate) judge: &'static str,
    /// What it said, or why it refused.
    pub(crate) said: Result<String>,
}

impl Judges {
    /// All verdicts on the dump directory of a complete dump.
    pub(crate) fn complete(&self, dir: &Path, kernel: &Kernel) -> Vec<Verdict> {
        self.complete_as(dir, kernel, &Form::File)
    }

    /// The same for any form of the files.
    pub(crate) fn complete_as(&self, dir: &Path, kernel: &Kernel, form: &Form) -> Vec<Verdict> {
        let plain = match self.open(dir, form) {
            Ok(plain) => plain,
            Err(error) => {
                return vec![Verdict {
                    judge: "opening it",
                    said: Err(error),
                }];
            }
        };
        let vmcore = plain.join("vmcore");
        let mut verdicts = vec![
            ("file names", names(dir, form)),
            ("dmesg", log_file(&plain)),
            ("report.json", report(dir, "complete")),
            ("its facts", facts(dir, kernel, form)),
            ("its checksums", checksums(dir, form)),
            ("baredump verify", self.verify(&vmcore)),
        ];
        if *form == Form::Pieces {
            verdicts.push(("baredump verify of the pieces", self.verify(dir)));
            verdicts.push((
                "baredump verify of the whole",
                self.verify_joined(dir, &plain),
            ));
        }
        if absent(kernel).is_none() {
            verdicts.push(("crash --osrelease", osrelease(&vmcore, kernel)));
            verdicts.push(("makedumpfile --dump-dmesg", self.dump_dmesg(&vmcore)));
        }
        verdicts
            .into_iter()
            .map(|(judge, said)| Verdict { judge, said })
            .collect()
    }

    /// A directory with the dump and its log as plain files, made with the programs that users have for it: `age` and makedumpfile.
    fn open(&self, dir: &Path, form: &Form) -> Result<PathBuf> {
        if matches!(form, Form::File) {
            return Ok(dir.to_path_buf());
        }
        let plain = dir.with_extension("plain");
        fs::create_dir_all(&plain).with_context(|| format!("cannot make {}", plain.display()))?;
        for name in form.files() {
            let (from, to) = (dir.join(name), plain.join(name.trim_end_matches(".age")));
            match form {
                Form::Sealed(identity) => {
                    let mut age = Command::new("age");
                    age.arg("--decrypt")
                        .arg("-i")
                        .arg(identity)
                        .arg("-o")
                        .arg(&to);
                    qemu::run_tool(age.arg(&from), &[0])?;
                }
                Form::Pieces if name == "vmcore.flat" => join(dir, &to)?,
                _ => {
                    fs::copy(&from, &to)
                        .with_context(|| format!("cannot copy {}", from.display()))?;
                }
            }
        }
        let flat = plain.join("vmcore.flat");
        let stream = fs::File::open(&flat).context("there is no stream")?;
        let mut rearrange = self.makedumpfile.command()?;
        rearrange.arg("-R").arg(plain.join("vmcore"));
        let out = rearrange.stdin(stream).output()?;
        if !out.status.success() {
            bail!(
                "makedumpfile -R: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        Ok(plain)
    }

    /// Our own check of structure and of every page.
    pub(crate) fn verify(&self, vmcore: &Path) -> Result<String> {
        let out = qemu::run_tool(
            Command::new(&self.binaries.baredump)
                .arg("verify")
                .arg(vmcore),
            &[0],
        )?;
        Ok(String::from_utf8_lossy(&out.stdout)
            .trim()
            .lines()
            .last()
            .unwrap_or("good")
            .to_owned())
    }

    /// The same for a directory where the pieces have been joined.
    fn verify_joined(&self, dir: &Path, plain: &Path) -> Result<String> {
        fs::copy(dir.join("report.json"), plain.join("report.json"))?;
        self.verify(plain)
    }

    /// The log as makedumpfile finds it in the dump.
    fn dump_dmesg(&self, vmcore: &Path) -> Result<String> {
        let log = vmcore.with_extension("makedumpfile.txt");
        qemu::run_tool(
            self.makedumpfile
                .command()?
                .args(["-f", "--dump-dmesg"])
                .arg(vmcore)
                .arg(&log),
            &[0],
        )?;
        panic_line(&log)
    }
}

/// The judges that cannot read a kernel's dumps: as packaged, crash and makedumpfile read only those of the machine that they run on.
pub(crate) fn absent(kernel: &Kernel) -> Option<&'static str> {
    (!kernel.arch.is_host())
        .then_some("without crash and makedumpfile, which read this host's architecture only")
}

/// What crash says the dead kernel's release is.
fn osrelease(vmcore: &Path, kernel: &Kernel) -> Result<String> {
    let out = qemu::run_tool(Command::new("crash").arg("--osrelease").arg(vmcore), &[0])?;
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    if said != kernel.release {
        bail!("it says `{said}`, the kernel is {}", kernel.release);
    }
    Ok(said)
}

/// A complete dump's directory holds three files under final names and nothing else.
fn names(dir: &Path, form: &Form) -> Result<String> {
    let found = files(dir)?;
    let [first, second] = form.files();
    let bases = form.without_pieces(found.clone())?;
    if bases != ["report.json", first, second] {
        bail!("the directory holds {}", found.join(" "));
    }
    Ok(found.join(" "))
}

/// Names in a dump directory, sorted; what the judges themselves wrote is left out.
pub(crate) fn files(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| !name.ends_with(".makedumpfile.txt"));
    names.sort();
    Ok(names)
}

/// The saved log holds the panic line.
pub(crate) fn log_file(dir: &Path) -> Result<String> {
    panic_line(&dir.join("vmcore-dmesg.txt"))
}

fn panic_line(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| line.contains(PANIC));
    Ok(line
        .with_context(|| format!("no line `{PANIC}` among {}", text.lines().count()))?
        .to_owned())
}

/// `report.json` of a dump directory.
pub(crate) fn read_report(dir: &Path) -> Result<serde_json::Value> {
    let file = dir.join("report.json");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

fn text<'a>(report: &'a serde_json::Value, pointer: &str) -> &'a str {
    let value = report.pointer(pointer).and_then(serde_json::Value::as_str);
    value.unwrap_or("none")
}

/// The recorded outcome is the expected one.
pub(crate) fn report(dir: &Path, outcome: &str) -> Result<String> {
    let report = read_report(dir)?;
    let text = |pointer| text(&report, pointer);
    let (status, reason) = (text("/outcome/status"), text("/outcome/reason"));
    if status != outcome {
        bail!("its outcome is `{status}` (reason: {reason}), expected `{outcome}`");
    }
    Ok(status.to_owned())
}

/// What the report says of the dead kernel is what the guest is known to be.
fn facts(dir: &Path, kernel: &Kernel, form: &Form) -> Result<String> {
    let report = read_report(dir)?;
    let sealed = matches!(form, Form::Sealed(_));
    if sealed && report.to_string().contains(PANIC) {
        bail!("the log is encrypted, but the report has its panic line");
    }
    let text = |pointer| text(&report, pointer);
    let number = |pointer: &str| {
        report
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default()
    };
    let expected = [
        ("/host", HOST),
        ("/machine_id", MACHINE_ID),
        ("/kernel_release", kernel.release.as_str()),
        ("/panic_line", if sealed { "none" } else { PANIC }),
    ];
    for (pointer, value) in expected {
        if text(pointer) != value {
            bail!("{pointer} is `{}`, expected `{value}`", text(pointer));
        }
    }
    let boot_id = text("/boot_id");
    let dated = dir.file_name().unwrap_or_default().to_string_lossy();
    let named = |boot: &str| *form == Form::Pieces || dated.ends_with(&format!("Z-{boot}"));
    if boot_id.len() != 32 || !named(&boot_id[..8]) {
        bail!("boot id {boot_id} does not end the directory's name {dated}");
    }
    for pointer in [
        "/schema",
        "/crash_time",
        "/pages/kept",
        "/pages/total",
        "/memory/total_kb",
        "/memory/lowest_available_kb",
        "/memory/peak_rss_kb",
    ] {
        if number(pointer) == 0 {
            bail!("{pointer} is missing or 0");
        }
    }
    let classes = [
        "kept",
        "cache",
        "cache_private",
        "user",
        "free",
        "hwpoison",
        "offline",
    ];
    let sum: u64 = classes
        .iter()
        .map(|class| number(&format!("/pages/{class}")))
        .sum();
    if sum != number("/pages/total") {
        bail!(
            "the classes are {sum} pages together, there are {}",
            number("/pages/total")
        );
    }
    Ok(format!("{sum} pages accounted for"))
}

/// Size and CRC-32 of every file are those in the report.
fn checksums(dir: &Path, form: &Form) -> Result<String> {
    let report = read_report(dir)?;
    let files = report
        .pointer("/files")
        .and_then(serde_json::Value::as_array)
        .context("it has no files")?;
    let mut names = Vec::new();
    for file in files {
        let name = file.pointer("/name").and_then(serde_json::Value::as_str);
        let name = name.context("a file without a name")?;
        let bytes = fs::read(dir.join(name)).with_context(|| format!("cannot read {name}"))?;
        let found = serde_json::json!({
            "name": name,
            "bytes": bytes.len(),
            "crc32": format!("{:08x}", crc32fast::hash(&bytes)),
        });
        if found != *file {
            bail!("the report says {file}, found {found}");
        }
        names.push(name);
    }
    let mut names = form.without_pieces(names)?;
    names.sort_unstable();
    if names != form.files() {
        bail!("it lists {}", names.join(" "));
    }
    Ok(names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-check-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn only_final_names_are_complete() {
        let dir = scratch("names");
        for name in [
            "report.json",
            "vmcore",
            "vmcore-dmesg.txt",
            "vmcore.makedumpfile.txt",
        ] {
            fs::write(dir.join(name), "").unwrap();
        }
        assert!(names(&dir, &Form::File).is_ok());
        fs::rename(dir.join("vmcore"), dir.join("vmcore-incomplete")).unwrap();
        assert!(
            names(&dir, &Form::File)
                .unwrap_err()
                .to_string()
                .contains("vmcore-incomplete")
        );
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn logs_and_reports() {
        let dir = scratch("logs");
        fs::write(
            dir.join("vmcore-dmesg.txt"),
            format!("[ 1.0] a\n[ 2.0] {PANIC}\n"),
        )
        .unwrap();
        assert!(log_file(&dir).unwrap().ends_with(PANIC));
        fs::write(dir.join("vmcore-dmesg.txt"), "[ 1.0] a\n").unwrap();
        assert!(log_file(&dir).is_err());
        fs::write(
            dir.join("report.json"),
            r#"{"outcome":{"status":"partial"}}"#,
        )
        .unwrap();
        assert!(report(&dir, "partial").is_ok() && report(&dir, "complete").is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
