//! The list of files in `report.json`, judged as what it is: text that was written on a dying machine and lay on a server.

use crate::report::{FileEntry, Outcome, SCHEMA};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// The report's name in a dump directory.
pub const NAME: &str = "report.json";
/// No report is larger.
pub const MAX: u64 = 1 << 20;
/// No report lists more files: numbered parts are some thousands at most.
const MAX_FILES: usize = 10_000;
/// Longest name of a file.
const MAX_NAME: usize = 255;

/// Why a report is not used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any.
    #[error("it is larger than 1 MiB, which no report is")]
    TooLarge,
    /// No JSON, or other fields.
    #[error("it is no report of baredump: {0}")]
    Json(#[from] serde_json::Error),
    /// Of another program's future.
    #[error("it has schema {0}, this baredump knows {SCHEMA}: use a newer one")]
    Schema(u32),
    /// Too many files.
    #[error("it lists {0} files, more than any dump has")]
    TooMany(usize),
    /// A name that is none in the directory, as it is escaped in Rust.
    #[error("it lists {0}, which is no name of a file in its directory")]
    Name(String),
    /// The same name again.
    #[error("it lists {0} twice")]
    Twice(String),
    /// Parts of nothing that is listed.
    #[error("it says that {0} lies in parts, and does not list it")]
    Joined(String),
    /// Not 8 hex digits.
    #[error("the checksum of {0} is not 8 hex digits")]
    Checksum(String),
}

/// What a report says of the capture and its files.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Manifest {
    schema: u32,
    /// How the capture ended.
    pub outcome: Outcome,
    /// The files beside the report; every name is one in its directory, every checksum a number.
    pub files: Vec<FileEntry>,
    /// The dump, when it lies in parts that are among the files.
    #[serde(default)]
    pub joined: Option<FileEntry>,
}

impl Manifest {
    /// Parses the text of a report.
    ///
    /// # Errors
    /// When it is none, or names what cannot be beside it.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        if text.len() as u64 > MAX {
            return Err(ManifestError::TooLarge);
        }
        let manifest: Self = serde_json::from_slice(text)?;
        if manifest.schema != SCHEMA {
            return Err(ManifestError::Schema(manifest.schema));
        }
        if manifest.files.len() > MAX_FILES {
            return Err(ManifestError::TooMany(manifest.files.len()));
        }
        let mut names = HashSet::new();
        for file in &manifest.files {
            if !is_name(&file.name) {
                let name = crate::report::cut(&file.name, MAX_NAME);
                return Err(ManifestError::Name(format!("{name:?}")));
            }
            if !names.insert(file.name.as_str()) {
                return Err(ManifestError::Twice(file.name.clone()));
            }
        }
        for file in manifest.files.iter().chain(&manifest.joined) {
            if file.crc32.is_some() && checksum(file).is_none() {
                return Err(ManifestError::Checksum(file.name.clone()));
            }
        }
        if let Some(joined) = &manifest.joined
            && !names.contains(joined.name.as_str())
        {
            return Err(ManifestError::Joined(format!(
                "{:?}",
                crate::report::cut(&joined.name, MAX_NAME)
            )));
        }
        Ok(manifest)
    }

    /// The files that make the joined one, in its order: `NAME`, `NAME.2`, …; none when the dump does not lie in parts.
    pub fn parts(&self) -> Vec<&FileEntry> {
        let Some(joined) = &self.joined else {
            return Vec::new();
        };
        let files = self.files.iter().map(|file| (file.name.as_str(), file));
        let by_name: HashMap<_, _> = files.collect();
        let first = by_name.get(joined.name.as_str()).copied().into_iter();
        let rest = (2..).map(|number: u32| format!("{}.{number}", joined.name));
        let rest = rest.map_while(|name| by_name.get(name.as_str()).copied());
        first.chain(rest).collect()
    }
}

/// The checksum of a file, when it is known.
pub fn checksum(file: &FileEntry) -> Option<u32> {
    let digits = file.crc32.as_deref()?;
    let hex = digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| hex)
}

/// Whether this is a name in a directory, and harmless on a terminal.
fn is_name(name: &str) -> bool {
    let bad = |c: char| c == '/' || c.is_control();
    !matches!(name, "" | "." | ".." | NAME) && name.len() <= MAX_NAME && !name.contains(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn parse(entries: &[FileEntry]) -> Result<Manifest, ManifestError> {
        let report = Report {
            files: entries.to_vec(),
            ..Report::default()
        };
        Manifest::parse(report.to_json().unwrap().as_bytes())
    }

    #[test]
    fn the_files_of_a_report() {
        let files = [
            FileEntry::new("vmcore", 7, Some(0xbeef)),
            FileEntry::new("vmcore-dmesg.txt.age", 0, None),
        ];
        let manifest = parse(&files).unwrap();
        assert_eq!(manifest.files, files);
        assert_eq!(checksum(&files[0]), Some(0xbeef));
        assert_eq!(checksum(&files[1]), None);
    }

    #[test]
    fn parts_follow_each_other() {
        let names = [
            "vmcore.flat.2",
            "vmcore-dmesg.txt",
            "vmcore.flat",
            "vmcore.flat.3",
            "vmcore.flat.5",
        ];
        let mut report = Report::default();
        names
            .iter()
            .for_each(|name| report.file(FileEntry::new(name, 1, None)));
        let parse =
            |report: &Report| Manifest::parse(report.to_json().unwrap().as_bytes()).unwrap();
        assert!(parse(&report).parts().is_empty());
        report.joined = Some(FileEntry::new("vmcore.flat", 3, None));
        let manifest = parse(&report);
        let found: Vec<_> = manifest.parts().iter().map(|file| &*file.name).collect();
        assert_eq!(found, ["vmcore.flat", "vmcore.flat.2", "vmcore.flat.3"]);
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../vmcore",
            "a/b",
            "a\0b",
            "\x1b[2J",
            &long,
            NAME,
        ] {
            let error = parse(&[FileEntry::new(name, 0, None)]).unwrap_err();
            assert!(matches!(error, ManifestError::Name(_)), "{name}: {error}");
            assert!(!error.to_string().contains('\x1b'));
        }
        let twice = [FileEntry::new("a", 0, None), FileEntry::new("a", 1, None)];
        assert!(matches!(parse(&twice), Err(ManifestError::Twice(_))));
        let many: Vec<_> = (0..=MAX_FILES)
            .map(|n| FileEntry::new(&n.to_string(), 0, None))
            .collect();
        assert!(matches!(parse(&many), Err(ManifestError::TooMany(_))));
    }

    #[test]
    fn other_texts_are_refused() {
        for digits in ["", "+0000001", "0000000", "000000000", "0000000g"] {
            let mut file = FileEntry::new("a", 0, None);
            file.crc32 = Some(digits.into());
            assert!(matches!(parse(&[file]), Err(ManifestError::Checksum(_))));
        }
        let text = Report::default().to_json().unwrap();
        for (joined, hex) in [("../a", "00000000"), ("a", "no")] {
            let files = "\"files\": [{\"name\":\"a\",\"bytes\":0,\"crc32\":null}],";
            let entry =
                format!("\"joined\": {{\"name\":\"{joined}\",\"bytes\":0,\"crc32\":\"{hex}\"}},");
            let text = text.replace("\"files\": [],", &format!("{files}{entry}"));
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            let fits = matches!(error, ManifestError::Joined(_) | ManifestError::Checksum(_));
            assert!(fits, "{error}");
        }
        let newer = text.replace("\"schema\": 1", "\"schema\": 2");
        let error = Manifest::parse(newer.as_bytes()).unwrap_err();
        assert!(matches!(error, ManifestError::Schema(2)), "{error}");
        for text in ["", "{}", "[[[[", "{\"schema\":1,\"files\":[]}"] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, ManifestError::Json(_)), "{error}");
        }
        let large = " ".repeat((1 << 20) + 1);
        assert!(matches!(
            Manifest::parse(large.as_bytes()),
            Err(ManifestError::TooLarge)
        ));
    }
}
