//! Brings up what leads to one target, or to the hosts that want to hear of the crash.

use super::{Context, End, Plan, load, load_plan, spec, store};
use crate::init::log::say;
use crate::net::{self, Up};
use std::fs;

/// What the image builder found of the host's network.
const FILE: &str = "/etc/baredump/network.json";

pub(super) fn run(context: &Context) -> Result<End, String> {
    let plan = load_plan()?;
    let network = network(&plan)?;
    let asked = spec(&plan.config.targets, context.target)
        .ok()
        .and_then(|target| target.interface.as_deref());
    let interface = asked.or_else(|| network.leading_to(context.target)).ok_or_else(|| {
        "no interface is known: the image was built without a look at the host's network, name one with `interfaces`".to_owned()
    })?;
    let limits = net::Limits::within(plan.config.network_timeout, &network, interface);
    let mut up = net::bring_up(&network, interface, limits, &mut |text| say!("{text}"))
        .map_err(|e| e.to_string())?;
    if up.before {
        // What a lease said of name servers was heard when it came up.
        let mut earlier = (0..context.target).rev().filter_map(self::up);
        let same = earlier.find(|other| other.interface == up.interface);
        up.dns = same.map_or(up.dns, |other| other.dns);
    }
    say!("{up}");
    store(&up_fact(context.target), &up)?;
    Ok(End::Done)
}

/// The network as it was recorded, with the interfaces of the configuration in the place of those with their names.
pub(super) fn network(plan: &Plan) -> Result<net::Plan, String> {
    let recorded = match fs::read(FILE) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|e| format!("cannot read {FILE}: {e}"))?
        }
        Err(_) => net::Plan::default(),
    };
    Ok(recorded.with(&plan.config.interfaces))
}

fn up_fact(target: u8) -> String {
    format!("network-{target}")
}

/// The DNS servers that the way to a target has.
pub(super) fn dns(target: u8) -> Vec<std::net::IpAddr> {
    up(target).map_or_else(Vec::new, |up| up.dns)
}

/// What is known of the way to a target, for the report.
pub(super) fn up(target: u8) -> Option<Up> {
    load(&up_fact(target)).ok()
}
