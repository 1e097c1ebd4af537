//! Addresses and routes of an interface that has carrier.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{POLL, Task, refused, stack, sysctl};
use crate::net::dhcp::{self, Lease, Terms};
use crate::net::netlink::{Address, Link, RouteEntry, add_route};
use crate::net::{Interface, NetError, Prefix, Route};

/// Default routes of different interfaces stand beside each other: the kernel wants their metrics to differ.
const METRIC: u32 = 1024;
/// A static address is checked by the kernel in a second; more when it is busy.
const CHECK: Duration = Duration::from_secs(10);

/// All that the interface's line asks for. What only one of several ways failed at, `say` is told.
pub(super) fn get(
    task: &mut Task<'_>,
    interface: &Interface,
    link: &Link,
) -> Result<Option<Lease>, NetError> {
    let mut trouble = Vec::new();
    let (mut lease, mut done) = (None, false);
    if interface.dhcp {
        match by_dhcp(task, interface, link) {
            Ok(found) => (lease, done) = (Some(found), true),
            Err(error) => trouble.push(error),
        }
    }
    if !interface.addresses.is_empty() {
        match by_hand(task, interface, link) {
            Ok(()) => done = true,
            Err(error) => trouble.push(error),
        }
    }
    if interface.slaac {
        match by_slaac(task, interface, link) {
            Ok(()) => done = true,
            Err(error) => trouble.push(error),
        }
    }
    if !done && !trouble.is_empty() {
        return Err(trouble.swap_remove(0));
    }
    for error in trouble {
        (task.say)(&error.to_string());
    }
    let own: Vec<Prefix> = interface
        .addresses
        .iter()
        .copied()
        .chain(lease.as_ref().map(|lease| lease.address))
        .collect();
    let gateways = interface.gateways.iter().copied().map(Some);
    routes(task, interface, link, &own, &interface.routes, gateways)?;
    Ok(lease)
}

fn by_hand(task: &mut Task<'_>, interface: &Interface, link: &Link) -> Result<(), NetError> {
    let v6 = interface.addresses.iter().any(|a| a.address.is_ipv6());
    if v6 {
        sysctl::enable(&link.name);
    }
    for prefix in &interface.addresses {
        let what = format!("give {} the address {prefix}", link.name);
        Address::add(&mut task.kernel, link, *prefix).map_err(refused(interface, what))?;
    }
    if v6 {
        checked(task, interface, link)
    } else {
        Ok(())
    }
}

/// Waits until the kernel knows that nobody else on the link has the addresses.
fn checked(task: &mut Task<'_>, interface: &Interface, link: &Link) -> Result<(), NetError> {
    let limit = task.limits.address.min(CHECK);
    let end = Instant::now() + limit;
    loop {
        let found = task.addresses(link)?;
        let mut ours = found
            .iter()
            .filter(|a| interface.addresses.contains(&a.prefix));
        if let Some(taken) = ours.clone().find(|a| a.is_duplicate()) {
            return Err(NetError::Duplicate {
                interface: interface.name.clone(),
                address: taken.prefix.address.to_string(),
            });
        }
        // Addresses that mean nothing beyond the link never count as usable.
        if ours.all(|a| a.is_usable() || !a.global) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(no_address(
                interface,
                link,
                ("the line's address", limit),
                "the kernel does not finish its check that nobody else has it",
            ));
        }
        std::thread::sleep(POLL);
    }
}

fn by_dhcp(task: &mut Task<'_>, interface: &Interface, link: &Link) -> Result<Lease, NetError> {
    let failed = |why: &str| no_address(interface, link, ("DHCP", task.limits.address), why);
    let Some(mac) = link.address else {
        return Err(failed("it is no Ethernet interface"));
    };
    let terms = Terms {
        interface: link.index,
        mac,
        end: Instant::now() + task.limits.address,
    };
    let lease = dhcp::acquire(&terms).map_err(|why| failed(&why))?;
    if let Some(mtu) = lease.mtu.filter(|_| interface.mtu.is_none())
        && mtu != link.mtu
    {
        stack::set_mtu(task, link, mtu);
    }
    let what = format!("give {} the address {}", link.name, lease.address);
    Address::add(&mut task.kernel, link, lease.address).map_err(refused(interface, what))?;
    let own = [lease.address];
    routes(task, interface, link, &own, &lease.routes, [lease.gateway])?;
    if let Some(time) = lease.time.filter(|time| *time < task.limits.needed) {
        (task.say)(&format!(
            "the lease of {} is {} s, shorter than the capture may take: the address is kept beyond it",
            lease.address.address,
            time.as_secs()
        ));
    }
    Ok(lease)
}

fn by_slaac(task: &mut Task<'_>, interface: &Interface, link: &Link) -> Result<(), NetError> {
    if !sysctl::has_ipv6() {
        let failed = ("SLAAC", Duration::ZERO);
        return Err(no_address(
            interface,
            link,
            failed,
            "the kernel has no IPv6: the image may lack the module ipv6",
        ));
    }
    let end = Instant::now() + task.limits.address;
    loop {
        let found = task.addresses(link)?;
        let v6 =
            |a: &&Address| a.prefix.address.is_ipv6() && !interface.addresses.contains(&a.prefix);
        let usable = found.iter().filter(v6).any(Address::is_usable);
        let router = !RouteEntry::defaults_v6(&mut task.kernel, link)
            .map_err(NetError::Netlink)?
            .is_empty();
        if usable && router {
            return Ok(());
        }
        if Instant::now() >= end {
            let duplicate = found.iter().any(Address::is_duplicate);
            let why = match (usable, router) {
                _ if duplicate => "another machine on the link has the same address",
                (true, _) => return Ok(()),
                (_, true) => {
                    "a router answered, but gives no addresses (DHCPv6 is not spoken here: use a static address)"
                }
                _ => "no router answered",
            };
            return Err(no_address(
                interface,
                link,
                ("SLAAC", task.limits.address),
                why,
            ));
        }
        std::thread::sleep(POLL);
    }
}

/// Those on the link first, as the others may lead over them; default routes last.
fn routes(
    task: &mut Task<'_>,
    interface: &Interface,
    link: &Link,
    own: &[Prefix],
    routes: &[Route],
    gateways: impl IntoIterator<Item = Option<IpAddr>>,
) -> Result<(), NetError> {
    let defaults: Vec<Route> = gateways.into_iter().flatten().map(default).collect();
    let mut near: Vec<Prefix> = own.to_vec();
    near.extend(routes.iter().filter(|r| r.via.is_none()).map(|r| r.to));
    let mut all: Vec<&Route> = routes.iter().chain(&defaults).collect();
    all.sort_by_key(|route| route.via.is_some());
    for route in all {
        let known = |via: IpAddr| is_link_local(via) || near.iter().any(|n| n.contains(via));
        let on_link = route.via.is_some_and(|via| !known(via));
        let metric = METRIC + link.index;
        let what = format!("add the route {route} over {}", link.name);
        add_route(&mut task.kernel, link, route, metric, on_link)
            .map_err(refused(interface, what))?;
    }
    Ok(())
}

fn default(via: IpAddr) -> Route {
    let address = match via {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    Route {
        to: Prefix { address, len: 0 },
        via: Some(via),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn no_address(
    interface: &Interface,
    link: &Link,
    (method, waited): (&'static str, Duration),
    why: &str,
) -> NetError {
    NetError::NoAddress {
        interface: interface.name.clone(),
        device: link.name.clone(),
        method,
        why: why.to_owned(),
        waited,
    }
}
