//! The way to one address, and how the interface got what it needs for it.

use std::net::IpAddr;

use baredump::net::{Interface, Plan, Prefix, Route};

use super::Host;

/// What the kernel says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The server.
    pub to: IpAddr,
    /// The interface's number.
    pub link: u32,
    /// The router.
    pub via: Option<IpAddr>,
    /// The address packets are sent from.
    pub from: Option<IpAddr>,
    /// The network of the route that decided; not known from kernels that do not say it.
    pub entry: Option<Prefix>,
}

impl Way {
    /// Adds to the interface's line what is needed for this way.
    pub(super) fn write(&self, host: &Host, interface: &mut Interface) {
        self.write_address(host, interface);
        self.write_route(host, interface);
        for server in &host.dns {
            if !interface.dns.contains(server) {
                interface.dns.push(*server);
            }
        }
    }

    fn write_address(&self, host: &Host, interface: &mut Interface) {
        let Some(from) = self.from else {
            return;
        };
        let found = |a: &&baredump::net::netlink::Address| a.prefix.address == from;
        let here = host
            .addresses
            .iter()
            .filter(|a| a.link == self.link)
            .find(found);
        let static_address = match here {
            // The address is another interface's, lo's perhaps: routers know where it is.
            None => Prefix::single(from),
            Some(address) if address.is_permanent() => address.prefix,
            Some(_) if from.is_ipv4() => {
                interface.dhcp = true;
                return;
            }
            // A lease of DHCPv6 outlives its machine by far.
            Some(address) if address.prefix.len == 128 && !address.is_temporary() => address.prefix,
            Some(_) => {
                interface.slaac = true;
                return;
            }
        };
        if !interface.addresses.contains(&static_address) {
            interface.addresses.push(static_address);
        }
    }

    fn write_route(&self, host: &Host, interface: &mut Interface) {
        let default = self.entry.is_some_and(|entry| entry.len == 0);
        let dynamic = if self.to.is_ipv4() {
            interface.dhcp
        } else {
            interface.slaac
        };
        match self.via {
            // It comes with the lease, or by the router's own word.
            Some(_) if default && dynamic => {}
            Some(via)
                if default
                    && !interface
                        .gateways
                        .iter()
                        .any(|g| g.is_ipv4() == via.is_ipv4()) =>
            {
                interface.gateways.push(via);
            }
            Some(via) if default && interface.gateways.contains(&via) => {}
            Some(_) => add(interface, self.route(!default)),
            None => {
                let near = |a: &&baredump::net::netlink::Address| {
                    a.link == self.link && a.prefix.contains(self.to)
                };
                if !host.addresses.iter().any(|a| near(&a)) {
                    add(interface, self.route(true));
                }
            }
        }
    }

    /// The route as it is, or for this server only.
    fn route(&self, whole: bool) -> Route {
        let entry = self.entry.filter(|_| whole);
        Route {
            to: entry.unwrap_or(Prefix::single(self.to)),
            via: self.via,
        }
    }
}

/// Gives each server behind a router a route of its own when several interfaces have routers: of their default routes only one is
/// taken.
pub(super) fn keep_apart(plan: &mut Plan, ways: &[(String, Way)]) {
    for (name, way) in ways {
        let rival = |(other, of): &(String, Way)| {
            other != name && of.via.is_some() && of.to.is_ipv4() == way.to.is_ipv4()
        };
        if way.via.is_none() || !ways.iter().any(rival) {
            continue;
        }
        for interface in plan.interfaces.iter_mut().filter(|i| i.name == *name) {
            let known = interface
                .routes
                .iter()
                .any(|r| r.via.is_some() && r.to.contains(way.to));
            if !known {
                add(interface, way.route(false));
            }
        }
    }
}

fn add(interface: &mut Interface, route: Route) {
    if !interface.routes.contains(&route) {
        interface.routes.push(route);
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Fake;
    use super::*;

    fn way(to: &str, via: &str, from: &str, entry: &str) -> Way {
        Way {
            to: to.parse().unwrap(),
            link: 1,
            via: via.parse().ok(),
            from: from.parse().ok(),
            entry: entry.parse().ok(),
        }
    }

    fn fake(addresses: &[(&str, bool)]) -> Fake {
        let mut fake = Fake::new();
        fake.nic("e", "pci0000:00/0000:00:03.0", 1);
        for (prefix, permanent) in addresses {
            fake.address(1, prefix, *permanent);
        }
        fake
    }

    fn line(fake: &Fake, way: &Way) -> String {
        let line = fake.lines(way).unwrap().join(" ");
        line.trim_start_matches("e:mac=02:00:00:00:00:01")
            .to_owned()
    }

    #[test]
    fn static_addresses_and_their_routes() {
        let fake = fake(&[("10.0.0.7/24", true), ("fd00::7/64", true)]);
        let v4 = |to, via, entry| line(&fake, &way(to, via, "10.0.0.7", entry));
        assert_eq!(v4("10.0.0.9", "", "10.0.0.0/24"), ";address=10.0.0.7/24");
        assert_eq!(
            v4("10.9.9.9", "10.0.0.1", "0.0.0.0/0"),
            ";address=10.0.0.7/24;gateway=10.0.0.1"
        );
        assert_eq!(
            v4("10.9.9.9", "10.0.0.2", "10.9.0.0/16"),
            ";address=10.0.0.7/24;route=10.9.0.0/16@10.0.0.2"
        );
        assert_eq!(
            v4("10.9.9.9", "10.0.0.2", ""),
            ";address=10.0.0.7/24;route=10.9.9.9/32@10.0.0.2"
        );
        assert_eq!(
            v4("10.9.9.9", "", "10.9.9.9/32"),
            ";address=10.0.0.7/24;route=10.9.9.9/32"
        );
        let v6 = way("fd01::1", "fe80::1", "fd00::7", "::/0");
        assert_eq!(line(&fake, &v6), ";address=fd00::7/64;gateway=fe80::1");
    }

    #[test]
    fn leases_and_what_routers_say() {
        let fake = fake(&[
            ("10.0.0.7/24", false),
            ("fd00::7/64", false),
            ("fd00::d/128", false),
        ]);
        let v4 = |via, entry| line(&fake, &way("10.9.9.9", via, "10.0.0.7", entry));
        assert_eq!(v4("10.0.0.1", "0.0.0.0/0"), ";dhcp");
        assert_eq!(
            v4("10.0.0.2", "10.9.0.0/16"),
            ";dhcp;route=10.9.0.0/16@10.0.0.2"
        );
        let v6 = |from| line(&fake, &way("fd01::1", "fe80::1", from, "::/0"));
        assert_eq!(v6("fd00::7"), ";slaac");
        assert_eq!(v6("fd00::d"), ";address=fd00::d/128;gateway=fe80::1");
        // Of an interface without address of its own.
        assert_eq!(
            line(
                &fake,
                &way("10.9.9.9", "10.0.0.1", "192.0.2.1", "0.0.0.0/0")
            ),
            ";address=192.0.2.1/32;gateway=10.0.0.1"
        );
    }

    #[test]
    fn one_interface_for_several_targets() {
        let fake = fake(&[("10.0.0.7/24", true), ("fd00::7/64", false)]);
        let mut plan = Plan::default();
        for way in [
            way("10.9.9.9", "10.0.0.1", "10.0.0.7", "0.0.0.0/0"),
            way("10.8.8.8", "10.0.0.1", "10.0.0.7", "0.0.0.0/0"),
            way("10.7.7.7", "10.0.0.2", "10.0.0.7", "0.0.0.0/0"),
            way("fd01::1", "fe80::1", "fd00::7", "::/0"),
        ] {
            fake.host.add(&mut plan, "dumps", &way).unwrap();
        }
        assert_eq!(
            plan.interfaces[0].to_string(),
            "e:mac=02:00:00:00:00:01;slaac;address=10.0.0.7/24;gateway=10.0.0.1;route=10.7.7.7/32@10.0.0.2"
        );
    }

    #[test]
    fn several_routers_are_kept_apart() {
        let mut plan = Plan {
            interfaces: ["a:bus=x;dhcp", "b:bus=y;dhcp"]
                .map(|l| l.parse().unwrap())
                .to_vec(),
            ..Plan::default()
        };
        let first = way("10.9.9.9", "10.0.0.1", "10.0.0.7", "0.0.0.0/0");
        let second = way("10.8.8.8", "10.1.0.1", "10.1.0.7", "0.0.0.0/0");
        let mut same = plan.clone();
        keep_apart(
            &mut same,
            &[
                ("a".to_owned(), first.clone()),
                ("a".to_owned(), second.clone()),
            ],
        );
        assert_eq!(same, plan);
        keep_apart(
            &mut plan,
            &[("a".to_owned(), first), ("b".to_owned(), second)],
        );
        assert_eq!(
            plan.interfaces[0].to_string(),
            "a:bus=x;dhcp;route=10.9.9.9/32@10.0.0.1"
        );
        assert_eq!(
            plan.interfaces[1].to_string(),
            "b:bus=y;dhcp;route=10.8.8.8/32@10.1.0.1"
        );
    }
}
