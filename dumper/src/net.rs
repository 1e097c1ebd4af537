//! Placeholder with the functions that the steps call: the folder `net/` takes its place (keep these names and signatures, delete this file).
#![allow(missing_docs)]
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface {
    pub name: String,
}
impl TryFrom<String> for Interface {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}
impl From<Interface> for String {
    fn from(i: Interface) -> Self {
        i.name
    }
}
impl std::str::FromStr for Interface {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Ok(Self { name: s.into() })
    }
}
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    pub interfaces: Vec<Interface>,
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    pub targets: BTreeMap<u8, String>,
}
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    pub dns: Vec<IpAddr>,
}
impl std::fmt::Display for Up {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("up")
    }
}
pub struct Limits;
impl Limits {
    pub fn within(_: Duration) -> Self {
        Self
    }
}
impl Plan {
    pub fn leading_to(&self, _: u8) -> Option<&str> {
        None
    }
    pub fn with(self, _: &[Interface]) -> Self {
        self
    }
}
pub fn bring_up(_: &Plan, _: &str, _: Limits, _: &mut dyn FnMut(&str)) -> Result<Up, String> {
    Err("stub".into())
}
pub fn resolve(
    _: &str,
    _: &BTreeMap<String, Vec<IpAddr>>,
    _: &[IpAddr],
    _: Duration,
) -> Result<Vec<IpAddr>, String> {
    Err("stub".into())
}
pub fn ask(_: &str, _: &[IpAddr], _: Duration) -> Result<Vec<IpAddr>, String> {
    Err("stub".into())
}
pub fn connect(_: &[SocketAddr], _: Instant) -> Result<TcpStream, String> {
    Err("stub".into())
}
