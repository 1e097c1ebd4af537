//! What is tried one after the other: the interface as it is planned, then, when there is a bond in it, with each slave in its place.

use crate::net::{Interface, Kind, NetError, Plan};

/// A device, a bond of them, VLANs over each other: more is a mistake.
const MAX_DEPTH: usize = 6;
/// Slaves that are tried alone.
const MAX_ALONE: usize = 4;

/// One of them.
pub(super) struct Attempt {
    /// The plan as it is for this attempt.
    pub(super) plan: Plan,
    /// The slave that stands for its bond.
    pub(super) alone: Option<String>,
}

pub(super) fn attempts(plan: &Plan, interface: &str) -> Result<Vec<Attempt>, NetError> {
    let wanted = plan.interface(interface)?;
    if !wanted.has_method() {
        return Err(NetError::NoMethod {
            interface: interface.to_owned(),
        });
    }
    check(plan, interface, 0)?;
    let mut attempts = vec![Attempt {
        plan: plan.clone(),
        alone: None,
    }];
    if let Some((bond, slaves)) = bond_of(plan, interface) {
        for slave in slaves.iter().take(MAX_ALONE) {
            attempts.push(Attempt {
                plan: alone(plan, &bond, slave)?,
                alone: Some(slave.clone()),
            });
        }
    }
    Ok(attempts)
}

/// Everything it is made of is there, and it is not made of itself.
fn check(plan: &Plan, name: &str, depth: usize) -> Result<(), NetError> {
    if depth == MAX_DEPTH {
        return Err(NetError::Loop {
            interface: name.to_owned(),
        });
    }
    let interface = plan.interface(name)?;
    interface
        .parts()
        .iter()
        .try_for_each(|part| check(plan, part, depth + 1))
}

/// The first bond below the interface, or itself. The plan is checked.
fn bond_of(plan: &Plan, name: &str) -> Option<(Interface, Vec<String>)> {
    let mut name = name;
    for _ in 0..MAX_DEPTH {
        let interface = plan.interface(name).ok()?;
        match &interface.kind {
            Kind::Bond { on, .. } => return Some((interface.clone(), on.clone())),
            Kind::Vlan { on, .. } => name = on,
            Kind::Mac(_) | Kind::Bus(_) => return None,
        }
    }
    None
}

/// The plan in which the bond is this slave.
fn alone(plan: &Plan, bond: &Interface, slave: &str) -> Result<Plan, NetError> {
    let kind = plan.interface(slave)?.kind.clone();
    let mut plan = plan.clone();
    for interface in &mut plan.interfaces {
        if interface.name == bond.name {
            interface.kind = kind.clone();
        }
    }
    Ok(plan)
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
    fn each_slave_stands_for_the_bond() {
        let plan = plan(&[
            "A:mac=52:54:00:00:00:01",
            "B:bus=0000:00:04.0",
            "bond0:bond=active-backup;on=A+B;miimon=50;mtu=1400",
            "bond0.5:vlan=5;on=bond0;dhcp",
        ]);
        let found = attempts(&plan, "bond0.5").unwrap();
        let alone: Vec<_> = found.iter().map(|a| a.alone.as_deref()).collect();
        assert_eq!(alone, [None, Some("A"), Some("B")]);
        let line = |n: usize, name| found[n].plan.interface(name).unwrap().to_string();
        assert_eq!(line(1, "bond0"), "bond0:mac=52:54:00:00:00:01;mtu=1400");
        assert_eq!(line(2, "bond0"), "bond0:bus=0000:00:04.0;mtu=1400");
        assert_eq!(line(2, "bond0.5"), line(0, "bond0.5"));
    }

    #[test]
    fn plans_that_cannot_be() {
        let plan = plan(&[
            "a:vlan=1;on=b;dhcp",
            "b:vlan=2;on=a",
            "c:vlan=2;on=lost;dhcp",
            "d:bus=x",
        ]);
        let error = |name| attempts(&plan, name).err().unwrap().to_string();
        assert!(error("a").contains("made of itself"));
        assert!(error("c").contains("lost"));
        assert!(error("d").contains("no way to get an address"));
        assert!(error("e").contains("interface e"));
    }
}
