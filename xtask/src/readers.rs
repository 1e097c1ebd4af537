//! The programs that people open dumps with, each on a dump of every compression and form, of both architectures: `test --full`.
//!
//! One dump of a real panic is written again in every form. makedumpfile (re-filtering, `--dump-dmesg`), crash (its whole set of commands),
//! drgn and libkdumpfile (every page) then open each. What a reader cannot do by itself is a case too: it must say so in its known words.

use crate::check::Judges;
use crate::crash;
use crate::full::{self, Tools};
use crate::guest::{PANIC, Run};
use crate::lab::step;
use crate::vm::Row;
use anyhow::{Context, Result, bail, ensure};
use qemu::Arch;
use std::cell::OnceCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each form of a dump, with the options that write it.
const FORMS: &[(&str, &[&str])] = &[
    ("none", &["--compress", "none"]),
    ("zlib", &["-c"]),
    ("lzo", &["-l"]),
    ("snappy", &["-p"]),
    ("zstd", &["-z"]),
    ("flat", &["-F", "-c"]),
    // Through a stream in frames and `rearrange`.
    ("restored", &["--stream", "lz4"]),
    ("elf", &["-E"]),
];

/// A program that opens dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Makedumpfile,
    Crash,
    Drgn,
    Libkdumpfile,
}

/// All of them.
const READERS: &[(&str, Reader)] = &[
    ("makedumpfile", Reader::Makedumpfile),
    ("crash", Reader::Crash),
    ("drgn", Reader::Drgn),
    ("libkdumpfile", Reader::Libkdumpfile),
];

/// What a reader cannot do.
struct Refusal {
    /// What it says then.
    words: &'static str,
    /// Why.
    reason: &'static str,
}

/// Debian's makedumpfile, which is 1.7.8, and crash, which is 9.0.2.
fn refusal(arch: Arch, reader: Reader, form: &str) -> Option<Refusal> {
    let (words, reason) = match (arch, reader, form) {
        (_, Reader::Makedumpfile, "flat") => (
            "Can't get valid ehdr",
            "makedumpfile reads a flattened file with -R only, which restores ours byte for byte",
        ),
        (Arch::Arm64, Reader::Makedumpfile, _) => (
            "VA Bits 52 not supported",
            "makedumpfile 1.7.8 refuses arm64 kernels that are built for 52-bit addresses, upstream's head reads it",
        ),
        (Arch::X86, Reader::Makedumpfile, "snappy") => (
            "Can't convert a virtual address",
            "Debian builds makedumpfile without snappy, upstream's head reads it",
        ),
        // The arm64 crash in an emulator takes minutes and cannot help: it does not find the linear map of a kernel that is built for
        // 52-bit addresses, on a processor that has 48, in the raw vmcore either.
        (Arch::Arm64, Reader::Crash, _) => (
            "not a supported file format",
            "crash reads dumps of its own architecture only",
        ),
        _ => return None,
    };
    Some(Refusal { words, reason })
}

/// Opens a dump with libkdumpfile, the one that drgn brings with it, and reads every page. The sum is over all pages that are not zeros:
/// an ELF file may leave those out.
const LIBKDUMPFILE: &str = r#"
import ctypes, glob, hashlib, os, sys
library, path = sys.argv[1:]
lib = ctypes.CDLL(glob.glob(library)[0])
pointer = ctypes.c_void_p
lib.kdump_new.restype = pointer
lib.kdump_get_err.restype = ctypes.c_char_p
lib.kdump_get_err.argtypes = [pointer]
lib.kdump_open_fdset.argtypes = [pointer, ctypes.c_uint, ctypes.POINTER(ctypes.c_int)]
lib.kdump_get_typed_attr.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int, pointer]
lib.kdump_read.argtypes = [pointer, ctypes.c_int, ctypes.c_uint64, pointer, ctypes.POINTER(ctypes.c_size_t)]
lib.kdump_bmp_find_set.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint64)]
ADDRESS_SPACE_MACHINE, NUMBER, STRING, BITMAP = 1, 2, 4, 5
context = lib.kdump_new()

def check(status, what):
    if status:
        sys.exit("libkdumpfile: %s: %s" % (what, lib.kdump_get_err(context).decode()))

def attribute(name, kind, value):
    check(lib.kdump_get_typed_attr(context, name.encode(), kind, ctypes.byref(value)), name)
    return value.value

file = ctypes.c_int(os.open(path, os.O_RDONLY))
check(lib.kdump_open_fdset(context, 1, ctypes.byref(file)), "open")
release = attribute("linux.uts.release", STRING, ctypes.c_char_p()).decode()
form = attribute("file.format", STRING, ctypes.c_char_p()).decode()
size = attribute("arch.page_size", NUMBER, ctypes.c_uint64())
pages = attribute("file.pagemap", BITMAP, pointer())
count, digest = 0, hashlib.sha256()
pfn, page = ctypes.c_uint64(0), ctypes.create_string_buffer(size)
while lib.kdump_bmp_find_set(pages, ctypes.byref(pfn)) == 0:
    length = ctypes.c_size_t(size)
    check(lib.kdump_read(context, ADDRESS_SPACE_MACHINE, pfn.value * size, page, ctypes.byref(length)), "pfn %d" % pfn.value)
    if page.raw.strip(b"\0"):
        count += 1
        digest.update(pfn.value.to_bytes(8, "little") + page.raw)
    pfn.value += 1
print(release, form, count, digest.hexdigest())
"#;

/// A dump, and those who read it.
pub(crate) struct Readers<'a> {
    /// The programs that read dumps of its kernel.
    pub(crate) tools: &'a Tools,
    /// The run that made it.
    pub(crate) run: &'a Run,
    /// The dump.
    pub(crate) vmcore: &'a Path,
    /// Has our own programs.
    pub(crate) judges: &'a Judges,
    /// What libkdumpfile read of the first form: that of the others must be the same.
    pub(crate) pages: OnceCell<String>,
}

/// The names of the rows of an architecture.
pub(crate) fn names(arch: Arch) -> impl Iterator<Item = String> {
    let cases = READERS
        .iter()
        .flat_map(|reader| FORMS.iter().map(move |form| (reader.0, form.0)));
    cases.map(move |(reader, form)| name(arch, reader, form))
}

fn name(arch: Arch, reader: &str, form: &str) -> String {
    format!("{reader}-{}-{form}", arch_name(arch))
}

fn arch_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "x86_64",
        Arch::Arm64 => "arm64",
    }
}

impl Readers<'_> {
    /// The rows that are wanted, each printed as it comes.
    pub(crate) fn rows(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<Row> {
        let arch = self.tools.kernel.arch;
        step(&format!("readers of {} dumps", arch_name(arch)));
        let mut rows = Vec::new();
        for &(form, options) in FORMS {
            let mut written = None;
            for &(reader_name, reader) in READERS {
                let name = name(arch, reader_name, form);
                if !wanted(&name) {
                    continue;
                }
                rows.push(full::timed(&name, || {
                    match written.get_or_insert_with(|| self.write(form, options)) {
                        Ok(file) => self.open(reader, form, file),
                        Err(error) => bail!("{error:#}"),
                    }
                }));
            }
            if let Some(Ok(file)) = written {
                let _ = fs::remove_file(file);
            }
        }
        rows
    }

    /// The dump once more, in another form.
    fn write(&self, form: &str, options: &[&str]) -> Result<PathBuf> {
        let file = self.file(form);
        let stream = self.file("stream");
        let first = if form == "restored" { &stream } else { &file };
        self.baredump(|command| {
            command
                .args(["dump", "-f", "-d", "31", "--message-level", "4"])
                .args(options)
                .arg(self.vmcore)
                .arg(first)
        })?;
        if form == "restored" {
            self.baredump(|command| command.args(["rearrange", "-f"]).arg(&stream).arg(&file))?;
            let _ = fs::remove_file(&stream);
        }
        Ok(file)
    }

    fn file(&self, form: &str) -> PathBuf {
        self.run.dir.join(format!("vmcore.{form}"))
    }

    fn open(&self, reader: Reader, form: &str, file: &Path) -> Result<String> {
        let said = match reader {
            Reader::Makedumpfile => self.makedumpfile(form, file),
            Reader::Crash => {
                let (program, vmlinux) = (&self.tools.crash, &self.tools.vmlinux);
                crash::session(program, vmlinux, file, self.run, false)
            }
            Reader::Drgn => full::drgn(&self.tools.drgn, &self.tools.vmlinux, file)
                .map(|text| full::panicking(&text)),
            Reader::Libkdumpfile => self.libkdumpfile(file),
        };
        let Some(refusal) = refusal(self.tools.kernel.arch, reader, form) else {
            return said;
        };
        match said {
            Err(error) if format!("{error:#}").contains(refusal.words) => {
                Ok(format!("not possible: {}", refusal.reason))
            }
            Err(error) => Err(error.context(format!("it does not say `{}`", refusal.words))),
            Ok(_) => bail!("it reads what it could not: correct the table"),
        }
    }

    /// Its log, and the same pages filtered again, which our own check accepts.
    fn makedumpfile(&self, form: &str, file: &Path) -> Result<String> {
        if form == "flat" {
            self.restore(file)?;
        }
        let (log, again) = (self.file("makedumpfile.txt"), self.file("again"));
        qemu::run_tool(
            self.tools
                .makedumpfile
                .command()?
                .args(["-f", "--dump-dmesg"])
                .args([file, &log]),
            &[0],
        )?;
        let text = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        full::demand(&String::from_utf8_lossy(&text), &[PANIC, "Linux version"])?;
        qemu::run_tool(
            self.tools
                .makedumpfile
                .command()?
                .args(["-f", "-c", "-d", "31", "--message-level", "4"])
                .args([file, &again]),
            &[0],
        )?;
        let checked = self.baredump(|command| command.arg("verify").arg(&again))?;
        let pages = checked.trim().rsplit(": ok: ").next().unwrap_or_default();
        Ok(format!("its log; filtered again {pages}"))
    }

    /// `-R` gives the file that was flattened: the one with random access, byte for byte.
    fn restore(&self, file: &Path) -> Result<()> {
        let (restored, ours) = (self.file("restored-R"), self.write("zlib", &["-c"])?);
        let mut command = self.tools.makedumpfile.command()?;
        command.args(["-f", "-R"]).arg(&restored);
        command.stdin(File::open(file).with_context(|| format!("cannot open {}", file.display()))?);
        let out = command.output().context("cannot start makedumpfile")?;
        ensure!(
            out.status.success(),
            "makedumpfile -R: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let same = fs::read(&restored)? == fs::read(&ours)?;
        ensure!(
            same,
            "makedumpfile -R restores another file than ours with -c"
        );
        for file in [restored, ours] {
            let _ = fs::remove_file(file);
        }
        Ok(())
    }

    /// The same pages in every form.
    fn libkdumpfile(&self, file: &Path) -> Result<String> {
        let script = self.file("libkdumpfile.py");
        fs::write(&script, LIBKDUMPFILE).context("cannot write the script for libkdumpfile")?;
        let place = self.tools.drgn.parent().context("drgn lies nowhere")?;
        let library = place.join("../lib/python3*/site-packages/drgn.libs/libkdumpfile-*.so*");
        let mut command = Command::new(place.join("python3"));
        command.arg(&script).arg(library).arg(file);
        let said = qemu::run_tool(&mut command, &[0])?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let words: Vec<_> = said.split_whitespace().collect();
        let [release, form, count, digest] = words.as_slice() else {
            bail!("it says `{said}`");
        };
        let pages = format!("{count} pages, {digest}");
        let expected = self.pages.get_or_init(|| pages.clone());
        ensure!(
            *expected == pages,
            "it reads {pages}; of the first form it read {expected}"
        );
        ensure!(
            *release == self.tools.kernel.release,
            "it says that the kernel is {release}"
        );
        Ok(format!(
            "{form}: {count} pages that are not zeros, {}",
            digest.get(..12).unwrap_or_default()
        ))
    }

    fn baredump(&self, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
        let mut command = Command::new(&self.judges.binaries.baredump);
        arguments(&mut command);
        let out = qemu::run_tool(&mut command, &[0])?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_and_refusals_are_few() {
        let names: BTreeSet<_> = names(Arch::X86).chain(names(Arch::Arm64)).collect();
        assert_eq!(names.len(), 2 * READERS.len() * FORMS.len());
        assert!(names.contains("libkdumpfile-arm64-lzo"));
        let refused = |arch| {
            let forms = FORMS.iter().map(|form| form.0);
            forms
                .filter(|form| refusal(arch, Reader::Makedumpfile, form).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(Arch::X86), ["snappy", "flat"]);
        assert_eq!(refused(Arch::Arm64).len(), FORMS.len());
        assert!(refusal(Arch::X86, Reader::Crash, "zstd").is_none());
    }
}
