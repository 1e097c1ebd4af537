//! Bonds, made through sysfs: options are the same text on every kernel there.
//!
//! Source: Documentation/networking/bonding.rst, Linux 5.10 to 6.18. The mode is set while there is no slave, a slave is down when it is
//! joined, and of a bond that is up the options can't all be set.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Task, refused};
use crate::net::bond::LISTS;
use crate::net::netlink::Link;
use crate::net::{Interface, NetError};

const CLASS: &str = "/sys/class/net";
const MASTERS: &str = "/sys/class/net/bonding_masters";
/// Without one of these a bond never learns that a link is gone.
const MONITORS: [&str; 2] = ["miimon", "arp_interval"];

/// The bond to be.
pub(super) struct Wish<'a> {
    pub(super) interface: &'a Interface,
    pub(super) mode: &'a str,
    pub(super) options: &'a [(String, String)],
    /// What the plan calls them, and what they are.
    pub(super) slaves: &'a [(&'a str, Link)],
}

/// Makes it and joins its slaves; one that was made by the module's load is taken as it is.
pub(super) fn join(task: &mut Task<'_>, wish: &Wish<'_>) -> Result<(), NetError> {
    let interface = wish.interface;
    if !Path::new(MASTERS).exists() {
        return Err(refused(
            interface,
            "make a bond: the image lacks the module bonding",
        )(io::Error::from_raw_os_error(libc::EOPNOTSUPP)));
    }
    let links = task.links()?;
    let old = links.iter().find(|link| link.name == interface.name);
    if let Some(old) = old {
        let joined = |link: &Link| link.master == Some(old.index);
        if old.kind == "bond" && links.iter().any(joined) {
            return Ok(());
        }
        let _ = old.set_up(&mut task.kernel, false);
    } else {
        fs::write(MASTERS, format!("+{}", interface.name))
            .map_err(refused(interface, "make the bond"))?;
    }
    set(wish, "mode", wish.mode)
        .map_err(refused(interface, format!("set the mode {}", wish.mode)))?;
    for (key, value) in wish.options.iter().filter(|(key, _)| key != "primary") {
        option(task, wish, key, value);
    }
    if !wish
        .options
        .iter()
        .any(|(key, _)| MONITORS.contains(&key.as_str()))
    {
        option(task, wish, "miimon", "100");
    }
    slaves(task, wish)?;
    if let Some((_, primary)) = wish.options.iter().find(|(key, _)| key == "primary")
        && let Some((_, link)) = wish.slaves.iter().find(|(name, _)| name == primary)
    {
        option(task, wish, "primary", &link.name);
    }
    Ok(())
}

fn slaves(task: &mut Task<'_>, wish: &Wish<'_>) -> Result<(), NetError> {
    let mut trouble = None;
    let mut joined = 0;
    for (name, link) in wish.slaves {
        if link.up {
            let _ = link.set_up(&mut task.kernel, false);
        }
        super::sysctl::router_advertisements(&link.name, false);
        match set(wish, "slaves", &format!("+{}", link.name)) {
            Ok(()) => joined += 1,
            Err(error) => {
                (task.say)(&format!(
                    "{name} ({}) can't join {}: {error}",
                    link.name, wish.interface.name
                ));
                trouble = Some(error);
            }
        }
    }
    match trouble {
        Some(error) if joined == 0 => Err(refused(wish.interface, "join any slave")(error)),
        _ => Ok(()),
    }
}

/// A bond without one of its options may still work.
fn option(task: &mut Task<'_>, wish: &Wish<'_>, key: &str, value: &str) {
    let done = if LISTS.contains(&key) {
        value
            .split(',')
            .try_for_each(|one| set(wish, key, &format!("+{one}")))
    } else {
        set(wish, key, value)
    };
    if let Err(error) = done {
        (task.say)(&format!(
            "{}: the bond does not take {key}={value}: {error}",
            wish.interface.name
        ));
    }
}

fn set(wish: &Wish<'_>, key: &str, value: &str) -> io::Result<()> {
    fs::write(file(&wish.interface.name, key), value)
}

fn file(bond: &str, key: &str) -> PathBuf {
    Path::new(CLASS).join(bond).join("bonding").join(key)
}

/// Takes it away; its slaves are free and down then.
pub(super) fn remove(bond: &str) {
    let _ = fs::write(MASTERS, format!("-{bond}"));
}
