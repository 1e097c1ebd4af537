//! Finding the device an interface means: by its permanent address, or by its place.
//!
//! Source: Documentation/ABI/testing/sysfs-class-net (`device` link).

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{POLL, Task};
use crate::net::netlink::Link;
use crate::net::{Interface, Kind, Mac, NetError};

const CLASS: &str = "/sys/class/net";
/// Interfaces that an error names.
const MAX_NAMED: usize = 12;

/// Waits until the device is there.
pub(super) fn wait(task: &mut Task<'_>, interface: &Interface) -> Result<Link, NetError> {
    let end = Instant::now() + task.limits.device;
    loop {
        let links = task.links()?;
        if let Some(link) = existing(interface, &links) {
            return Ok(link.clone());
        }
        if Instant::now() >= end {
            return Err(NetError::Missing {
                interface: interface.name.clone(),
                wanted: interface.kind.to_string(),
                found: found(&links),
                waited: task.limits.device,
            });
        }
        std::thread::sleep(POLL);
    }
}

/// The link that is this interface, if there is one. Of several with one address that is the one which is no part of another: the
/// halves of a paired device have the same.
pub(super) fn existing<'a>(interface: &Interface, links: &'a [Link]) -> Option<&'a Link> {
    let named = |kind: &str| {
        links
            .iter()
            .find(|link| link.name == interface.name && link.kind == kind)
    };
    match &interface.kind {
        Kind::Mac(mac) => one(links, |link| permanent(link) == Some(*mac)),
        Kind::Bus(path) => one(links, |link| is_at(&link.name, path)),
        Kind::Vlan { .. } => named("vlan"),
        Kind::Bond { .. } => named("bond"),
    }
}

fn one(links: &[Link], is_it: impl Fn(&Link) -> bool) -> Option<&Link> {
    let mut found = links.iter().filter(|link| link.ethernet && is_it(link));
    let first = found.next()?;
    if first.master.is_none() {
        return Some(first);
    }
    found.find(|link| link.master.is_none()).or(Some(first))
}

/// The address a device was made with.
fn permanent(link: &Link) -> Option<Mac> {
    if ["vlan", "bond", "bridge", "team", "macvlan", "dummy"].contains(&link.kind.as_str()) {
        return None;
    }
    link.permanent
        .or_else(|| crate::sys::socket::permanent_address(&link.name).map(Mac))
        // A device whose driver has none says the address it has now.
        .or(link.address)
}

/// Whether one of the devices it sits on has that name.
fn is_at(name: &str, place: &str) -> bool {
    let device = fs::canonicalize(Path::new(CLASS).join(name).join("device"));
    device.is_ok_and(|path| path.components().any(|part| part.as_os_str() == place))
}

/// The interfaces there are, as an error names them.
fn found(links: &[Link]) -> String {
    let named: Vec<String> = links
        .iter()
        .filter(|link| !link.loopback && !["vlan", "bond"].contains(&link.kind.as_str()))
        .take(MAX_NAMED)
        .map(|link| match permanent(link) {
            Some(mac) => format!("{} ({mac})", link.name),
            None => link.name.clone(),
        })
        .collect();
    if named.is_empty() {
        return "no network interface at all".to_owned();
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, last: u8, kind: &str, master: Option<u32>) -> Link {
        Link {
            name: name.to_owned(),
            ethernet: true,
            permanent: Some(Mac([2, 0, 0, 0, 0, last])),
            kind: kind.to_owned(),
            master,
            ..Link::default()
        }
    }

    #[test]
    fn the_device_is_found_by_its_permanent_address() {
        let mut slave = link("eth0", 1, "", Some(9));
        slave.address = Some(Mac([2, 0, 0, 0, 0, 2]));
        let links = [
            slave,
            link("eth0.5", 1, "vlan", None),
            link("eth1", 2, "", Some(9)),
            link("bond0", 2, "bond", None),
            link("eth2", 2, "", None),
        ];
        let of = |line: &str| existing(&line.parse().unwrap(), &links).map(|l| l.name.as_str());
        assert_eq!(of("x:mac=02:00:00:00:00:01"), Some("eth0"));
        assert_eq!(of("x:mac=02:00:00:00:00:02"), Some("eth2"));
        assert_eq!(of("x:mac=02:00:00:00:00:03"), None);
        assert_eq!(of("eth0.5:vlan=5;on=x"), Some("eth0.5"));
        assert_eq!(of("bond0:vlan=5;on=x"), None);
        assert_eq!(of("bond0:bond=1;on=x"), Some("bond0"));
        assert_eq!(
            found(&links),
            "eth0 (02:00:00:00:00:01), eth1 (02:00:00:00:00:02), eth2 (02:00:00:00:00:02)"
        );
        assert_eq!(found(&[]), "no network interface at all");
    }
}
