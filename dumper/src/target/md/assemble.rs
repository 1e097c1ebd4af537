//! Starting and stopping arrays.

use super::superblock::Member;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NEW_ARRAY: &str = "/sys/module/md_mod/parameters/new_array";
const BLOCK: &str = "/sys/block";
/// What the kernel takes after `md_`.
const NAME_MAX: usize = 24;

/// An array of which members were found.
#[derive(Debug, PartialEq, Eq)]
pub struct Array<'a> {
    /// Name for messages.
    pub name: &'a str,
    /// Name of its node.
    node: String,
    version: &'a str,
    /// Device numbers of the members that know its last state.
    fresh: Vec<&'a str>,
    /// Whether all members are there that were in it at last.
    pub whole: bool,
}

/// The arrays of these members, each with its device number `major:minor`; or why one is not started here.
#[must_use]
pub fn arrays<'a>(members: &[(&'a str, &'a Member)]) -> Vec<Result<Array<'a>, String>> {
    let mut ids: Vec<_> = members.iter().map(|(_, m)| m.array.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .filter_map(|id| array(id, members))
        .collect()
}

fn array<'a>(id: &str, members: &[(&'a str, &'a Member)]) -> Option<Result<Array<'a>, String>> {
    let all = || members.iter().filter(|(_, m)| m.array == id);
    let newest = all().max_by_key(|(_, m)| m.events)?.1;
    let refused = |why: String| Some(Err(format!("md array {} {why}", newest.name)));
    if newest.level != 1 {
        return refused(format!(
            "is {}, and only RAID1 is assembled here",
            level(newest.level)
        ));
    }
    if newest.reshaping {
        return refused("is being reshaped, which is not continued here".into());
    }
    // The kernel too takes a member that is one update behind.
    let is_fresh = |m: &Member| m.events.saturating_add(1) >= newest.events && m.role.is_some();
    let mut roles = Vec::new();
    let mut fresh = Vec::new();
    for (number, member) in all().filter(|(_, m)| is_fresh(m)) {
        if roles.contains(&member.role) {
            return refused("has two devices that are the same member".into());
        }
        roles.push(member.role);
        fresh.push(*number);
    }
    if fresh.is_empty() {
        return refused("has no member that is up to date".into());
    }
    Some(Ok(Array {
        name: &newest.name,
        node: node(newest),
        version: &newest.version,
        whole: fresh.len() >= usize::try_from(newest.active).unwrap_or(usize::MAX),
        fresh,
    }))
}

fn level(level: i32) -> String {
    match level {
        -1 => "linear".into(),
        -4 => "multipath".into(),
        n => format!("RAID{n}"),
    }
}

/// `md0` for an array that is called 0, `md_crash` for one with a name.
fn node(member: &Member) -> String {
    if member.name.len() <= 3
        && member
            .name
            .parse::<u32>()
            .is_ok_and(|n| n.to_string() == member.name)
    {
        return format!("md{}", member.name);
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_plain = (1..=NAME_MAX).contains(&member.name.len()) && member.name.chars().all(good);
    let name = if is_plain {
        &member.name
    } else {
        crate::report::cut(&member.array, NAME_MAX)
    };
    format!("md_{name}")
}

/// Starts an array.
///
/// # Errors
/// With what the kernel did not take.
pub fn start(array: &Array<'_>) -> Result<(), String> {
    let failed = |what: &str, e: &io::Error| {
        let hint = if e.kind() == io::ErrorKind::NotFound {
            ": the modules md_mod and raid1 are probably not in the image, build it anew with baredumpctl image"
        } else {
            ""
        };
        format!(
            "md array {} cannot be started ({what}: {e}){hint}",
            array.name
        )
    };
    match fs::write(NEW_ARRAY, &array.node) {
        // It is there from an earlier look.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        done => done.map_err(|e| failed("new_array", &e))?,
    }
    let md = Path::new(BLOCK).join(&array.node).join("md");
    let run = || {
        let put =
            |file: &str, value: &str| fs::write(md.join(file), value).map_err(|e| failed(file, &e));
        put("metadata_version", array.version)?;
        for number in &array.fresh {
            put("new_dev", number)?;
        }
        put("array_state", "read-auto")
    };
    if let Err(why) = run() {
        let _ = fs::write(md.join("array_state"), "clear");
        return Err(why);
    }
    // That it cannot be held back costs only time.
    let _ = fs::write(md.join("sync_action"), "frozen");
    Ok(())
}

/// Stops all arrays, so that their superblocks say they are clean.
///
/// # Errors
/// When one is still used.
pub fn stop_all() -> Result<(), String> {
    let mut busy = Vec::new();
    for md in running() {
        if let Err(e) = fs::write(md.join("array_state"), "clear") {
            busy.push(format!("{}: {e}", md.display()));
        }
    }
    if busy.is_empty() {
        Ok(())
    } else {
        Err(busy.join(", "))
    }
}

fn running() -> Vec<PathBuf> {
    let entries = fs::read_dir(BLOCK).into_iter().flatten().flatten();
    let md = entries.map(|entry| entry.path().join("md"));
    md.filter(|md| md.join("array_state").exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: Option<u16>, events: u64) -> Member {
        Member {
            version: "1.2".into(),
            array: "ab".repeat(16),
            name: name.into(),
            level: 1,
            events,
            role,
            active: 2,
            reshaping: false,
        }
    }

    #[test]
    fn only_those_that_know_the_last_state_are_taken() {
        let (a, b, c) = (
            member("crash", Some(0), 10),
            member("crash", Some(1), 11),
            member("crash", None, 11),
        );
        let stale = member("crash", Some(1), 5);
        let of = |members: &[(&'static str, &Member)]| {
            let made = arrays(members).remove(0).unwrap();
            (made.node, made.fresh.join(" "), made.whole)
        };
        assert_eq!(
            of(&[("8:0", &a), ("8:16", &b), ("8:32", &c)]),
            ("md_crash".into(), "8:0 8:16".into(), true)
        );
        assert_eq!(
            of(&[("8:0", &a), ("8:16", &stale)]),
            ("md_crash".into(), "8:0".into(), false)
        );
        let twice = arrays(&[("8:0", &a), ("8:16", &a)]).remove(0).unwrap_err();
        assert!(twice.contains("the same member"), "{twice}");
        let spare = arrays(&[("8:0", &c)]).remove(0).unwrap_err();
        assert!(spare.contains("up to date"), "{spare}");
    }

    #[test]
    fn other_levels_are_refused_by_name() {
        for (level, said) in [(0, "RAID0"), (5, "RAID5"), (10, "RAID10"), (-1, "linear")] {
            let other = Member {
                level,
                ..member("0", Some(0), 1)
            };
            let why = arrays(&[("8:0", &other)]).remove(0).unwrap_err();
            assert!(why.contains(&format!("is {said}, and only RAID1")), "{why}");
        }
        let shaping = Member {
            reshaping: true,
            ..member("0", Some(0), 1)
        };
        assert!(arrays(&[("8:0", &shaping)])[0].is_err());
    }

    #[test]
    fn nodes_have_the_array_s_name() {
        let node = |name: &str| super::node(&member(name, None, 0));
        assert_eq!(
            [node("0"), node("127"), node("crash")],
            ["md0", "md127", "md_crash"]
        );
        assert_eq!(node("../x"), format!("md_{}", "ab".repeat(12)));
        assert_eq!(node("007"), "md_007");
    }
}
