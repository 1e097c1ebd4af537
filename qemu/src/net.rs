//! Network cards of a machine and what their cables lead to. No privileges are needed for any of it; QEMU 7.2 and newer.

use std::ffi::OsString;

/// A virtio network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its MAC address.
    pub mac: String,
    /// Where its cable leads.
    pub cable: Cable,
    /// Whether it has a carrier.
    pub carrier: bool,
}

/// Where the cable of a network card leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// QEMU's user network: 10.0.2.0/24 with DHCP and a gateway at .2, fec0::/64 with router advertisements from fec0::2. The
    /// gateway's addresses are also those of the host's loopback.
    User,
    /// A switch with nobody else on it.
    Silent,
    /// Someone who carries Ethernet frames, in UDP datagrams on loopback, between the card and QEMU's user network.
    Carried {
        /// The card's end.
        card: Wire,
        /// The network's end.
        network: Wire,
    },
}

/// An end of a wire of UDP datagrams on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// QEMU's port.
    pub qemu: u16,
    /// The port of who carries the frames.
    pub carrier: u16,
}

impl Nic {
    /// A card with a carrier on QEMU's user network.
    pub fn user(mac: &str) -> Self {
        Self {
            mac: mac.to_owned(),
            cable: Cable::User,
            carrier: true,
        }
    }
}

/// The name of a card in QEMU.
pub(crate) fn name(number: usize) -> String {
    format!("card{number}")
}

/// The arguments for a card and its cable.
pub(crate) fn args(number: usize, nic: &Nic) -> Vec<OsString> {
    let mut netdevs = Vec::new();
    match nic.cable {
        Cable::User => netdevs.push(format!("user,id=net{number}")),
        Cable::Silent => netdevs.push(format!("hubport,id=net{number},hubid={number}")),
        Cable::Carried { card, network } => {
            netdevs.push(wire(&format!("net{number}"), card));
            // A hub with two ports joins the network and its end of the wire.
            for (port, netdev) in [
                ("user", format!("user,id=user{number}")),
                ("wire", wire(&format!("wire{number}"), network)),
            ] {
                netdevs.push(netdev);
                netdevs.push(format!(
                    "hubport,id={port}port{number},hubid={number},netdev={port}{number}"
                ));
            }
        }
    }
    // Without romfile= QEMU wants a boot program from a package of its own.
    let device = format!(
        "virtio-net-pci,id={},netdev=net{number},mac={},romfile=",
        name(number),
        nic.mac
    );
    let netdevs = netdevs.into_iter().map(|netdev| ("-netdev", netdev));
    netdevs
        .chain([("-device", device)])
        .flat_map(|(option, value)| [option.into(), value.into()])
        .collect()
}

fn wire(id: &str, wire: Wire) -> String {
    format!(
        "socket,id={id},udp=127.0.0.1:{},localaddr=127.0.0.1:{}",
        wire.carrier, wire.qemu
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(nic: &Nic) -> String {
        args(1, nic).join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn cables() {
        let mut nic = Nic::user("52:54:00:12:34:56");
        assert_eq!(
            line(&nic),
            "-netdev user,id=net1 -device virtio-net-pci,id=card1,netdev=net1,mac=52:54:00:12:34:56,romfile="
        );
        nic.cable = Cable::Silent;
        assert!(line(&nic).starts_with("-netdev hubport,id=net1,hubid=1 -device"));
        let wire = |qemu, carrier| Wire { qemu, carrier };
        nic.cable = Cable::Carried {
            card: wire(1, 2),
            network: wire(3, 4),
        };
        assert!(line(&nic).starts_with(
            "-netdev socket,id=net1,udp=127.0.0.1:2,localaddr=127.0.0.1:1 \
             -netdev user,id=user1 -netdev hubport,id=userport1,hubid=1,netdev=user1 \
             -netdev socket,id=wire1,udp=127.0.0.1:4,localaddr=127.0.0.1:3 -netdev hubport,id=wireport1,hubid=1,netdev=wire1 -device"
        ));
    }
}
