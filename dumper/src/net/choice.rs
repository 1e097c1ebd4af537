//! Which interface leads to a target.

use super::up::{Limits, Up};
use super::{Interface, Kind, Plan};
use std::fmt;
use std::time::Duration;

impl Plan {
    /// The plan with the interfaces of a configuration: they take the place of those with the same names, and the last one that is no
    /// part of another leads to every target.
    #[must_use]
    pub fn with(mut self, configured: &[Interface]) -> Self {
        let Some(last) = tops(configured).last() else {
            return self;
        };
        let last = last.name.clone();
        let is_new = |old: &Interface| configured.iter().all(|new| new.name != old.name);
        self.interfaces.retain(is_new);
        self.interfaces.extend_from_slice(configured);
        self.targets.clear();
        self.targets.insert(0, last);
        self
    }

    /// The interface that leads to target `number`: what was recorded for it, or for all, or the only one.
    pub fn leading_to(&self, number: u8) -> Option<&str> {
        let recorded = self.targets.get(&number).or_else(|| self.targets.get(&0));
        let recorded = recorded.or_else(|| self.targets.values().next());
        recorded
            .map(String::as_str)
            .or_else(|| tops(&self.interfaces).last().map(|i| i.name.as_str()))
    }
}

/// Those that are no part of another one.
fn tops(interfaces: &[Interface]) -> impl Iterator<Item = &Interface> {
    let part = |name: &String| {
        interfaces
            .iter()
            .any(|i| i.parts().contains(&name.as_str()))
    };
    interfaces.iter().filter(move |i| !part(&i.name))
}

impl Limits {
    /// For an interface that has so long for each of its phases: a bond, which may be tried with each of its slaves alone, has it once.
    pub fn within(whole: Duration, plan: &Plan, interface: &str) -> Self {
        let slaves = |name: &str| {
            let found = plan.interfaces.iter().find(|i| i.name == name);
            found.map_or(0, |i| match &i.kind {
                Kind::Bond { on, .. } => on.len(),
                _ => 0,
            })
        };
        let parts = plan.interfaces.iter().find(|i| i.name == interface);
        let below = parts.map_or_else(Vec::new, Interface::parts);
        let slaves = slaves(interface) + below.iter().map(|name| slaves(name)).sum::<usize>();
        let each = whole / u32::try_from(slaves.saturating_add(1)).unwrap_or(u32::MAX);
        Self {
            device: each,
            carrier: each,
            address: each,
            ..Self::default()
        }
    }
}

impl fmt::Display for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "network {} is up: {} {}",
            self.interface,
            self.device,
            self.addresses.join(" ")
        )?;
        if let Some(server) = self.dhcp_server {
            write!(f, ", leased from {server}")?;
        }
        if let Some(slave) = &self.alone {
            write!(f, ", {slave} alone")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces(lines: &[&str]) -> Vec<Interface> {
        lines.iter().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn the_last_whole_interface_leads_to_the_targets() {
        let plan = Plan {
            interfaces: interfaces(&[
                "a:mac=52:54:00:12:34:56;dhcp",
                "b:mac=52:54:00:12:34:57;dhcp",
            ]),
            targets: [(1, "a".to_owned()), (2, "b".to_owned())].into(),
            ..Plan::default()
        };
        assert_eq!(
            (plan.leading_to(1), plan.leading_to(2)),
            (Some("a"), Some("b"))
        );
        assert_eq!(plan.leading_to(0), Some("a"));
        let same = plan.clone().with(&[]);
        assert_eq!(same, plan);
        let more = interfaces(&["b:mac=52:54:00:12:34:58", "v:vlan=5;on=b;dhcp"]);
        let plan = plan.with(&more);
        assert_eq!((plan.leading_to(1), plan.interfaces.len()), (Some("v"), 3));
        assert_eq!(Plan::default().leading_to(1), None);
    }

    #[test]
    fn a_bond_shares_its_time_with_its_slaves() {
        let plan = Plan {
            interfaces: interfaces(&[
                "a:mac=52:54:00:12:34:56",
                "b:mac=52:54:00:12:34:57",
                "c:bond=active-backup;on=a+b;dhcp",
                "v:vlan=5;on=c;dhcp",
            ]),
            ..Plan::default()
        };
        let limit = |name| Limits::within(Duration::from_secs(60), &plan, name).carrier;
        assert_eq!(
            (
                limit("a").as_secs(),
                limit("c").as_secs(),
                limit("v").as_secs()
            ),
            (60, 20, 20)
        );
    }
}
