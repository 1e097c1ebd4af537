//! Making an interface of its parts, from the devices up, and taking it apart again.

use super::{Task, bond, device, refused, sysctl};
use crate::net::netlink::Link;
use crate::net::{Interface, Kind, NetError, Plan};

use super::attempts::Attempt;

/// The interface, told to be up. The plan is checked: it ends.
pub(super) fn make(
    task: &mut Task<'_>,
    plan: &Plan,
    interface: &Interface,
) -> Result<Link, NetError> {
    let link = match &interface.kind {
        Kind::Mac(_) | Kind::Bus(_) => device::wait(task, interface)?,
        Kind::Vlan { id, on } => vlan(task, plan, interface, *id, on)?,
        Kind::Bond { .. } => return bond(task, plan, interface),
    };
    sysctl::router_advertisements(&link.name, interface.slaac);
    switch_on(task, interface, &link)?;
    Ok(link)
}

impl Task<'_> {
    /// Programs that speak to themselves want it.
    pub(super) fn lo_up(&mut self) -> Result<(), NetError> {
        let lo = self.links()?.into_iter().find(|link| link.loopback);
        if let Some(lo) = lo.filter(|lo| !lo.up)
            && let Err(error) = lo.set_up(&mut self.kernel, true)
        {
            (self.say)(&format!("can't switch on {}: {error}", lo.name));
        }
        Ok(())
    }
}

fn switch_on(task: &mut Task<'_>, interface: &Interface, link: &Link) -> Result<(), NetError> {
    if let Some(mtu) = interface.mtu.filter(|mtu| *mtu != link.mtu) {
        set_mtu(task, link, mtu);
    }
    if link.up {
        return Ok(());
    }
    link.set_up(&mut task.kernel, true)
        .map_err(refused(interface, format!("switch on {}", link.name)))
}

/// An interface with the wrong largest packet may do, one that is given up does not.
pub(super) fn set_mtu(task: &mut Task<'_>, link: &Link, mtu: u32) {
    if let Err(error) = link.set_mtu(&mut task.kernel, mtu) {
        (task.say)(&format!(
            "{}: an MTU of {mtu} can't be set, it stays {}: {error}",
            link.name, link.mtu
        ));
    }
}

fn vlan(
    task: &mut Task<'_>,
    plan: &Plan,
    interface: &Interface,
    id: u16,
    on: &str,
) -> Result<Link, NetError> {
    let lower = make(task, plan, plan.interface(on)?)?;
    let fits = |link: &Link| {
        link.lower == Some(lower.index) && link.vlan.is_some_and(|(found, _)| found == id)
    };
    if let Some(link) = device::existing(interface, &task.links()?).filter(|l| fits(l)) {
        return Ok(link.clone());
    }
    let what = format!(
        "make VLAN {id} over {} (it needs the module 8021q)",
        lower.name
    );
    lower
        .add_vlan(&mut task.kernel, &interface.name, id)
        .map_err(refused(interface, what))?;
    device::wait(task, interface)
}

fn bond(task: &mut Task<'_>, plan: &Plan, interface: &Interface) -> Result<Link, NetError> {
    let Kind::Bond { mode, on, options } = &interface.kind else {
        return device::wait(task, interface);
    };
    let mut slaves = Vec::new();
    let mut missing = None;
    for name in on {
        match device::wait(task, plan.interface(name)?) {
            Ok(link) => slaves.push((name.as_str(), link)),
            Err(error) => {
                // The others have had the same time.
                (task.say)(&error.to_string());
                missing = Some(error);
                task.limits.device = std::time::Duration::ZERO;
            }
        }
    }
    if slaves.is_empty()
        && let Some(error) = missing
    {
        return Err(error);
    }
    let wish = bond::Wish {
        interface,
        mode,
        options,
        slaves: &slaves,
    };
    bond::join(task, &wish)?;
    let link = device::wait(task, interface)?;
    sysctl::router_advertisements(&link.name, interface.slaac);
    switch_on(task, interface, &link)?;
    Ok(link)
}

/// Undoes an attempt as far as the next one needs it. What can't be undone the next one will say.
pub(super) fn take_apart(task: &mut Task<'_>, attempt: &Attempt, interface: &str) {
    let mut name = interface.to_owned();
    // As deep as plans are.
    for _ in 0..8 {
        let Ok(interface) = attempt.plan.interface(&name) else {
            return;
        };
        let links = task.links().unwrap_or_default();
        let link = device::existing(interface, &links);
        name = match &interface.kind {
            Kind::Vlan { on, .. } => {
                if let Some(link) = link {
                    let _ = link.remove(&mut task.kernel);
                }
                on.clone()
            }
            Kind::Bond { .. } => {
                bond::remove(&interface.name);
                return;
            }
            Kind::Mac(_) | Kind::Bus(_) => {
                if let Some(link) = link {
                    let _ = link.set_up(&mut task.kernel, false);
                }
                return;
            }
        };
    }
}
