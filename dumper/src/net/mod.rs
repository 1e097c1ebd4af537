//! The network of the capture kernel: what the image says of it, and bringing it up.
//!
//! [`Interface`] is one line of the configuration or of the image's record of the host, [`Plan`] all of them. [`bring_up`] makes one
//! interface usable, with what it is made of; [`resolve`] and [`connect`] find the server and say whether it listens.
//!
//! Interfaces are found by their permanent address or their place on the bus: names are another kernel's.

pub mod bond;
mod choice;
mod connect;
pub mod dhcp;
pub mod dns;
mod error;
mod interface;
mod mac;
pub mod netlink;
mod prefix;
mod random;
mod up;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use connect::{connect, udp};
pub use dns::resolve;
pub use error::NetError;
pub use interface::{Interface, Kind, MAX_NAME};
pub use mac::Mac;
pub use prefix::{Prefix, Route};
pub use up::{Limits, Up, bring_up};

/// What leads to the servers: `/etc/baredump/network.json` in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// Every interface needed, in no order.
    pub interfaces: Vec<Interface>,
    /// Names of servers, and what they meant when the image was built.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// Targets by their number from 1, and the interface that leads there.
    pub targets: BTreeMap<u8, String>,
}

impl Plan {
    /// The interface of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn interface(&self, name: &str) -> Result<&Interface, NetError> {
        let found = self.interfaces.iter().find(|i| i.name == name);
        found.ok_or_else(|| NetError::Unknown {
            interface: name.to_owned(),
            known: self.names(),
        })
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.interfaces.iter().map(|i| i.name.as_str()).collect();
        if names.is_empty() {
            return "none".to_owned();
        }
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_json_of_lines() {
        let text = r#"{
            "interfaces": ["eth0:mac=52:54:00:12:34:56;dhcp"],
            "hosts": {"dumps.example": ["10.0.2.2", "fd00::2"]},
            "targets": {"1": "eth0"}
        }"#;
        let plan: Plan = serde_json::from_str(text).unwrap();
        assert_eq!(plan.targets[&1], "eth0");
        assert!(plan.interface("eth0").unwrap().dhcp);
        let again = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(plan, again);
        let unknown = plan.interface("eth1").unwrap_err().to_string();
        assert!(unknown.contains("eth1") && unknown.contains("eth0"));
        let wrong = serde_json::from_str::<Plan>(r#"{"interfaces": ["eth0:mac=5"]}"#);
        assert!(wrong.unwrap_err().to_string().contains("mac=5"));
    }
}
