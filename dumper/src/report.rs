//! `report.json`: what happened, in one file beside the dump. Schema version 1.
//!
//! It is written first with the outcome `started`, so that a dump without an end is told from one without a report, and replaced
//! atomically at the end. Text of the dead kernel is bounded here; control characters are escaped by JSON.

use crate::compress::Compression;
use crate::dump::{Budget, PageCounts};
use crate::filter::DumpLevel;
use crate::kernel::printk::Place as LogPlace;
use crate::net::Up;
use crate::target::{Part, Place};
use serde::{Deserialize, Serialize};

/// The version of the schema below. It grows when a field changes its meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// Bytes kept of any one text.
const TEXT_MAX: usize = 512;

/// How a capture ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has not ended: the report was not replaced.
    #[default]
    Started,
    /// There is no dump of memory.
    Failed,
    /// The dump lacks pages and says so itself.
    Partial,
    /// Every page that should be in the dump is in it.
    Complete,
}

impl Status {
    /// The word of the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Complete => "complete",
        }
    }

    /// The status of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Started, Self::Failed, Self::Partial, Self::Complete]
            .into_iter()
            .find(|s| s.name() == text)
    }
}

/// Status and reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Why it is not complete.
    pub reason: Option<String>,
}

/// One run of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// `config`, `modules`, `mount`, `capture`, `report`.
    pub step: String,
    /// Number of the target, from 1; 0 for steps without one.
    pub target: u8,
    /// `ok`, `partial`, `failed`, `died` or `hung`.
    pub result: String,
    /// Why it is not `ok`.
    pub reason: Option<String>,
    /// Duration.
    pub ms: u64,
}

/// A part of the capture and how long it took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Duration.
    pub ms: u64,
}

/// Memory of the capture kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// `MemTotal`.
    pub total_kb: u64,
    /// The lowest `MemAvailable` seen.
    pub lowest_available_kb: u64,
    /// The largest resident set of any step.
    pub peak_rss_kb: u64,
}

/// A file beside the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name in the dump directory.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// CRC-32 (IEEE) as 8 hex digits, computed while writing; unknown when the writer died.
    pub crc32: Option<String>,
}

impl FileEntry {
    /// A file and its checksum, if it is known.
    pub fn new(name: &str, bytes: u64, crc32: Option<u32>) -> Self {
        Self {
            name: name.into(),
            bytes,
            crc32: crc32.map(|crc32| format!("{crc32:08x}")),
        }
    }
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Node name of the dead kernel, as it was in its memory.
    pub host: Option<String>,
    /// Machine id, 32 hex digits.
    pub machine_id: Option<String>,
    /// Boot id of the dead kernel, 32 hex digits.
    pub boot_id: Option<String>,
    /// Its release.
    pub kernel_release: Option<String>,
    /// Its build id.
    pub build_id: Option<String>,
    /// When it died, seconds since 1970.
    pub crash_time: Option<i64>,
    /// The line of its log that says most of why it died.
    pub panic_line: Option<String>,
    /// Where that was: symbol, task and CPU, as far as the log tells.
    #[serde(default)]
    pub panic_place: LogPlace,
    /// The target that holds this report.
    pub target: String,
    /// Directory of the dump on the target's file system.
    pub dir: String,
    /// False when the target's file system keeps neither owner nor mode: the dump is readable for whoever may read the device.
    pub modes_kept: bool,
    /// False when the target cannot rename: a file that is not whole may have its final name there.
    #[serde(default = "yes")]
    pub renames: bool,
    /// False when the target does not say that what it took is on its disk.
    #[serde(default = "yes")]
    pub syncs: bool,
    /// The way to the target, where it is a network.
    #[serde(default)]
    pub network: Option<Up>,
    /// Every step so far.
    pub attempts: Vec<Attempt>,
    /// Parts of the capture.
    pub phases: Vec<Phase>,
    /// Pages by what became of them.
    pub pages: PageCounts,
    /// Size of the vmcore.
    pub bytes: u64,
    /// The dump level in force.
    pub level: DumpLevel,
    /// Page compression.
    pub compression: Compression,
    /// Memory of the capture kernel.
    pub memory: Memory,
    /// What memory the dump was allowed.
    pub budget: Option<Budget>,
    /// The other files of the directory.
    pub files: Vec<FileEntry>,
    /// The dump as cat(1) makes it of its parts, where the target takes no files as large; the parts are among the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<FileEntry>,
    /// Everything that was not as it should be.
    pub warnings: Vec<String>,
}

const fn yes() -> bool {
    true
}

impl Default for Report {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            outcome: Outcome::default(),
            host: None,
            machine_id: None,
            boot_id: None,
            kernel_release: None,
            build_id: None,
            crash_time: None,
            panic_line: None,
            panic_place: LogPlace::default(),
            target: String::new(),
            dir: String::new(),
            modes_kept: true,
            renames: true,
            syncs: true,
            network: None,
            attempts: Vec::new(),
            phases: Vec::new(),
            pages: PageCounts::default(),
            bytes: 0,
            level: DumpLevel::MAX,
            compression: Compression::default(),
            memory: Memory::default(),
            budget: None,
            files: Vec::new(),
            joined: None,
            warnings: Vec::new(),
        }
    }
}

impl Report {
    /// Says where the dump is, and what holds of files there.
    pub fn at(&mut self, place: &dyn Place) {
        let manners = place.manners();
        self.dir = place.path().to_owned();
        self.modes_kept = manners.keeps_modes;
        self.renames = manners.renames;
        self.syncs = manners.syncs;
    }

    /// Adds a part of the capture.
    pub fn phase(&mut self, name: &str, since: std::time::Instant) {
        self.phases.push(Phase {
            name: name.into(),
            ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Adds a warning, bounded in number and length.
    pub fn warn(&mut self, text: &str) {
        if self.warnings.len() < 64 {
            self.warnings.push(bounded(text));
        }
    }

    /// Puts `file` in the place of an older entry of its name.
    pub fn file(&mut self, file: FileEntry) {
        self.files.retain(|f| f.name != file.name);
        self.files.push(file);
    }

    /// The same for a file that may lie in parts, which have the names: what is known of the whole is no part's.
    pub fn file_in_parts(&mut self, mut whole: FileEntry, parts: &[Part]) {
        if let Some(first) = parts.first() {
            whole.name.clone_from(&first.name);
        }
        if parts.len() < 2 {
            return self.file(whole);
        }
        for part in parts {
            self.file(FileEntry::new(&part.name, part.bytes, part.crc32));
        }
        self.joined.get_or_insert(whole);
    }

    /// The text of the file.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which no content of a report causes.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// At most 512 bytes of a text that may be hostile.
pub fn bounded(text: &str) -> String {
    without_middle(text, TEXT_MAX)
}

/// The longest start of `text` that has at most `max` bytes and ends between two characters.
pub fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// The same in at most `max` bytes, without its middle where it is longer: what to do about an error is at its end.
pub fn without_middle(text: &str, max: usize) -> String {
    const GAP: &str = " … ";
    if text.len() <= max {
        return text.to_owned();
    }
    let head = cut(text, max.saturating_sub(GAP.len()) / 2);
    let room = max.saturating_sub(GAP.len() + head.len());
    let tail = (text.len() - room..=text.len()).find(|&at| text.is_char_boundary(at));
    let tail = tail.and_then(|at| text.get(at..)).unwrap_or_default();
    format!("{head}{GAP}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_hostile_text() {
        let mut report = Report {
            host: Some(bounded("a\u{1b}[2J\u{0}\"\n")),
            ..Report::default()
        };
        report.outcome = Outcome {
            status: Status::Partial,
            reason: Some("no space".into()),
        };
        report.attempts.push(Attempt {
            step: "mount".into(),
            target: 1,
            result: "ok".into(),
            reason: None,
            ms: 3,
        });
        report.file(FileEntry::new("vmcore", 1, Some(0)));
        report.file(FileEntry::new("vmcore", 9, Some(0xbeef)));
        (0..100).for_each(|n| report.warn(&format!("{n}")));
        let json = report.to_json().unwrap();
        assert!(
            json.contains("\"status\": \"partial\"") && json.contains("\"crc32\": \"0000beef\""),
            "{json}"
        );
        assert!(!json.trim_end().chars().any(|c| c.is_control() && c != '\n'));
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        assert_eq!((report.files.len(), report.warnings.len()), (1, 64));
    }

    #[test]
    fn parts_have_the_names() {
        let part = |name: &str| Part {
            crc32: Some(7),
            ..Part::new(name, 5)
        };
        let whole = || FileEntry::new("vmcore.flat-incomplete", 10, Some(9));
        let mut report = Report::default();
        report.file_in_parts(whole(), &[part("vmcore.flat"), part("vmcore.flat.2")]);
        let files = ["vmcore.flat", "vmcore.flat.2"].map(|name| FileEntry::new(name, 5, Some(7)));
        assert_eq!(report.files, files);
        assert_eq!(
            report.joined,
            Some(FileEntry::new("vmcore.flat", 10, Some(9)))
        );
        let mut report = Report::default();
        report.file_in_parts(whole(), &[part("vmcore.flat")]);
        assert_eq!(report.files, [FileEntry::new("vmcore.flat", 10, Some(9))]);
    }

    #[test]
    fn texts_are_bounded_at_a_character() {
        let long = "ä".repeat(400) + "x";
        assert_eq!(bounded(&long).len(), 512);
        assert_eq!(bounded(&("x".to_owned() + &long)).len(), 511);
        assert!(Status::Complete > Status::Partial && Status::Partial > Status::Failed);
        assert_eq!(Status::parse("partial"), Some(Status::Partial));
    }
}
