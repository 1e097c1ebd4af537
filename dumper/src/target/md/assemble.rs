//! Starting and stopping arrays.

use super::superblock::Member;
use crate::target::probe::read_member;
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
    /// Its UUID.
    id: &'a str,
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
    // The kernel too takes a member that is one update behind; but one that the others have lost is not what they are.
    let knows = |a: &Member, b: &Member| {
        let role = a.roles.get(usize::from(b.number)).copied();
        role.flatten() == b.role
    };
    let (mut roles, mut fresh, mut in_sync) = (Vec::new(), Vec::new(), 0);
    for (number, member) in all().filter(|(_, m)| m.role.is_some()) {
        if member.events.saturating_add(1) < newest.events {
            continue;
        }
        if !knows(newest, member) || !knows(member, newest) {
            if member.events == newest.events {
                return refused(
                    "has members that do not know of each other: each was in use without the other"
                        .into(),
                );
            }
            continue;
        }
        if roles.contains(&member.role) {
            return refused("has two devices that are the same member".into());
        }
        roles.push(member.role);
        fresh.push(*number);
        in_sync += usize::from(!member.rebuilding);
    }
    if in_sync == 0 {
        return refused("has no member that is up to date".into());
    }
    let active = newest.roles.iter().flatten().count();
    Some(Ok(Array {
        name: &newest.name,
        id: &newest.array,
        node: node(newest),
        version: &newest.version,
        whole: fresh.len() >= active,
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
    if is_plain {
        format!("md_{}", member.name)
    } else {
        node_by_id(&member.array)
    }
}

/// That of an array whose name cannot be one, or is another's.
fn node_by_id(id: &str) -> String {
    format!("md_{}", crate::report::cut(id, NAME_MAX))
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
    let made = new_node(array, &|node| fs::write(NEW_ARRAY, node), &member_of);
    let Some(node) = made.map_err(|e| failed("new_array", &e))? else {
        return Ok(());
    };
    let md = Path::new(BLOCK).join(node).join("md");
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

/// Makes the node of an array: that of its name, or of its id where another array has the name. None when it is there from an earlier
/// look.
fn new_node(
    array: &Array<'_>,
    make: &dyn Fn(&str) -> io::Result<()>,
    member_of: &dyn Fn(&str) -> Option<String>,
) -> io::Result<Option<String>> {
    for node in [array.node.clone(), node_by_id(array.id)] {
        match make(&node) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| Some(node)),
        }
        // When it cannot be told, it is not started twice.
        if member_of(&node).is_none_or(|id| id == array.id) {
            break;
        }
    }
    Ok(None)
}

/// The id of the array that a node is.
fn member_of(node: &str) -> Option<String> {
    let parts = fs::read_dir(Path::new(BLOCK).join(node).join("slaves")).ok()?;
    let mut parts = parts.filter_map(|part| part.ok()?.file_name().into_string().ok());
    parts
        .find_map(|part| read_member(&part))
        .map(|member| member.array)
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
            number: role.unwrap_or(2),
            role,
            rebuilding: false,
            roles: vec![Some(0), Some(1), None],
            reshaping: false,
        }
    }

    /// Node and members of the array that is started, and whether it is whole.
    fn of(members: &[(&'static str, &Member)]) -> Result<(String, String, bool), String> {
        let made = arrays(members).remove(0)?;
        Ok((made.node, made.fresh.join(" "), made.whole))
    }

    fn taken(members: &str, whole: bool) -> Result<(String, String, bool), String> {
        Ok(("md_crash".into(), members.into(), whole))
    }

    #[test]
    fn only_those_that_know_the_last_state_are_taken() {
        let (a, b, c) = (
            member("crash", Some(0), 10),
            member("crash", Some(1), 11),
            member("crash", None, 11),
        );
        let stale = member("crash", Some(1), 5);
        assert_eq!(
            of(&[("8:0", &a), ("8:16", &b), ("8:32", &c)]),
            taken("8:0 8:16", true)
        );
        assert_eq!(of(&[("8:0", &a), ("8:16", &stale)]), taken("8:0", false));
        let twice = of(&[("8:0", &a), ("8:16", &a)]).unwrap_err();
        assert!(twice.contains("the same member"), "{twice}");
        let spare = of(&[("8:0", &c)]).unwrap_err();
        assert!(spare.contains("up to date"), "{spare}");
    }

    #[test]
    fn a_member_that_the_newest_has_lost_is_not_taken() {
        let mut newest = member("crash", Some(0), 11);
        newest.roles[1] = None;
        let behind = member("crash", Some(1), 10);
        let both = of(&[("8:0", &newest), ("8:16", &behind)]);
        assert_eq!(both, taken("8:0", true));
        // Each has gone on alone.
        let mut other = member("crash", Some(1), 11);
        for lost in [Some(0), None] {
            other.roles[0] = lost;
            let why = of(&[("8:0", &newest), ("8:16", &other)]).unwrap_err();
            assert!(why.contains("each was in use without the other"), "{why}");
        }
    }

    #[test]
    fn a_member_that_is_rebuilt_stays_in_its_array() {
        let good = member("crash", Some(0), 11);
        let rebuilt = Member {
            rebuilding: true,
            ..member("crash", Some(1), 11)
        };
        assert_eq!(
            of(&[("8:0", &good), ("8:16", &rebuilt)]),
            taken("8:0 8:16", true)
        );
        let alone = of(&[("8:16", &rebuilt)]).unwrap_err();
        assert!(alone.contains("up to date"), "{alone}");
    }

    #[test]
    fn arrays_of_one_name_have_nodes_of_their_own() {
        let (one, mut other) = (member("crash", Some(0), 1), member("crash", Some(0), 1));
        other.array = "cd".repeat(16);
        let made = std::cell::RefCell::new(Vec::<(String, String)>::new());
        let start = |member: &Member| {
            let members = [("8:0", member)];
            let array = arrays(&members).remove(0).unwrap();
            let make = |node: &str| {
                let mut made = made.borrow_mut();
                if made.iter().any(|(there, _)| there == node) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                made.push((node.into(), member.array.clone()));
                Ok(())
            };
            let id = |node: &str| {
                let made = made.borrow();
                let found = made.iter().find(|(there, _)| there == node);
                found.map(|(_, id)| id.clone())
            };
            new_node(&array, &make, &id).unwrap()
        };
        let by_id = format!("md_{}", "cd".repeat(12));
        assert_eq!(start(&one).as_deref(), Some("md_crash"));
        assert_eq!(start(&other), Some(by_id));
        // They are there now.
        assert_eq!((start(&one), start(&other)), (None, None));
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
