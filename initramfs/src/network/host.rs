//! The interfaces of this machine, and what they are made of.
//!
//! Source: Documentation/ABI/testing/sysfs-class-net, Documentation/networking/bonding.rst.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use baredump::net::netlink::{Address, Link, Netlink};
use baredump::net::{Interface, Kind, Mac, Plan, bond};

use super::{NetworkError, Way, resolver};

/// A VLAN of a VLAN of a bond is more than anybody has.
const MAX_DEPTH: usize = 5;
/// What every Ethernet device has by itself.
const USUAL_MTU: u32 = 1500;
const VLAN_PROTOCOL: u16 = 0x8100;

/// What is known of it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Where sysfs is.
    pub sys: PathBuf,
    /// All interfaces, devices with their permanent addresses.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

impl Host {
    /// Asks the kernel; `sysroot` is `/` but for tests.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(sysroot: &Path, kernel: &mut Netlink) -> Result<Self, NetworkError> {
        let mut links = Link::all(kernel).map_err(NetworkError::Kernel)?;
        for link in &mut links {
            let asked = || baredump::sys::socket::permanent_address(&link.name).map(Mac);
            link.permanent = link.permanent.or_else(asked);
        }
        Ok(Self {
            sys: sysroot.join("sys"),
            links,
            addresses: Address::all(kernel).map_err(NetworkError::Kernel)?,
            dns: resolver::name_servers(sysroot),
        })
    }

    /// Adds to the plan what leads to `server`, and gives the interface's name.
    ///
    /// # Errors
    /// The interface is of a kind that the capture kernel can't set up.
    pub fn add(&self, plan: &mut Plan, server: &str, way: &Way) -> Result<String, NetworkError> {
        let link = self.link(way.link)?;
        self.add_link(plan, server, link, 0)?;
        for interface in &mut plan.interfaces {
            if interface.name == link.name {
                way.write(self, interface);
            }
        }
        Ok(link.name.clone())
    }

    fn link(&self, index: u32) -> Result<&Link, NetworkError> {
        let found = self.links.iter().find(|link| link.index == index);
        found.ok_or_else(|| NetworkError::Kernel(io::Error::from_raw_os_error(libc_enodev())))
    }

    /// Adds an interface and what it is made of, unless it is there.
    fn add_link(
        &self,
        plan: &mut Plan,
        server: &str,
        link: &Link,
        depth: usize,
    ) -> Result<(), NetworkError> {
        if plan.interface(&link.name).is_ok() {
            return Ok(());
        }
        let refused = |kind: &str| NetworkError::Refused {
            server: server.to_owned(),
            interface: link.name.clone(),
            kind: kind.to_owned(),
        };
        if depth == MAX_DEPTH {
            return Err(refused("made of too many others"));
        }
        if let Some(kind) = self.unfit(link) {
            return Err(refused(&kind));
        }
        let kind = match (link.kind.as_str(), link.vlan, link.lower) {
            ("vlan", Some((id, VLAN_PROTOCOL)), Some(lower)) => {
                let lower = self.link(lower)?;
                self.add_link(plan, server, lower, depth + 1)?;
                let on = lower.name.clone();
                Kind::Vlan { id, on }
            }
            ("vlan", ..) => return Err(refused("a VLAN of a provider (802.1ad)")),
            ("bond", ..) => self.bond(plan, server, link, depth)?,
            _ => self.device(link),
        };
        let mut interface = Interface::new(&link.name, kind);
        interface.mtu = (link.mtu != USUAL_MTU).then_some(link.mtu);
        // What can be written can be read again: a name that the grammar has no place for is found out here.
        plan.interfaces.push(interface.to_string().parse()?);
        Ok(())
    }

    /// What an interface is that can't be set up again.
    fn unfit(&self, link: &Link) -> Option<String> {
        let class = self.class(&link.name);
        if link.loopback {
            return Some("this machine itself".to_owned());
        }
        if class.join("phy80211").exists() || class.join("wireless").exists() {
            return Some("a wireless interface".to_owned());
        }
        let device = class.join("device").exists();
        let known = match link.kind.as_str() {
            "vlan" | "bond" => return (!link.ethernet).then(|| "no Ethernet interface".to_owned()),
            _ if device && link.ethernet => return None,
            _ if device => "no Ethernet interface (InfiniBand is not supported)",
            "bridge" => "a bridge",
            "team" => "a team",
            "tun" => "a tunnel or a virtual machine's port (tun)",
            "veth" => "the inside of a container (veth)",
            "openvswitch" => "an Open vSwitch port",
            "" => "a virtual interface",
            kind => return Some(format!("a virtual interface of the kind {kind}")),
        };
        Some(known.to_owned())
    }

    /// By its permanent address, when no other device has the same.
    fn device(&self, link: &Link) -> Kind {
        let same = |other: &&Link| {
            other.permanent == link.permanent && self.class(&other.name).join("device").exists()
        };
        match link.permanent {
            Some(mac) if self.links.iter().filter(same).count() < 2 => Kind::Mac(mac),
            _ => Kind::Bus(self.place(&link.name)),
        }
    }

    /// The PCI function it sits on, or whatever device there is.
    fn place(&self, name: &str) -> String {
        let device = fs::canonicalize(self.class(name).join("device")).unwrap_or_default();
        let names = || {
            let parts = device.iter().rev();
            parts.filter_map(|part| part.to_str())
        };
        let found = names().find(|part| is_pci(part)).or_else(|| names().next());
        found.unwrap_or(name).to_owned()
    }

    fn bond(
        &self,
        plan: &mut Plan,
        server: &str,
        link: &Link,
        depth: usize,
    ) -> Result<Kind, NetworkError> {
        let mut on = Vec::new();
        for slave in self.links.iter().filter(|l| l.master == Some(link.index)) {
            if ["vlan", "bond"].contains(&slave.kind.as_str()) {
                return Err(NetworkError::Refused {
                    server: server.to_owned(),
                    interface: link.name.clone(),
                    kind: format!("a bond of {}, which is no device", slave.name),
                });
            }
            self.add_link(plan, server, slave, depth + 1)?;
            on.push(slave.name.clone());
        }
        if on.is_empty() {
            return Err(NetworkError::Refused {
                server: server.to_owned(),
                interface: link.name.clone(),
                kind: "a bond without slaves".to_owned(),
            });
        }
        let read = |option: &str| {
            let path = self.class(&link.name).join("bonding").join(option);
            fs::read_to_string(path).unwrap_or_default()
        };
        let mode = read("mode");
        let mode = mode.split_whitespace().next().and_then(bond::mode);
        let mode = mode.unwrap_or("balance-rr");
        let options = bond::OPTIONS
            .iter()
            .filter(|(option, _)| applies(option, mode))
            .filter_map(|(option, default)| {
                let value = value(option, &read(option));
                (value != *default && !value.is_empty()).then(|| ((*option).to_owned(), value))
            })
            .collect();
        Ok(Kind::Bond {
            mode: mode.to_owned(),
            on,
            options,
        })
    }

    pub(super) fn class(&self, name: &str) -> PathBuf {
        self.sys.join("class/net").join(name)
    }
}

/// `ENODEV`: it went away while it was looked at.
fn libc_enodev() -> i32 {
    nix::errno::Errno::ENODEV as i32
}

fn is_pci(part: &str) -> bool {
    let shape = |c: char| if c.is_ascii_hexdigit() { 'x' } else { c };
    let part: String = part.chars().map(shape).collect();
    part == "xxxx:xx:xx.x"
}

/// What sysfs shows of an option: a name and its number, a number, or a list.
fn value(option: &str, text: &str) -> String {
    if bond::LISTS.contains(&option) {
        let all: Vec<&str> = text.split_whitespace().collect();
        return all.join(",");
    }
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Whether a mode knows an option: others show values that can't be set.
fn applies(option: &str, mode: &str) -> bool {
    let modes: &[&str] = match option {
        "lacp_rate" | "lacp_active" | "ad_select" | "ad_actor_sys_prio" | "ad_actor_system"
        | "ad_user_port_key" | "min_links" => &["802.3ad"],
        "xmit_hash_policy" => &["balance-xor", "802.3ad", "balance-tlb"],
        "primary" | "primary_reselect" => &["active-backup", "balance-tlb", "balance-alb"],
        "fail_over_mac" | "num_grat_arp" | "peer_notif_delay" => &["active-backup"],
        "packets_per_slave" => &["balance-rr"],
        "tlb_dynamic_lb" => &["balance-tlb"],
        "lp_interval" => &["balance-tlb", "balance-alb"],
        "arp_interval" | "arp_ip_target" | "ns_ip6_target" | "arp_validate" | "arp_all_targets"
        | "arp_missed_max" => &["balance-rr", "active-backup", "balance-xor", "broadcast"],
        _ => return true,
    };
    modes.contains(&mode)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A machine of files and facts.
    pub(in crate::network) struct Fake {
        pub(in crate::network) root: TempDir,
        pub(in crate::network) host: Host,
    }

    impl Fake {
        pub(in crate::network) fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let host = Host {
                sys: root.path().join("sys"),
                ..Host::default()
            };
            Self { root, host }
        }

        pub(in crate::network) fn file(&self, path: &str, text: &str) {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A link and its directory; its number is its place from 1.
        pub(in crate::network) fn link(&mut self, name: &str, kind: &str) -> &mut Link {
            fs::create_dir_all(self.host.class(name)).unwrap();
            self.host.links.push(Link {
                index: u32::try_from(self.host.links.len() + 1).unwrap(),
                name: name.to_owned(),
                ethernet: true,
                mtu: 1500,
                kind: kind.to_owned(),
                ..Link::default()
            });
            self.host.links.last_mut().unwrap()
        }

        /// One with a device, and a permanent address that ends in `last`.
        pub(in crate::network) fn nic(&mut self, name: &str, place: &str, last: u8) -> &mut Link {
            let device = self.root.path().join("sys/devices").join(place);
            fs::create_dir_all(&device).unwrap();
            self.link(name, "");
            symlink(device, self.host.class(name).join("device")).unwrap();
            let link = self.host.links.last_mut().unwrap();
            link.permanent = (last > 0).then_some(Mac([2, 0, 0, 0, 0, last]));
            link
        }

        pub(in crate::network) fn address(&mut self, link: u32, prefix: &str, permanent: bool) {
            let prefix = prefix.parse().unwrap();
            self.host
                .addresses
                .push(Address::of(link, prefix, permanent));
        }

        pub(in crate::network) fn lines(&self, way: &Way) -> Result<Vec<String>, String> {
            let mut plan = Plan::default();
            self.host
                .add(&mut plan, "dumps", way)
                .map_err(|e| e.to_string())?;
            Ok(plan.interfaces.iter().map(ToString::to_string).collect())
        }
    }

    fn over(link: u32) -> Way {
        Way {
            to: "10.0.0.9".parse().unwrap(),
            link,
            via: None,
            from: Some("10.0.0.1".parse().unwrap()),
            entry: None,
        }
    }

    #[test]
    fn devices_by_address_or_place() {
        let mut fake = Fake::new();
        fake.nic("eth0", "pci0000:00/0000:00:03.0/virtio0", 1);
        fake.nic("eth1", "pci0000:00/0000:00:04.0/virtio1", 2);
        fake.nic("eth2", "pci0000:00/0000:00:05.0", 2).mtu = 9000;
        fake.nic("eth3", "platform/soc/fec.1", 0);
        for link in 1..=4 {
            fake.address(link, "10.0.0.1/24", true);
        }
        let line = |n| fake.lines(&over(n)).unwrap().join(" ");
        assert_eq!(line(1), "eth0:mac=02:00:00:00:00:01;address=10.0.0.1/24");
        assert_eq!(line(2), "eth1:bus=0000:00:04.0;address=10.0.0.1/24");
        assert_eq!(
            line(3),
            "eth2:bus=0000:00:05.0;address=10.0.0.1/24;mtu=9000"
        );
        assert_eq!(line(4), "eth3:bus=fec.1;address=10.0.0.1/24");
    }

    #[test]
    fn a_vlan_over_a_bond() {
        let mut fake = Fake::new();
        fake.nic("eth0", "pci0000:00/0000:00:03.0", 1).master = Some(3);
        fake.nic("eth1", "pci0000:00/0000:00:04.0", 2).master = Some(3);
        fake.link("bond0", "bond");
        let vlan = fake.link("bond0.5", "vlan");
        (vlan.vlan, vlan.lower) = (Some((5, 0x8100)), Some(3));
        fake.address(4, "10.0.0.1/24", true);
        for (option, text) in [
            ("mode", "active-backup 1\n"),
            ("miimon", "100\n"),
            ("primary", "eth1\n"),
            ("primary_reselect", "always 0\n"),
            ("fail_over_mac", "active 1\n"),
            ("lacp_rate", "fast 1\n"),
            ("arp_ip_target", "\n"),
            ("ad_select", "stable 0\n"),
        ] {
            fake.file(&format!("sys/class/net/bond0/bonding/{option}"), text);
        }
        assert_eq!(
            fake.lines(&over(4)).unwrap(),
            [
                "eth0:mac=02:00:00:00:00:01",
                "eth1:mac=02:00:00:00:00:02",
                "bond0:bond=active-backup;on=eth0+eth1;miimon=100;fail_over_mac=active;primary=eth1",
                "bond0.5:vlan=5;on=bond0;address=10.0.0.1/24",
            ]
        );
        fake.file("sys/class/net/bond0/bonding/arp_interval", "250\n");
        fake.file(
            "sys/class/net/bond0/bonding/arp_ip_target",
            "10.0.0.3 10.0.0.4\n",
        );
        assert!(
            fake.lines(&over(4)).unwrap()[2]
                .contains(";arp_interval=250;arp_ip_target=10.0.0.3,10.0.0.4;")
        );
    }

    #[test]
    fn what_can_not_be_set_up_is_refused_with_its_kind() {
        let mut fake = Fake::new();
        fake.link("lo", "").loopback = true;
        fake.link("br0", "bridge");
        fake.link("team0", "team");
        fake.link("tun0", "tun").ethernet = false;
        fake.nic("wlan0", "pci0000:00/0000:00:03.0", 1);
        fake.file("sys/class/net/wlan0/phy80211/name", "phy0");
        fake.nic("ib0", "pci0000:00/0000:00:04.0", 0).ethernet = false;
        fake.link("wg0", "wireguard");
        fake.link("bond0", "bond");
        fake.link("q", "vlan").vlan = Some((5, 0x88a8));
        let kinds = [
            "this machine itself",
            "a bridge",
            "a team",
            "a tunnel",
            "wireless",
            "InfiniBand",
            "wireguard",
            "without slaves",
            "802.1ad",
        ];
        for (index, kind) in (1..).zip(kinds) {
            let error = fake.lines(&over(index)).unwrap_err();
            let name = &fake.host.links[index as usize - 1].name;
            assert!(
                error.contains(kind) && error.contains(name) && error.contains("dumps"),
                "{error}"
            );
        }
        assert!(fake.lines(&over(77)).is_err());
    }
}
