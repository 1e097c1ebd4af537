//! How this machine reaches the servers of its targets, recorded so that the capture kernel can do the same.
//!
//! [`record`] asks the resolver for a target's addresses and the kernel for the way there: interface, what that is made of, address,
//! router. [`modules`] and [`drivers`] are what the capture kernel needs for it.

mod drivers;
mod error;
mod host;
mod resolver;
mod way;

use std::collections::BTreeSet;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use baredump::net::netlink::{Netlink, RouteEntry};
use baredump::net::{Kind, Plan};

pub use drivers::drivers;
pub use error::NetworkError;
pub use host::Host;
pub use way::Way;

/// Records what leads to each target, given by its number and the server's name or address. `sysroot` is `/` but for tests.
///
/// # Errors
/// A name that can't be resolved, no route, or an interface that the capture kernel can't set up.
pub fn record(sysroot: &Path, targets: &[(u8, String)]) -> Result<Plan, NetworkError> {
    let mut kernel = Netlink::open().map_err(NetworkError::Kernel)?;
    let host = Host::read(sysroot, &mut kernel)?;
    let mut plan = Plan::default();
    let mut ways = Vec::new();
    for (number, server) in targets {
        let addresses = resolve(server)?;
        let way = first_way(&mut kernel, server, &addresses)?;
        let interface = host.add(&mut plan, server, &way)?;
        if server.parse::<IpAddr>().is_err() {
            plan.hosts.insert(server.clone(), addresses);
        }
        plan.targets.insert(*number, interface.clone());
        ways.push((interface, way));
    }
    way::keep_apart(&mut plan, &ways);
    Ok(plan)
}

/// The modules of the kernel's network that the plan needs besides [`drivers`]. On most kernels some of them are built in.
#[must_use]
pub fn modules(plan: &Plan) -> Vec<String> {
    let mut modules = BTreeSet::new();
    for interface in &plan.interfaces {
        match interface.kind {
            Kind::Vlan { .. } => modules.insert("8021q"),
            Kind::Bond { .. } => modules.insert("bonding"),
            Kind::Mac(_) | Kind::Bus(_) => false,
        };
        if interface.dhcp {
            modules.insert("af_packet");
        }
        if interface.slaac || interface.addresses.iter().any(|a| a.address.is_ipv6()) {
            modules.insert("ipv6");
        }
    }
    modules.into_iter().map(str::to_owned).collect()
}

/// The addresses of a server, as this machine's resolver knows them.
///
/// # Errors
/// It knows none.
pub fn resolve(server: &str) -> Result<Vec<IpAddr>, NetworkError> {
    if let Ok(address) = server.parse() {
        return Ok(vec![address]);
    }
    let failed = |why: String| NetworkError::Resolve {
        server: server.to_owned(),
        why,
    };
    let found = (server, 0_u16)
        .to_socket_addrs()
        .map_err(|e| failed(e.to_string()))?;
    let mut addresses = Vec::new();
    for address in found.map(|socket| socket.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(failed("the resolver knows no address of it".to_owned()));
    }
    Ok(addresses)
}

/// Of several addresses, the first that a route leads to.
fn first_way(
    kernel: &mut Netlink,
    server: &str,
    addresses: &[IpAddr],
) -> Result<Way, NetworkError> {
    let mut trouble = None;
    for address in addresses {
        match way_to(kernel, *address) {
            Ok(way) => return Ok(way),
            Err(why) => {
                trouble.get_or_insert(NetworkError::NoRoute {
                    server: server.to_owned(),
                    address: *address,
                    why,
                });
            }
        }
    }
    Err(trouble.unwrap_or_else(|| NetworkError::Resolve {
        server: server.to_owned(),
        why: "there is no address".to_owned(),
    }))
}

fn way_to(kernel: &mut Netlink, to: IpAddr) -> Result<Way, String> {
    let route = RouteEntry::to(kernel, to).map_err(|e| e.to_string())?;
    if route.foreign_router {
        return Err("the route's router has an address of the other family".to_owned());
    }
    let link = route
        .link
        .ok_or("the route names no interface".to_owned())?;
    // Older kernels do not know what is asked and answer as to the first question.
    let entry = RouteEntry::entry(kernel, to)
        .ok()
        .filter(|entry| entry.link == Some(link) && entry.via == route.via);
    Ok(Way {
        to,
        link,
        via: route.via,
        from: route.from,
        entry: entry.map(|entry| entry.to),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lines: &[&str]) -> Plan {
        Plan {
            interfaces: lines.iter().map(|line| line.parse().unwrap()).collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn what_a_plan_needs() {
        let all = plan(&[
            "a:bus=x",
            "b:bond=1;on=a",
            "c:vlan=5;on=b;dhcp",
            "d:bus=y;slaac",
        ]);
        assert_eq!(modules(&all), ["8021q", "af_packet", "bonding", "ipv6"]);
        assert!(modules(&plan(&["a:bus=x;address=10.0.0.1/8"])).is_empty());
        assert_eq!(modules(&plan(&["a:bus=x;address=fd00::1/8"])), ["ipv6"]);
    }

    #[test]
    fn this_machine_itself_is_no_server() {
        let error = record(Path::new("/"), &[(1, "127.0.0.1".to_owned())]).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
