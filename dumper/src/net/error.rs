//! What can be wrong with the network.

use std::io;
use std::time::Duration;

/// Why a target can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A line that is no interface.
    #[error("the interface `{text}` can't be understood: {why}")]
    Syntax {
        /// The line.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that no line has.
    #[error(
        "there is no interface {interface} in the configuration, which has {known}: add its line to `interfaces`"
    )]
    Unknown {
        /// The name.
        interface: String,
        /// Those that are there.
        known: String,
    },
    /// Interfaces made of each other.
    #[error("interface {interface} is made of itself, or of too many others: correct its `on=`")]
    Loop {
        /// The interface.
        interface: String,
    },
    /// Nothing says how it gets an address.
    #[error("interface {interface} has no way to get an address: give it address=, dhcp or slaac")]
    NoMethod {
        /// The interface.
        interface: String,
    },
    /// The device is not there.
    #[error(
        "interface {interface} ({wanted}) did not appear within {}; there is {found}: the image may lack its driver",
        seconds(*.waited)
    )]
    Missing {
        /// The interface.
        interface: String,
        /// Its address or place.
        wanted: String,
        /// The interfaces that are there, with their addresses.
        found: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No link.
    #[error(
        "interface {interface} ({device}) has no carrier after {}: look at the cable and the port of the switch, or allow it more time",
        seconds(*.waited)
    )]
    NoCarrier {
        /// The interface.
        interface: String,
        /// What the kernel calls it.
        device: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No address.
    #[error("interface {interface} ({device}) got no address by {method} within {}: {why}", seconds(*.waited))]
    NoAddress {
        /// The interface.
        interface: String,
        /// What the kernel calls it.
        device: String,
        /// DHCP or SLAAC.
        method: &'static str,
        /// What came, and what did not.
        why: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Somebody else has the address.
    #[error("interface {interface}: another machine on the link has the address {address}")]
    Duplicate {
        /// The interface.
        interface: String,
        /// The address.
        address: String,
    },
    /// The kernel refused something.
    #[error("interface {interface}: can't {what}: {cause}")]
    Kernel {
        /// The interface.
        interface: String,
        /// What was asked for.
        what: String,
        /// What it said.
        cause: io::Error,
    },
    /// The kernel can't be asked.
    #[error("can't ask the kernel for its interfaces: {0}")]
    Netlink(io::Error),
    /// A name without address.
    #[error("the server's name {name} has no address: {why}")]
    Resolve {
        /// The name.
        name: String,
        /// What the name servers said.
        why: String,
    },
    /// No server.
    #[error("no connection to port {port}: {why}")]
    Connect {
        /// The port.
        port: u16,
        /// Each address and what it said.
        why: String,
        /// Each said no: to wait is of no use.
        refused: bool,
    },
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f32().ceil())
}
