//! A volume group: which volumes it has, and of which extents of which physical volumes they are made.

use super::text::{Section, Value};
use serde::{Deserialize, Serialize};

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its id, without dashes.
    pub id: String,
    /// Number of the change that made it so.
    pub seqno: u64,
    /// Sectors of an extent.
    extent: u64,
    /// Name, id and first sector of each physical volume.
    physical: Vec<(String, String, u64)>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its id, without dashes.
    pub id: String,
    /// Extents of which it is made, or why it is not made here.
    pub runs: Result<Vec<Run>, String>,
    /// Snapshots are kept of it, which do not see what is written here.
    #[serde(default)]
    pub has_snapshots: bool,
}

/// A run of extents of one physical volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First sector in the volume.
    pub start: u64,
    /// Sectors.
    pub len: u64,
    /// Id of the physical volume.
    pub physical: String,
    /// First sector there.
    pub at: u64,
}

impl Group {
    /// The group of a metadata text.
    pub(super) fn of(text: &Section) -> Option<Self> {
        let (name, section) = text
            .sections()
            .find(|(_, section)| section.number("seqno").is_some())?;
        let mut group = Self {
            name: is_name(name).then(|| name.to_owned())?,
            id: id(section)?,
            seqno: section.number("seqno")?,
            extent: section.number("extent_size").filter(|&n| n > 0)?,
            physical: Vec::new(),
            volumes: Vec::new(),
        };
        for (name, physical) in section.section("physical_volumes")?.sections() {
            let start = physical.number("pe_start")?;
            group.physical.push((name.to_owned(), id(physical)?, start));
        }
        let Some(volumes) = section.section("logical_volumes") else {
            return Some(group);
        };
        let exported = section.has("status", "EXPORTED");
        let visible = volumes
            .sections()
            .filter(|(_, v)| v.has("status", "VISIBLE"));
        for (name, volume) in visible {
            let runs = if exported {
                Err("its group is exported".into())
            } else if is_part(volumes, name, &|segment, key| !is_origin(segment, key)) {
                Err("other volumes are made of it".into())
            } else {
                group.runs(volume)
            };
            group.volumes.push(Volume {
                name: is_name(name).then(|| name.to_owned())?,
                id: id(volume)?,
                runs,
                has_snapshots: is_part(volumes, name, &is_origin),
            });
        }
        Some(group)
    }

    fn runs(&self, volume: &Section) -> Result<Vec<Run>, String> {
        if !volume.has("status", "WRITE") {
            return Err("it is read-only".into());
        }
        let mut runs = Vec::new();
        for (_, segment) in volume.sections() {
            runs.push(self.run(segment)?);
        }
        runs.sort_by_key(|run| run.start);
        let mut end = 0;
        for run in &runs {
            if run.start != end {
                return Err("its segments do not follow each other".into());
            }
            end = run.start.checked_add(run.len).ok_or("it is too large")?;
        }
        if runs.is_empty() {
            return Err("it has no segments".into());
        }
        Ok(runs)
    }

    fn run(&self, segment: &Section) -> Result<Run, String> {
        let kind = segment.text("type").unwrap_or("?");
        let stripes = segment.number("stripe_count");
        if !matches!((kind, stripes), ("striped" | "linear", Some(1))) {
            return Err(match kind {
                "striped" => "it is striped".into(),
                kind => format!("it is of type {kind}"),
            });
        }
        let made = || {
            let [Value::Text(name), Value::Number(extent)] = segment.list("stripes")? else {
                return None;
            };
            let (_, physical, first) = self.physical.iter().find(|(other, ..)| other == name)?;
            let sectors = |key| segment.number(key)?.checked_mul(self.extent);
            Some(Run {
                start: sectors("start_extent")?,
                len: sectors("extent_count").filter(|&len| len > 0)?,
                physical: physical.clone(),
                at: extent.checked_mul(self.extent)?.checked_add(*first)?,
            })
        };
        made().ok_or_else(|| "its segments make no sense".into())
    }
}

/// Texts in segments that name no volume, whatever a volume is called.
const WORDS: &[&str] = &["type", "discards", "cache_mode", "policy"];

/// Whether `key` of a segment names the origin of a snapshot: a linear volume as others are, but for who reads the snapshot. One that a
/// snapshot is merged into is none.
fn is_origin(segment: &Section, key: &str) -> bool {
    key == "origin"
        && segment.text("type") == Some("snapshot")
        && segment.text("merging_store").is_none()
}

/// Whether a volume is named in the segments of others, by those keys that count.
fn is_part(volumes: &Section, name: &str, counts: &dyn Fn(&Section, &str) -> bool) -> bool {
    let is = |value: &Value| matches!(value, Value::Text(text) if text == name);
    let named = |segment: &Section| {
        let mut names = segment
            .0
            .iter()
            .filter(|(key, _)| !WORDS.contains(&key.as_str()) && counts(segment, key));
        names.any(|(_, value)| match value {
            Value::List(list) => list.iter().any(is),
            value => is(value),
        })
    };
    volumes
        .sections()
        .filter(|(other, _)| *other != name)
        .any(|(_, volume)| volume.sections().any(|(_, segment)| named(segment)))
}

/// What LVM allows in a name.
fn is_name(name: &str) -> bool {
    (1..=127).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b))
}

/// An id without its dashes.
fn id(section: &Section) -> Option<String> {
    let id = section.text("id")?.replace('-', "");
    (id.len() == 32 && id.is_ascii()).then_some(id)
}

/// The name that the device-mapper knows a volume by.
pub(in crate::target) fn mapped_name(group: &str, volume: &str) -> String {
    let doubled = |name: &str| name.replace('-', "--");
    format!("{}-{}", doubled(group), doubled(volume))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::text::parse;
    use super::*;

    /// As `vgcfgbackup` writes it, shortened.
    pub(in crate::target::lvm) const TEXT: &str = r#"vg-0 {
id = "aaaaaa-bbbb-cccc-dddd-eeee-ffff-000000"
seqno = 7
format = "lvm2"
status = ["RESIZEABLE", "READ", "WRITE"]
flags = []
extent_size = 8192
physical_volumes {
pv0 {
id = "abcdef-ghij-klmn-opqr-stuv-wxyz-012345"
device = "/dev/vdb"
status = ["ALLOCATABLE"]
pe_start = 2048
pe_count = 100
}
pv1 {
id = "111111-2222-3333-4444-5555-6666-777777"
pe_start = 2048
}
}
logical_volumes {
crash {
id = "cccccc-bbbb-cccc-dddd-eeee-ffff-000001"
status = ["READ", "WRITE", "VISIBLE"]
segment_count = 2
segment1 {
start_extent = 10
extent_count = 5
type = "striped"
stripe_count = 1
stripes = [
"pv1", 0
]
}
segment2 {
start_extent = 0
extent_count = 10
type = "striped"
stripe_count = 1	# linear
stripes = ["pv0", 3]
}
}
fast {
id = "cccccc-bbbb-cccc-dddd-eeee-ffff-000002"
status = ["READ", "WRITE", "VISIBLE"]
segment1 {
start_extent = 0
extent_count = 10
type = "striped"
stripe_count = 2
stripes = ["pv0", 20, "pv1", 20]
}
}
thin {
id = "cccccc-bbbb-cccc-dddd-eeee-ffff-000003"
status = ["READ", "WRITE", "VISIBLE"]
segment1 {
start_extent = 0
extent_count = 10
type = "thin"
thin_pool = "pool"
}
}
origin {
id = "cccccc-bbbb-cccc-dddd-eeee-ffff-000004"
status = ["READ", "WRITE", "VISIBLE"]
segment1 {
start_extent = 0
extent_count = 10
type = "striped"
stripe_count = 1
stripes = ["pv0", 40]
}
}
snapshot0 {
id = "cccccc-bbbb-cccc-dddd-eeee-ffff-000005"
status = ["READ", "WRITE"]
segment1 {
start_extent = 0
extent_count = 10
type = "snapshot"
origin = "origin"
cow_store = "pool"
}
}
}
}
# Generated by LVM2 version 2.03.16(2) (2022-05-18): Sat Nov 21 20:00:00 2026
contents = "Text Format Volume Group"
version = 1
"#;

    #[test]
    fn linear_volumes_have_runs_and_others_a_reason() {
        let group = Group::of(&parse(TEXT).unwrap()).unwrap();
        assert_eq!((group.name.as_str(), group.seqno), ("vg-0", 7));
        let names: Vec<_> = group.volumes.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["crash", "fast", "thin", "origin"]);
        let runs = group.volumes[0].runs.as_ref().unwrap();
        let run = |start, len, physical: &str, at| Run {
            start,
            len,
            physical: physical.into(),
            at,
        };
        let first = run(
            0,
            81920,
            "abcdefghijklmnopqrstuvwxyz012345",
            2048 + 3 * 8192,
        );
        let second = run(81920, 40960, "11111122223333444455556666777777", 2048);
        assert_eq!(*runs, [first, second]);
        let why = |n: usize| group.volumes[n].runs.clone().unwrap_err();
        assert_eq!(
            (why(1).as_str(), why(2).as_str()),
            ("it is striped", "it is of type thin")
        );
        // An origin is what it was before the snapshot.
        let origin = &group.volumes[3];
        let at = 2048 + 40 * 8192;
        let whole = run(0, 81920, "abcdefghijklmnopqrstuvwxyz012345", at);
        assert_eq!(origin.runs, Ok(vec![whole]));
        assert!(origin.has_snapshots && !group.volumes[0].has_snapshots);
    }

    #[test]
    fn what_a_snapshot_is_merged_into_and_its_store_are_not_made() {
        for (from, to) in [
            ("cow_store = \"pool\"", "merging_store = \"pool\""),
            ("cow_store = \"pool\"", "cow_store = \"origin\""),
            ("type = \"snapshot\"", "type = \"cache\""),
        ] {
            let text = TEXT.replacen(from, to, 1);
            let group = Group::of(&parse(&text).unwrap()).unwrap();
            let why = group.volumes[3].runs.clone().unwrap_err();
            assert_eq!(why, "other volumes are made of it");
        }
    }

    #[test]
    fn a_volume_may_be_called_like_a_kind() {
        for name in ["striped", "thin-pool"] {
            let text = TEXT.replace("crash {", &format!("{name} {{"));
            let text = text.replace("type = \"thin\"", "type = \"thin-pool\"");
            let group = Group::of(&parse(&text).unwrap()).unwrap();
            assert_eq!(group.volumes[0].name, name);
            assert!(group.volumes[0].runs.is_ok(), "{:?}", group.volumes[0]);
        }
    }

    #[test]
    fn lies_are_no_tables() {
        for (from, to, why) in [
            ("start_extent = 10", "start_extent = 11", "follow"),
            ("\"pv1\", 0", "\"pv9\", 0", "no sense"),
            ("extent_count = 5", "extent_count = 0", "no sense"),
            (
                "[\"pv0\", 3]",
                "[\"pv0\", 18446744073709551615]",
                "no sense",
            ),
            ("\"WRITE\", \"VISIBLE\"", "\"VISIBLE\"", "read-only"),
            ("[\"RESIZEABLE\"", "[\"EXPORTED\"", "exported"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            let group = Group::of(&parse(&text).unwrap()).unwrap();
            let said = group.volumes[0].runs.clone().unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        for (from, to) in [
            ("vg-0 {", ".. {"),
            ("extent_size = 8192", "extent_size = 0"),
            ("crash {", ".. {"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_eq!(Group::of(&parse(&text).unwrap()), None);
        }
    }

    #[test]
    fn hyphens_are_doubled() {
        assert_eq!(mapped_name("vg-0", "a-b"), "vg--0-a--b");
    }
}
