//! VMCOREINFO with a key missing: answered from the kernel's own symbols and types where it has them, else the dump level is taken back
//! one bit at a time, and no page is lost that has to be kept.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, on a 64-bit host"
)]

use baredump::compress::Compression;
use baredump::dump::{DeadKernel, Observer, Options, dump};
use baredump::filter::DumpLevel;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tests::dump_reader::Dump;
use tests::fake_kernel::{Arm64, FakeKernel, FakeVmcore, Generation, Kallsyms, Rules};
use tests::memory_file::MemoryFile;

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _phase: &'static str, _done: u64, _total: u64) {}
}

/// A vmcore as a file, whose VMCOREINFO can lack a line.
struct Scene {
    vmcore: FakeVmcore,
    file: File,
    path: PathBuf,
    text_at: u64,
    _dir: tempfile::TempDir,
}

/// What became of it.
struct Dumped {
    kept: BTreeSet<u64>,
    level: u8,
    log: Option<String>,
    warnings: Vec<String>,
}

impl Scene {
    fn new(kernel: FakeKernel) -> Self {
        let vmcore = kernel.build();
        let dir = tempfile::tempdir().unwrap();
        let path = vmcore.write(dir.path()).unwrap();
        let mut regions = vmcore.regions.iter();
        let (_, region) = regions.find(|(name, _)| *name == "VMCOREINFO").unwrap();
        Self {
            text_at: region.start as u64,
            file: File::options().write(true).open(&path).unwrap(),
            path,
            vmcore,
            _dir: dir,
        }
    }

    fn keys(&self) -> Vec<String> {
        let lines = self.vmcore.vmcoreinfo.lines();
        lines
            .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
            .collect()
    }

    /// What is dumped with the line of `key` under another name.
    fn without(&self, key: &str, level: u8, rules: Rules) -> Dumped {
        let text = format!("\n{}", self.vmcore.vmcoreinfo);
        let at = self.text_at + text.find(&format!("\n{key}=")).unwrap() as u64;
        self.file.write_all_at(b"#", at).unwrap();
        let got = self.dumped(level, rules);
        self.file.write_all_at(&key.as_bytes()[..1], at).unwrap();
        got
    }

    fn dumped(&self, level: u8, rules: Rules) -> Dumped {
        let dead = DeadKernel::open(&self.path, true).unwrap();
        let options = Options {
            level: DumpLevel::new(level).unwrap(),
            compression: Compression::None,
            threads: 0,
            mmap: true,
            strict: rules.is_strict(),
            window: None,
        };
        let out = MemoryFile::default();
        let summary = dump(&dead, &options, &out, &mut Silent).unwrap();
        let mut log = Vec::new();
        let log = dead.dmesg(&mut log).is_ok().then_some(log);
        Dumped {
            kept: BTreeSet::from_iter(Dump::parse(out.into_bytes()).unwrap().kept()),
            level: summary.level.bits(),
            log: log.map(|log| String::from_utf8(log).unwrap()),
            warnings: [dead.warnings(), &summary.warnings].concat(),
        }
    }

    /// Demands that no page is lost that has to be kept.
    fn loses_nothing(&self, got: &Dumped, rules: Rules) -> Result<(), String> {
        let expected = self.vmcore.kept(31, rules);
        let mut lost = expected.difference(&got.kept);
        let count = lost.clone().count();
        lost.next().map_or(Ok(()), |first| {
            Err(format!("{count} pages too few, such as {first:#x}"))
        })
    }
}

/// Every key, one at a time: the same pages and the same log. With `but`, only no page too few.
fn answered(kernel: FakeKernel, but: &[&str]) {
    let scene = Scene::new(kernel);
    let vmcore = &scene.vmcore;
    let expected = vmcore.kept(31, Rules::Right);
    let mut wrong = Vec::new();
    for key in scene.keys() {
        let got = scene.without(&key, 31, Rules::Right);
        let mut fail =
            |what: String| wrong.push(format!("without {key}: {what}: {:?}", got.warnings));
        if let Err(what) = scene.loses_nothing(&got, Rules::Right) {
            fail(what);
        }
        if but.contains(&key.as_str()) {
            continue;
        }
        if got.level != 31 || got.kept != expected {
            let (pages, right) = (got.kept.len(), expected.len());
            fail(format!("level {}, {pages} pages of {right}", got.level));
        }
        if got.log.as_ref() != Some(&vmcore.log) {
            fail(format!("log {:?}", got.log));
        }
    }
    assert!(
        wrong.is_empty(),
        "{:?} {:?}:\n{}",
        vmcore.machine,
        vmcore.generation,
        wrong.join("\n")
    );
}

/// Every key without tables to ask: the level that is left, 31 where the table says nothing.
fn degraded(kernel: FakeKernel, rules: Rules, table: &[(&str, u8)]) {
    let scene = Scene::new(kernel);
    let mut wrong = Vec::new();
    let keys = scene.keys();
    for (key, _) in table {
        assert!(keys.iter().any(|k| k == key), "no {key} in {keys:?}");
    }
    for key in keys {
        let got = scene.without(&key, 31, rules);
        let level = table.iter().find(|(k, _)| *k == key).map_or(31, |t| t.1);
        if got.level != level {
            wrong.push(format!(
                "(\"{key}\", {}), not {level} {:?}",
                got.level, got.warnings
            ));
        }
        if level != 31 && got.warnings.is_empty() {
            wrong.push(format!("without {key} there is no warning"));
        }
        if let Err(what) = scene.loses_nothing(&got, rules) {
            wrong.push(format!("without {key}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{rules:?}:\n{}", wrong.join("\n"));
}

/// Keys that healthy kernels may lack: that they are missing is no reason to read tables. Page tables are found by the last one.
const OPTIONAL: [&str; 3] = [
    "NUMBER(PG_hwpoison)",
    "NUMBER(PAGE_UNACCEPTED_MAPCOUNT_VALUE)",
    "SYMBOL(swapper_pg_dir)",
];

/// Page types are constants of an enum since 6.12 only.
const BEFORE_6_12: [&str; 3] = [
    "NUMBER(PG_hwpoison)",
    "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)",
    "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)",
];

/// Before 6.0 VMCOREINFO does not say where the symbols are.
const BEFORE_6_0: [&str; 5] = [
    BEFORE_6_12[0],
    BEFORE_6_12[1],
    BEFORE_6_12[2],
    "SYMBOL(mem_section)",
    "SYMBOL(prb)",
];

macro_rules! answered {
    ($($name:ident $kernel:expr, $form:expr, $but:expr)*) => {$(
        #[test]
        fn $name() {
            let kernel = $kernel.btf();
            answered(Option::into_iter($form).fold(kernel, FakeKernel::kallsyms), &$but);
        }
    )*};
}

answered! {
    keys_of_5_10 FakeKernel::zoo(Generation::V5_10), None, BEFORE_6_0
    keys_of_6_1 FakeKernel::zoo(Generation::V6_1), Some(Kallsyms::AbsolutePercpu), BEFORE_6_12
    keys_of_6_4 FakeKernel::zoo(Generation::V6_4), Some(Kallsyms::AbsolutePercpu), BEFORE_6_12
    keys_of_6_6 FakeKernel::zoo(Generation::V6_6), Some(Kallsyms::AbsolutePercpu), BEFORE_6_12
    keys_of_6_12 FakeKernel::zoo(Generation::V6_12), Some(Kallsyms::AbsolutePercpu), OPTIONAL[..2]
    keys_of_6_18 FakeKernel::zoo(Generation::V6_18), Some(Kallsyms::Relative), OPTIONAL[..2]
    keys_of_7_1 FakeKernel::zoo(Generation::V7_1).five_levels(), Some(Kallsyms::PlaceRelative), OPTIONAL[..2]
    keys_of_arm64 FakeKernel::arm64_zoo(Arm64::ALL[0], Generation::V6_12), Some(Kallsyms::Relative), OPTIONAL
    keys_of_arm64_16k FakeKernel::arm64_zoo(Arm64::ALL[5], Generation::V7_1), Some(Kallsyms::PlaceRelative), OPTIONAL
    keys_of_arm64_64k FakeKernel::arm64_zoo(Arm64::ALL[9], Generation::V6_18), Some(Kallsyms::Relative), OPTIONAL
}

/// The level that is left of 31 without a key that nothing else answers, since 6.12.
const LEVELS: [(&str, u8); 14] = [
    ("SYMBOL(mem_section)", 1),
    ("SIZE(mem_section)", 1),
    ("OFFSET(mem_section.section_mem_map)", 1),
    ("SIZE(page)", 1),
    ("OFFSET(page.flags)", 31 & !6),
    ("OFFSET(page.mapping)", 31 & !14),
    ("OFFSET(page._mapcount)", 31 & !24),
    ("OFFSET(page.private)", 31 & !16),
    ("NUMBER(PG_lru)", 31 & !6),
    ("NUMBER(PG_private)", 31 & !2),
    ("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", 31 & !16),
    ("OFFSET(page.compound_head)", 31 & !14),
    ("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", 31 & !24),
    ("SYMBOL(swapper_pg_dir)", 1),
];

/// The table with some lines changed.
fn with(changes: &[(&'static str, &'static str, u8)]) -> Vec<(&'static str, u8)> {
    let mut table = LEVELS[..13].to_vec();
    for (key, name, level) in changes {
        let line = table.iter_mut().find(|line| line.0 == *key).unwrap();
        *line = (*name, *level);
    }
    table
}

#[test]
fn levels_of_6_12() {
    let kernel = FakeKernel::zoo(Generation::V6_12);
    degraded(kernel.clone(), Rules::Right, &with(&[]));
    // makedumpfile takes a page flag for PG_slab.
    let flags = "OFFSET(page.flags)";
    degraded(kernel, Rules::Strict, &with(&[(flags, flags, 1)]));
}

#[test]
fn levels_of_6_1() {
    let (flags, mapcount) = ("OFFSET(page.flags)", "OFFSET(page._mapcount)");
    let slab = ("NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)", "NUMBER(PG_slab)", 7);
    let table = with(&[(flags, flags, 1), (mapcount, mapcount, 15), slab]);
    for rules in Rules::BOTH {
        degraded(FakeKernel::zoo(Generation::V6_1), rules, &table);
    }
}

#[test]
fn levels_of_7_1_on_arm64() {
    let head = "OFFSET(page.compound_head)";
    let mut table = with(&[(head, "OFFSET(page.compound_info)", 17)]);
    table.push(LEVELS[13]);
    let kernel = FakeKernel::arm64_zoo(Arm64::ALL[2], Generation::V7_1);
    degraded(kernel, Rules::Right, &table);
}
