//! What the cases do with a file: it is dumped, and its log is read.

use baredump::dump::{self, DeadKernel, DumpError, Observer, Options, Summary};
use baredump::filter::DumpLevel;
use baredump::format::kdump::Dump;
use std::fs;
use tests::memory_file::MemoryFile;

struct Quiet;

impl Observer for Quiet {
    fn progress(&mut self, _: &'static str, _: u64, _: u64) {}
}

/// What became of a file.
pub(super) struct Dumped {
    pub(super) summary: Summary,
    pub(super) bytes: Vec<u8>,
    /// Its kernel's log, or why there is none.
    pub(super) log: Result<String, String>,
    /// What was said when it was opened.
    pub(super) warnings: Vec<String>,
}

impl Dumped {
    /// The dump, opened.
    pub(super) fn open(&self) -> Dump {
        Dump::open(Box::new(self.bytes.clone())).unwrap()
    }

    /// The pages in it.
    pub(super) fn pages(&self) -> Vec<u64> {
        let dump = self.open();
        let mut pages = Vec::new();
        let mut at = 0;
        while let Some(pfn) = dump.kept().next(at) {
            pages.push(pfn);
            at = pfn + 1;
        }
        pages
    }
}

/// The kernel in `files`, the parts of one dump when they are several.
pub(super) fn open(files: &[&[u8]]) -> Result<DeadKernel, DumpError> {
    let dir = tempfile::tempdir().unwrap();
    let name = |(number, bytes): (usize, &&[u8])| {
        let path = dir.path().join(number.to_string());
        fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<_> = files.iter().enumerate().map(name).collect();
    Ok(DeadKernel::understand(
        dump::open(&paths)?.into_vmcore(),
        true,
    ))
}

/// Dumps `files`, uncompressed.
pub(super) fn dump(files: &[&[u8]], level: u8) -> Result<Dumped, DumpError> {
    let kernel = open(files)?;
    let options = Options {
        level: DumpLevel::new(level).unwrap(),
        compression: baredump::compress::Compression::None,
        threads: 0,
        mmap: true,
        strict: false,
        window: None,
    };
    let out = MemoryFile::default();
    let summary = dump::dump(&kernel, &options, &out, &mut Quiet)?;
    let mut log = Vec::new();
    let said = kernel.dmesg(&mut log);
    Ok(Dumped {
        summary,
        bytes: out.into_bytes(),
        log: said
            .map(|_| String::from_utf8(log).unwrap())
            .map_err(|e| e.to_string()),
        warnings: kernel.warnings().to_vec(),
    })
}
