//! `baredump info`: what a vmcore or a dump holds.

use super::files::{names, open_any};
use super::options::Simple;
use super::{Done, Failure, harmless, help, print};
use crate::compress::Compression;
use crate::dump::{DeadKernel, Opened};
use crate::format::kdump::Dump;
use crate::vmcore::{Vmcore, VmcoreInfo};
use serde::Serialize;
use std::ffi::OsString;
use std::path::Path;

/// One page of facts; what a file does not say is left out.
#[derive(Serialize, Default)]
struct Facts {
    file: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    around: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header_version: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crash_time: Option<i64>,
    cpus: i64,
    page_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<usize>,
    memory_bytes: u64,
    max_mapnr: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dump_level: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_bytes: Option<u64>,
    warnings: Vec<String>,
}

pub(super) fn run(args: Vec<OsString>) -> Done {
    let args = Simple::parse(args, true)?;
    if args.help {
        return print(help::INFO);
    }
    if args.files.is_empty() {
        return Err(Failure::Usage(
            "expected FILE, or the parts of a split dump".into(),
        ));
    }
    let mut facts = match open_any(&args.files)? {
        Opened::Dump(dump) => of_dump(&dump),
        Opened::Elf(core) => of_vmcore(*core),
    };
    facts.file = names(&args.files);
    facts.around = args.files.first().and_then(|path| around(path));
    let value = serde_json::to_value(&facts).map_err(|e| Failure::Failed(e.to_string()))?;
    if args.json {
        return print(&format!("{value:#}\n"));
    }
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::String(s) => {
                text += &format!("{:16}{}\n", name.replace('_', " "), s.escape_debug())
            }
            serde_json::Value::Array(lines) => {
                for line in lines {
                    let line = harmless(line.as_str().unwrap_or_default());
                    text += &format!("{:16}{line}\n", "warning");
                }
            }
            other => text += &format!("{:16}{other}\n", name.replace('_', " ")),
        }
    }
    print(&text)
}

/// What is around the vmcore in a file.
fn around(path: &Path) -> Option<String> {
    let around = crate::dump::unwrap(path).ok()?.around;
    (!around.is_empty()).then(|| around.join(", "))
}

fn of_dump(dump: &Dump) -> Facts {
    let text = |index| Some(dump.utsname(index)).filter(|s| !s.is_empty());
    let info = dump
        .vmcoreinfo()
        .ok()
        .flatten()
        .map(|t| VmcoreInfo::parse(&t))
        .unwrap_or_default();
    let compression = Compression::ALL
        .iter()
        .find(|(_, _, flag)| *flag != 0 && dump.status() & flag != 0);
    Facts {
        kind: "kdump-compressed dump",
        architecture: text(4),
        kernel_release: text(2),
        host: text(1),
        build_id: info.text("BUILD-ID").map(str::to_owned),
        crash_time: Some(dump.crash_time()).filter(|t| *t != 0),
        cpus: dump.cpus().into(),
        page_size: dump.page_size().bytes(),
        memory_bytes: dump.exists().count() * dump.page_size().bytes() as u64,
        max_mapnr: dump.exists().len(),
        dump_level: Some(dump.level()),
        compression: Some(compression.map_or("none", |(_, name, _)| *name)),
        pages: Some(dump.kept().count()),
        complete: Some(!dump.is_incomplete()),
        file_bytes: Some(dump.len()),
        header_version: Some(dump.version()),
        files: Some(dump.files()).filter(|n| *n > 1),
        warnings: dump.cut().map(str::to_owned).into_iter().collect(),
        ..Facts::default()
    }
}

fn of_vmcore(core: Vmcore) -> Facts {
    let kernel = DeadKernel::understand(core, true);
    let (core, identity) = (kernel.core(), kernel.identity());
    Facts {
        kind: "ELF vmcore",
        architecture: kernel.arch().map(|a| a.name().to_owned()),
        kernel_release: identity.release.clone(),
        host: identity.nodename.clone(),
        build_id: identity.build_id.clone(),
        crash_time: identity.crash_time,
        cpus: core.notes().cpus.into(),
        page_size: kernel.page_size().bytes(),
        segments: Some(core.segments().len()),
        memory_bytes: core.extents().iter().map(|e| e.end - e.start).sum(),
        max_mapnr: crate::filter::max_mapnr(core, kernel.page_size()),
        complete: Some(!core.is_truncated()),
        warnings: kernel.warnings().to_vec(),
        ..Facts::default()
    }
}
