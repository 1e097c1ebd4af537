//! Bringing an interface up, with what it is made of.
//!
//! The order is: the devices appear, the bond and the VLAN are made, carrier, addresses. A bond that does not come that far is taken
//! apart, and each of its slaves is tried alone.

mod addresses;
mod attempts;
mod bond;
mod device;
mod stack;
mod sysctl;

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::netlink::{Address, Link, Netlink};
use super::{Interface, NetError, Plan};
use attempts::Attempt;

/// How often the kernel is asked whether something has come.
const POLL: Duration = Duration::from_millis(50);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a device to appear: its driver may still be busy.
    pub device: Duration,
    /// For carrier. Switches take 30 s and more until they let a new port speak.
    pub carrier: Duration,
    /// For a lease, for a router's word, for the check that an address is free.
    pub address: Duration,
    /// How long the address is needed: a shorter lease is mentioned.
    pub needed: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            device: Duration::from_secs(30),
            carrier: Duration::from_secs(45),
            address: Duration::from_secs(45),
            needed: Duration::from_secs(30 * 60),
        }
    }
}

/// An interface that is up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    /// What the plan calls it.
    pub interface: String,
    /// What the kernel calls it.
    pub device: String,
    /// The slave that stands for a bond which did not come up.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alone: Option<String>,
    /// Whether it was up before.
    pub before: bool,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// Default routers.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Who gave the lease.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dhcp_server: Option<IpAddr>,
    /// How long the lease is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lease_seconds: Option<u64>,
    /// From the start until the devices were there and joined.
    pub device_ms: u64,
    /// From then until there was carrier.
    pub carrier_ms: u64,
    /// From then until there was an address.
    pub address_ms: u64,
}

/// What all parts of the work need.
struct Task<'a> {
    kernel: Netlink,
    limits: Limits,
    say: &'a mut dyn FnMut(&str),
}

impl Task<'_> {
    fn links(&mut self) -> Result<Vec<Link>, NetError> {
        Link::all(&mut self.kernel).map_err(NetError::Netlink)
    }

    /// The link as it is now; `None` when it is gone.
    fn link(&mut self, index: u32) -> Result<Option<Link>, NetError> {
        Ok(self.links()?.into_iter().find(|link| link.index == index))
    }

    fn addresses(&mut self, link: &Link) -> Result<Vec<Address>, NetError> {
        let all = Address::all(&mut self.kernel).map_err(NetError::Netlink)?;
        Ok(all.into_iter().filter(|a| a.link == link.index).collect())
    }
}

/// Brings `interface` up. One that is up and has an address is left alone; so the call can be repeated.
///
/// # Errors
/// It has no address in the end. Of a bond the error is its own, not that of a slave; `say` is told of those.
pub fn bring_up(
    plan: &Plan,
    interface: &str,
    limits: Limits,
    say: &mut dyn FnMut(&str),
) -> Result<Up, NetError> {
    let attempts = attempts::attempts(plan, interface)?;
    let kernel = Netlink::open().map_err(NetError::Netlink)?;
    let mut task = Task {
        kernel,
        limits,
        say,
    };
    task.lo_up()?;
    for attempt in &attempts {
        if let Some(up) = already(&mut task, attempt, interface)? {
            return Ok(up);
        }
    }
    let mut first = None;
    for attempt in &attempts {
        if let Some(slave) = &attempt.alone {
            (task.say)(&format!("trying {slave} alone"));
        }
        match once(&mut task, attempt, interface) {
            Ok(up) => return Ok(up),
            Err(error) => {
                if attempts.len() > 1 {
                    (task.say)(&error.to_string());
                    stack::take_apart(&mut task, attempt, interface);
                }
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| NetError::NoMethod {
        interface: interface.to_owned(),
    }))
}

fn already(task: &mut Task<'_>, attempt: &Attempt, name: &str) -> Result<Option<Up>, NetError> {
    let interface = attempt.plan.interface(name)?;
    let links = task.links()?;
    let Some(link) = device::existing(interface, &links) else {
        return Ok(None);
    };
    let link = link.clone();
    let up = up(task, attempt, interface, &link)?;
    Ok((link.up && link.carrier && !up.addresses.is_empty()).then_some(Up { before: true, ..up }))
}

fn once(task: &mut Task<'_>, attempt: &Attempt, name: &str) -> Result<Up, NetError> {
    let interface = attempt.plan.interface(name)?;
    let start = Instant::now();
    let link = stack::make(task, &attempt.plan, interface)?;
    let made = Instant::now();
    let link = carrier(task, interface, &link)?;
    let running = Instant::now();
    let lease = addresses::get(task, interface, &link)?;
    let mut up = up(task, attempt, interface, &link)?;
    up.device_ms = millis(made - start);
    up.carrier_ms = millis(running - made);
    up.address_ms = millis(running.elapsed());
    if let Some(lease) = lease {
        up.gateways.extend(lease.gateway);
        up.dhcp_server = Some(lease.server.into());
        up.lease_seconds = lease.time.map(|time| time.as_secs());
        for server in lease.dns {
            if !up.dns.contains(&server) {
                up.dns.push(server);
            }
        }
    }
    Ok(up)
}

/// What there is, without what only a lease says.
fn up(
    task: &mut Task<'_>,
    attempt: &Attempt,
    interface: &Interface,
    link: &Link,
) -> Result<Up, NetError> {
    let mut usable = task.addresses(link)?;
    usable.retain(Address::is_usable);
    Ok(Up {
        interface: interface.name.clone(),
        device: link.name.clone(),
        alone: attempt.alone.clone(),
        addresses: usable.iter().map(|a| a.prefix.to_string()).collect(),
        gateways: interface.gateways.clone(),
        dns: interface.dns.clone(),
        ..Up::default()
    })
}

fn carrier(task: &mut Task<'_>, interface: &Interface, link: &Link) -> Result<Link, NetError> {
    let start = Instant::now();
    let mut said = false;
    loop {
        match task.link(link.index)? {
            Some(link) if link.carrier => return Ok(link),
            _ if start.elapsed() >= task.limits.carrier => {
                return Err(NetError::NoCarrier {
                    interface: interface.name.clone(),
                    device: link.name.clone(),
                    waited: task.limits.carrier,
                });
            }
            _ => {}
        }
        if !said && start.elapsed() > Duration::from_secs(3) {
            (task.say)(&format!("waiting for the carrier of {}", link.name));
            said = true;
        }
        std::thread::sleep(POLL);
    }
}

fn refused(interface: &Interface, what: impl Into<String>) -> impl FnOnce(io::Error) -> NetError {
    let (interface, what) = (interface.name.clone(), what.into());
    move |cause| NetError::Kernel {
        interface,
        what,
        cause,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
