//! `kernel`: a small capture kernel from the distribution's source package and the fragment of `kernel-config/` for its architecture.
//!
//! apt checks the signature and hash of the package. What was built is kept until the package or the fragment changes.

mod fragment;
mod make;

use crate::Stop;
use crate::apt::Apt;
use crate::build;
use crate::check::Judges;
use crate::fetch::{self, Kernel};
use crate::lab::{Lab, say, step};
use crate::setup::{self, Need};
use crate::vm::{self, Bench, own};
use anyhow::{Context, Result, bail};
use lexopt::prelude::{Long, Short, Value, ValueExt};
use make::Target;
use qemu::Arch;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use xshell::Shell;

/// The source package.
const PACKAGE: &str = "linux-source-6.12";

const HELP: &str = "\
usage: ./x kernel [--arch x86_64|arm64] [--panic [NAME...]]

Builds a small capture kernel from Debian's source package and kernel-config/ARCH.config, unless that was done, and says
how it is used. What a build that was interrupted has made is taken up again.

  --arch ARCH   for this architecture (that of this machine)
  --panic       then lets it capture real panics, one for each kind of disk, or those whose name contains a NAME

Exit codes: 0 good, 1 something failed, 2 usage.";

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    arch: Arch,
    panic: bool,
    names: Vec<String>,
}

/// Builds it and says how it is used.
///
/// # Errors
/// When the package cannot be had, a line of the fragment does not take, the build fails, or a panic is not captured.
pub(crate) fn run(sh: &Shell, lab: &Lab, arguments: Vec<OsString>) -> Result<()> {
    let Some(options) = parse(arguments)? else {
        println!("{HELP}");
        return Ok(());
    };
    let foreign = !options.arch.is_host();
    setup::run(sh, if foreign { Need::Tests } else { Need::Host })?;
    let kernel = build(sh, lab, options.arch)?;
    describe(lab, &kernel)?;
    match options.panic {
        true => panics(sh, lab, &kernel, &options.names),
        false => Ok(()),
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Option<Options>> {
    let usage = |error: lexopt::Error| Stop::new(format!("{error}\n\n{HELP}"));
    let mut options = Options {
        arch: if Arch::Arm64.is_host() {
            Arch::Arm64
        } else {
            Arch::X86
        },
        panic: false,
        names: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("arch") => {
                let word = parser.value().and_then(|word| word.string());
                let word = word.map_err(usage)?;
                let target = make::TARGETS.iter().find(|target| target.name == word);
                let Some(target) = target else {
                    return Err(Stop::new(format!("no capture kernel for {word}\n\n{HELP}")));
                };
                options.arch = target.arch;
            }
            Long("panic") => options.panic = true,
            Value(word) if options.panic => options.names.push(word.string().map_err(usage)?),
            Short('h') | Long("help") => return Ok(None),
            other => return Err(usage(other.unexpected())),
        }
    }
    Ok(Some(options))
}

/// The kernel, built when it is not there.
///
/// # Errors
/// As [`run`].
pub(crate) fn build(sh: &Shell, lab: &Lab, arch: Arch) -> Result<Kernel> {
    let target = Target::of(arch)?;
    step(&format!("our own capture kernel for {}", target.name));
    let tree = Apt::open(lab)?.unpack(PACKAGE, &[PACKAGE.to_owned()])?;
    let archive = tree.join(format!("usr/src/{PACKAGE}.tar.xz"));
    let fragment = lab.root.join(target.fragment());
    let source = key(&archive)?;
    let text = read(&fragment)?;
    let key = format!("{source} {:08x}", crc32fast::hash(text.as_bytes()));
    let out = lab.dir(&format!("kernel/{}", target.name))?;
    let stamp = out.join("built");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == key) {
        return kernel(&out, arch);
    }
    let _ = fs::remove_file(&stamp);
    make::tools(sh)?;
    let source = make::source(sh, lab, &archive, &source)?;
    make::all(sh, target, &source, &fragment, &out)?;
    fs::write(&stamp, key).context("cannot write the stamp of the build")?;
    fs::remove_dir_all(&source).with_context(|| source.display().to_string())?;
    kernel(&out, arch)
}

/// What decides, beside the fragment, whether a build is still good: the package's archive.
fn key(archive: &Path) -> Result<String> {
    let shown = || archive.display().to_string();
    let meta = fs::metadata(archive).with_context(shown)?;
    let since = meta.modified()?.duration_since(std::time::UNIX_EPOCH);
    let since = since.map_or(0, |since| since.as_secs());
    Ok(format!("{} {since}", meta.len()))
}

fn kernel(out: &Path, arch: Arch) -> Result<Kernel> {
    let release = read(&out.join("release"))?.trim().to_owned();
    let modules = out.join("lib/modules").join(&release);
    let part = |name: &str| -> Result<PathBuf> {
        let path = modules.join(name);
        fs::metadata(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    Ok(Kernel {
        vmlinuz: part("vmlinuz")?,
        config: part("config")?,
        modules: modules.clone(),
        release,
        arch,
        kexec_tools: None,
    })
}

/// Its sizes, and how it is used.
fn describe(lab: &Lab, kernel: &Kernel) -> Result<()> {
    let header = initramfs::loader::Kernel::open(&kernel.vmlinuz)?.header;
    let modules = modules(&kernel.modules)?;
    let sizes = modules.iter().map(|path| Ok(fs::metadata(path)?.len()));
    let bytes = sizes.sum::<Result<u64>>()?;
    say(&format!(
        "capture kernel {}: {} bytes, {} to unpack itself; {} modules with {bytes} bytes",
        kernel.release,
        header.file_size,
        header.init_size,
        modules.len()
    ));
    let dir = kernel.modules.strip_prefix(&lab.root);
    let dir = dir.unwrap_or(&kernel.modules).display();
    say(&format!("  cp -r {dir} /lib/modules/"));
    for command in ["image", "arm"] {
        say(&format!(
            "  baredumpctl {command} --kernel-release {}",
            kernel.release
        ));
    }
    Ok(())
}

/// The modules below a directory.
pub(crate) fn modules(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(modules(&path)?);
        } else if path.extension().is_some_and(|end| end == "ko") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Panics that it captures.
fn panics(sh: &Shell, lab: &Lab, own: &Kernel, names: &[String]) -> Result<()> {
    let mut scenarios = own::scenarios(own)?;
    let known: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    scenarios.retain(|one| names.is_empty() || names.iter().any(|name| one.name.contains(name)));
    let Some(series) = scenarios.first().map(|scenario| scenario.series) else {
        let known = known.join(" ");
        return Err(Stop::new(format!("there is no such panic, only {known}")));
    };
    let binaries = match own.arch.is_host() {
        true => build::host(sh, lab)?,
        false => build::run(sh, lab)?,
    };
    let apt = Apt::open(lab)?;
    let judges = Judges {
        binaries,
        makedumpfile: fetch::makedumpfile(&apt)?,
    };
    let kernel = fetch::kernel(&apt, series)?;
    let accel = kernel.accel(lab)?;
    let bench = Bench {
        lab,
        judges: &judges,
        kernels: &[(series, kernel, accel)],
    };
    let rows = vm::run(&bench, scenarios);
    let failed = rows.iter().filter(|row| row.verdict.is_err()).count();
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} panics were not captured", rows.len()),
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parsed = |words: &[&str]| parse(words.iter().map(OsString::from).collect());
        let words = ["--arch", "arm64", "--panic", "nvme"];
        let arm64 = parsed(&words).unwrap().unwrap();
        assert_eq!((arm64.arch, arm64.panic), (Arch::Arm64, true));
        assert_eq!(arm64.names, ["nvme"]);
        assert!(!parsed(&[]).unwrap().unwrap().panic);
        assert_eq!(parsed(&["--help"]).unwrap(), None);
        for bad in [&["--arch", "s390x"][..], &["--arch"], &["arm64"]] {
            assert!(parsed(bad).unwrap_err().is::<Stop>(), "{bad:?}");
        }
    }
}
