//! Interfaces: `RTM_NEWLINK`, `struct ifinfomsg`.

use std::io;

use super::message::{Attributes, Message, Request, push_attribute, text, u16_at, u32_at};
use super::socket::Netlink;
use crate::net::Mac;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
pub(super) const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_PERM_ADDRESS: u16 = 54;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;
/// `ARPHRD_ETHER`, `ARPHRD_LOOPBACK`.
const ETHERNET: u16 = 1;
const LOOPBACK: u16 = 772;
const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 0x1_0000;
const OPERSTATE_UNKNOWN: u8 = 0;
const OPERSTATE_UP: u8 = 6;
/// What the fixed part of these messages takes.
const FIXED: usize = 16;

/// An interface of the running kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is Ethernet, or something made of it.
    pub ethernet: bool,
    /// Whether it leads to this machine only.
    pub loopback: bool,
    /// Whether it was told to be up.
    pub up: bool,
    /// Whether frames go through.
    pub carrier: bool,
    /// The address it has now.
    pub address: Option<Mac>,
    /// The address it was made with; kernels before 5.6 do not say.
    pub permanent: Option<Mac>,
    /// Its largest packet.
    pub mtu: u32,
    /// The link below a VLAN.
    pub lower: Option<u32>,
    /// The bond, bridge or team it belongs to.
    pub master: Option<u32>,
    /// What the kernel made it as: `vlan`, `bond`, …; empty for a device.
    pub kind: String,
    /// Number and protocol of a VLAN.
    pub vlan: Option<(u16, u16)>,
}

impl Link {
    /// All of them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn all(kernel: &mut Netlink) -> io::Result<Vec<Self>> {
        let request = Request::new(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, &[0; FIXED]);
        kernel.ask(request, Self::read)
    }

    /// Out of a message about a link.
    pub fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWLINK {
            return None;
        }
        let flags = u32_at(message.body, 8)?;
        let kind = u16_at(message.body, 2)?;
        let mut link = Self {
            index: u32_at(message.body, 4)?,
            ethernet: kind == ETHERNET,
            loopback: kind == LOOPBACK,
            up: flags & IFF_UP != 0,
            ..Self::default()
        };
        let mut state = OPERSTATE_UNKNOWN;
        for (kind, value) in message.attributes(FIXED) {
            match kind {
                IFLA_ADDRESS => link.address = Mac::from_slice(value),
                IFLA_PERM_ADDRESS => link.permanent = Mac::from_slice(value),
                IFLA_IFNAME => link.name = text(value),
                IFLA_MTU => link.mtu = u32_at(value, 0)?,
                IFLA_LINK => link.lower = u32_at(value, 0),
                IFLA_MASTER => link.master = u32_at(value, 0),
                IFLA_OPERSTATE => state = *value.first()?,
                IFLA_LINKINFO => link.read_info(value),
                _ => {}
            }
        }
        link.carrier =
            flags & IFF_LOWER_UP != 0 && [OPERSTATE_UNKNOWN, OPERSTATE_UP].contains(&state);
        Some(link)
    }

    fn read_info(&mut self, info: &[u8]) {
        for (kind, value) in Attributes::new(info) {
            match kind {
                IFLA_INFO_KIND => self.kind = text(value),
                IFLA_INFO_DATA if self.kind == "vlan" => {
                    let find = |wanted| Attributes::new(value).find(|(kind, _)| *kind == wanted);
                    let id = find(IFLA_VLAN_ID).and_then(|(_, v)| u16_at(v, 0));
                    let protocol = find(IFLA_VLAN_PROTOCOL).and_then(|(_, v)| u16_at(v, 0));
                    self.vlan = id.map(|id| (id, protocol.map_or(0x8100, u16::from_be)));
                }
                _ => {}
            }
        }
    }

    /// Switches it on or off.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_up(&self, kernel: &mut Netlink, up: bool) -> io::Result<()> {
        let mut fixed = fixed(self.index);
        let flags = if up { IFF_UP } else { 0 };
        fixed[8..12].copy_from_slice(&flags.to_ne_bytes());
        fixed[12..].copy_from_slice(&IFF_UP.to_ne_bytes());
        kernel.change(Request::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, &fixed))
    }

    /// Sets its largest packet.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_mtu(&self, kernel: &mut Netlink, mtu: u32) -> io::Result<()> {
        let request = Request::new(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, &fixed(self.index));
        kernel.change(request.with(IFLA_MTU, &mtu.to_ne_bytes()))
    }

    /// Takes away one that was made, as a VLAN.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, kernel: &mut Netlink) -> io::Result<()> {
        kernel.change(Request::new(
            RTM_DELLINK,
            NLM_F_REQUEST | NLM_F_ACK,
            &fixed(self.index),
        ))
    }

    /// Makes a VLAN of it.
    ///
    /// # Errors
    /// What the kernel says; without the module 8021q, that it knows no such thing.
    pub fn add_vlan(&self, kernel: &mut Netlink, name: &str, id: u16) -> io::Result<()> {
        let (mut data, mut info, mut name) = (Vec::new(), Vec::new(), name.as_bytes().to_vec());
        push_attribute(&mut data, IFLA_VLAN_ID, &id.to_ne_bytes());
        push_attribute(&mut info, IFLA_INFO_KIND, b"vlan\0");
        push_attribute(&mut info, IFLA_INFO_DATA, &data);
        name.push(0);
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let request = Request::new(RTM_NEWLINK, flags, &[0; FIXED])
            .with(IFLA_LINK, &self.index.to_ne_bytes())
            .with(IFLA_IFNAME, &name)
            .with(IFLA_LINKINFO, &info);
        kernel.change(request)
    }
}

fn fixed(index: u32) -> [u8; FIXED] {
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed
}

#[cfg(test)]
mod tests {
    use super::super::message::Messages;
    use super::*;

    #[test]
    fn a_vlan_is_read() {
        let (mut data, mut info) = (Vec::new(), Vec::new());
        push_attribute(&mut data, IFLA_VLAN_PROTOCOL, &0x8100_u16.to_be_bytes());
        push_attribute(&mut data, IFLA_VLAN_ID, &5_u16.to_ne_bytes());
        push_attribute(&mut info, IFLA_INFO_KIND, b"vlan\0");
        push_attribute(&mut info, IFLA_INFO_DATA, &data);
        let mut fixed = fixed(7);
        fixed[2..4].copy_from_slice(&ETHERNET.to_ne_bytes());
        fixed[8..12].copy_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
        let bytes = Request::new(RTM_NEWLINK, 0, &fixed)
            .with(IFLA_IFNAME, b"eth0.5\0")
            .with(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1])
            .with(IFLA_MTU, &1500_u32.to_ne_bytes())
            .with(IFLA_LINK, &2_u32.to_ne_bytes())
            .with(IFLA_OPERSTATE, &[OPERSTATE_UP])
            .with(IFLA_LINKINFO, &info)
            .finish(1);
        let link = Link::read(&Messages::new(&bytes).next().unwrap()).unwrap();
        assert_eq!(
            (link.index, link.name.as_str(), link.lower),
            (7, "eth0.5", Some(2))
        );
        assert_eq!((link.vlan, link.kind.as_str()), (Some((5, 0x8100)), "vlan"));
        assert!(link.up && link.carrier && link.ethernet && !link.loopback);
        assert_eq!(link.mtu, 1500);
    }

    #[test]
    fn a_link_that_only_waits_has_no_carrier() {
        let mut fixed = fixed(7);
        fixed[8..12].copy_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
        // Dormant.
        let bytes = Request::new(RTM_NEWLINK, 0, &fixed)
            .with(IFLA_OPERSTATE, &[5])
            .finish(1);
        assert!(
            !Link::read(&Messages::new(&bytes).next().unwrap())
                .unwrap()
                .carrier
        );
    }
}
