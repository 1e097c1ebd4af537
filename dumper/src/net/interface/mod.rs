//! One interface in one line: what it is, and how it gets its addresses.
//!
//! `NAME:mac=52:54:00:12:34:56;dhcp`
//! `NAME:bus=0000:00:03.0;address=10.0.2.15/24;gateway=10.0.2.2;mtu=1500;route=10.1.0.0/16@10.0.2.3`
//! `NAME:vlan=5;on=OTHER;slaac`
//! `NAME:bond=active-backup;on=A+B;miimon=100;dhcp`, options by the names they have in sysfs

mod parse;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Mac, NetError, Prefix, Route};

/// As long as the kernel allows.
pub const MAX_NAME: usize = 15;

/// An interface that leads to a target, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface {
    /// What the plan calls it. A VLAN or bond gets this name, a device keeps the one it has.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Ask a server for an address.
    pub dhcp: bool,
    /// Let the kernel make an address of what a router says.
    pub slaac: bool,
    /// Static addresses, the one to send from first.
    pub addresses: Vec<Prefix>,
    /// Default routers, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Further routes.
    pub routes: Vec<Route>,
    /// Name servers, besides those of a lease.
    pub dns: Vec<IpAddr>,
    /// The largest packet; `None` leaves it to the device, or to the lease.
    pub mtu: Option<u32>,
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A device with this permanent address.
    Mac(Mac),
    /// A device at this place: a part of its path in sysfs, as `0000:00:03.0`.
    Bus(String),
    /// A VLAN of another interface.
    Vlan {
        /// Its number.
        id: u16,
        /// The interface below.
        on: String,
    },
    /// A bond of other interfaces.
    Bond {
        /// One of [`super::bond::MODES`].
        mode: String,
        /// Its slaves.
        on: Vec<String>,
        /// Names and values, in the order in which they are set.
        options: Vec<(String, String)>,
    },
}

impl Interface {
    /// One without a way to get an address.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            dhcp: false,
            slaac: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
            routes: Vec::new(),
            dns: Vec::new(),
            mtu: None,
        }
    }

    /// Whether it can get an address.
    #[must_use]
    pub fn has_method(&self) -> bool {
        self.dhcp || self.slaac || !self.addresses.is_empty()
    }

    /// The interfaces it is made of.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Mac(_) | Kind::Bus(_) => Vec::new(),
            Kind::Vlan { on, .. } => vec![on],
            Kind::Bond { on, .. } => on.iter().map(String::as_str).collect(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "mac={mac}"),
            Self::Bus(path) => write!(f, "bus={path}"),
            Self::Vlan { id, on } => write!(f, "vlan={id};on={on}"),
            Self::Bond { mode, on, options } => {
                write!(f, "bond={mode};on={}", on.join("+"))?;
                options
                    .iter()
                    .try_for_each(|(key, value)| write!(f, ";{key}={value}"))
            }
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.kind)?;
        if self.dhcp {
            f.write_str(";dhcp")?;
        }
        if self.slaac {
            f.write_str(";slaac")?;
        }
        each(f, "address", &self.addresses)?;
        each(f, "gateway", &self.gateways)?;
        each(f, "route", &self.routes)?;
        each(f, "dns", &self.dns)?;
        each(f, "mtu", self.mtu.as_slice())
    }
}

fn each<T: fmt::Display>(f: &mut fmt::Formatter<'_>, key: &str, values: &[T]) -> fmt::Result {
    values
        .iter()
        .try_for_each(|value| write!(f, ";{key}={value}"))
}

impl FromStr for Interface {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        parse::interface(text).map_err(|why| NetError::Syntax {
            text: text.to_owned(),
            why,
        })
    }
}

impl TryFrom<String> for Interface {
    type Error = NetError;

    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Interface> for String {
    fn from(interface: Interface) -> Self {
        interface.to_string()
    }
}
