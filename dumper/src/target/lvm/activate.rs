//! Making the volumes: which tables, and handing them to the device-mapper.

use super::disk::Physical;
use super::group::{Group, Run, Volume, mapped_name};
use crate::sys::dm::{self, HEADER};
use std::fs::File;
use std::io;
use std::path::Path;

const CONTROL: &str = "/dev/mapper/control";
const VERSION: [u32; 3] = [4, 0, 0];
const REMOVE_ALL: u8 = 1;
const CREATE: u8 = 3;
const REMOVE: u8 = 4;
/// Suspends, or without the flag resumes.
const SUSPEND: u8 = 6;
const LOAD: u8 = 9;
const NAME_MAX: usize = 127;
const NAME_AT: usize = 48;
const UUID_AT: usize = 176;

/// What became of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// `group/volume`.
    pub name: String,
    /// Why it is not there.
    pub why: Option<String>,
    /// It has snapshots.
    pub has_snapshots: bool,
}

/// A physical volume and its device number, `major:minor`.
pub(super) type Device<'a> = (&'a str, &'a Physical);

/// Activates every linear volume whose physical volumes are all among `devices`.
#[must_use]
pub fn activate(devices: &[(&str, &Physical)]) -> Vec<Activation> {
    let control = File::options()
        .read(true)
        .write(true)
        .open(Path::new(CONTROL));
    let make = |group: &Group, volume: &Volume, table: &[Line]| match &control {
        Ok(control) => make(control, group, volume, table).map_err(|e| e.to_string()),
        Err(e) => Err(format!(
            "{CONTROL}: {e}: the module dm_mod is probably not in the image, build it anew with baredumpctl image"
        )),
    };
    let mut done = Vec::new();
    for group in newest(devices) {
        for volume in &group.volumes {
            let table = table(volume, devices);
            let made = table.and_then(|table| make(group, volume, &table));
            done.push(Activation {
                name: format!("{}/{}", group.name, volume.name),
                why: made.err(),
                has_snapshots: volume.has_snapshots,
            });
        }
    }
    done
}

/// Of each group the newest metadata.
fn newest<'a>(devices: &[Device<'a>]) -> Vec<&'a Group> {
    let mut groups: Vec<&Group> = Vec::new();
    for group in devices
        .iter()
        .filter_map(|(_, physical)| physical.group.as_ref())
    {
        match groups.iter_mut().find(|other| other.id == group.id) {
            Some(other) if other.seqno < group.seqno => *other = group,
            Some(_) => {}
            None => groups.push(group),
        }
    }
    groups
}

/// A line of a table of the device-mapper.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    start: u64,
    len: u64,
    parameters: String,
}

fn table(volume: &Volume, devices: &[Device<'_>]) -> Result<Vec<Line>, String> {
    let line = |run: &Run| {
        let mut found = devices.iter().filter(|(_, p)| p.id == run.physical);
        match (found.next(), found.next()) {
            (Some((number, _)), None) => Ok(Line {
                start: run.start,
                len: run.len,
                parameters: format!("{number} {}", run.at),
            }),
            (None, _) => Err("not all of its physical volumes are there".into()),
            (Some(_), Some(_)) => Err("two devices are the same physical volume".into()),
        }
    };
    volume.runs.as_ref()?.iter().map(line).collect()
}

fn make(control: &File, group: &Group, volume: &Volume, table: &[Line]) -> io::Result<()> {
    let name = mapped_name(&group.name, &volume.name);
    if name.len() > NAME_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let uuid = format!("LVM-{}{}", group.id, volume.id);
    match dm::command(control, CREATE, &mut request(&name, &uuid, &[])) {
        // It is there from an earlier look.
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => return Ok(()),
        done => done?,
    }
    let loaded = dm::command(control, LOAD, &mut request(&name, "", table))
        .and_then(|()| dm::command(control, SUSPEND, &mut request(&name, "", &[])));
    if loaded.is_err() {
        let _ = dm::command(control, REMOVE, &mut request(&name, "", &[]));
    }
    loaded
}

/// Takes all volumes away that nobody uses.
///
/// # Errors
/// As ioctl(2). That there is no device-mapper is none.
pub fn remove_all() -> io::Result<()> {
    match File::options().read(true).write(true).open(CONTROL) {
        Ok(control) => dm::command(&control, REMOVE_ALL, &mut request("", "", &[])),
        Err(_) => Ok(()),
    }
}

/// A `struct dm_ioctl` with a table of linear targets behind it.
fn request(name: &str, uuid: &str, table: &[Line]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    let mut word = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    for (i, part) in VERSION.into_iter().enumerate() {
        word(i * 4, part);
    }
    word(16, u32::try_from(HEADER).unwrap_or(0));
    word(20, u32::try_from(table.len()).unwrap_or(0));
    bytes[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
    bytes[UUID_AT..UUID_AT + uuid.len()].copy_from_slice(uuid.as_bytes());
    for line in table {
        target(&mut bytes, line);
    }
    let size = u32::try_from(bytes.len()).unwrap_or(0);
    bytes[12..16].copy_from_slice(&size.to_ne_bytes());
    bytes
}

/// `struct dm_target_spec`, then the parameters up to a multiple of 8.
fn target(bytes: &mut Vec<u8>, line: &Line) {
    let len = (40 + line.parameters.len() + 1).next_multiple_of(8);
    let end = bytes.len() + len;
    bytes.extend_from_slice(&line.start.to_ne_bytes());
    bytes.extend_from_slice(&line.len.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(0).to_ne_bytes());
    bytes.extend_from_slice(b"linear\0\0\0\0\0\0\0\0\0\0");
    bytes.extend_from_slice(line.parameters.as_bytes());
    bytes.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::super::group::tests::TEXT;
    use super::super::text::parse;
    use super::*;

    fn physical(id: &str, text: Option<&str>) -> Physical {
        Physical {
            id: id.into(),
            group: text.and_then(|text| Group::of(&parse(text)?)),
        }
    }

    const FIRST: &str = "abcdefghijklmnopqrstuvwxyz012345";
    const SECOND: &str = "11111122223333444455556666777777";

    #[test]
    fn the_newest_metadata_make_the_tables() {
        let newer = TEXT
            .replace("seqno = 7", "seqno = 8")
            .replace("crash {", "later {");
        let (first, second) = (physical(FIRST, Some(TEXT)), physical(SECOND, Some(&newer)));
        let devices = [("254:16", &first), ("254:32", &second)];
        let groups = newest(&devices);
        assert_eq!((groups.len(), groups[0].seqno), (1, 8));
        let volume = &groups[0].volumes[0];
        assert_eq!(volume.name, "later");
        let lines = table(volume, &devices).unwrap();
        assert_eq!(lines[0].parameters, format!("254:16 {}", 2048 + 3 * 8192));
        assert_eq!((lines[1].start, lines[1].len), (81920, 40960));
        assert_eq!(lines[1].parameters, "254:32 2048");
        let missing = table(volume, &devices[1..]).unwrap_err();
        assert!(missing.contains("not all"), "{missing}");
        let twice = [("254:16", &first), ("254:48", &first), ("254:32", &second)];
        assert!(table(volume, &twice).unwrap_err().contains("two devices"));
    }

    #[test]
    fn requests_have_the_kernel_s_layout() {
        let line = |start| Line {
            start,
            len: 8,
            parameters: "254:16 2048".into(),
        };
        let bytes = request("vg-lv", "LVM-x", &[line(0), line(8)]);
        // 40 + 12 bytes, up to 56.
        assert_eq!(bytes.len(), HEADER + 2 * 56);
        assert_eq!(bytes[12..16], 424u32.to_ne_bytes());
        assert_eq!((bytes[20], &bytes[48..54]), (2, &b"vg-lv\0"[..]));
        assert_eq!(&bytes[176..182], b"LVM-x\0");
        let second = &bytes[HEADER + 56..];
        assert_eq!((second[0], second[8], second[20]), (8, 8, 56));
        assert_eq!(&second[24..31], b"linear\0");
        assert_eq!(&second[40..52], b"254:16 2048\0");
    }
}
