//! Brings up what leads to one target, or to the hosts that want to hear of the crash.

use super::{Context, End, Plan, forget, load, load_plan, spec, store};
use crate::init::log::say;
use crate::net::{self, Up};
use std::fs;
use std::time::Duration;

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
    // For another target it was waited for already: now it is up, or it is not.
    let down = down_fact(interface);
    let before = load::<String>(&down).ok();
    let whole = plan.config.network_timeout;
    let patience = before.as_ref().map_or(whole, |_| whole.min(AGAIN));
    if before.is_none() {
        store(&down, &"was waited for until the step was killed")?;
    }
    let limits = net::Limits::within(patience, &network, interface);
    let mut up = match net::bring_up(&network, interface, limits, &mut |text| say!("{text}")) {
        Ok(up) => up,
        Err(e) if before.is_none() => {
            store(&down, &e.to_string())?;
            return Err(e.to_string());
        }
        Err(e) => {
            return Err(format!(
                "{e}; for another target before: {}",
                before.unwrap_or_default()
            ));
        }
    };
    forget(&down);
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

/// How long an interface gets that did not come up for another target: its link may be there by now.
const AGAIN: Duration = Duration::from_secs(3);

fn down_fact(interface: &str) -> String {
    format!("network-down-{}", interface.replace('/', "_"))
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
