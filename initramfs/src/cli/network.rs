//! The host's network as the image needs it: recorded here, replayed at the crash.

use std::path::Path;

use anyhow::{Result, bail};
use baredump::config::Config;
use baredump::net::Plan;
use baredump::target::TargetSpec;
use initramfs::network;

use super::wanted::Wanted;

/// Where the capture finds it, below `/etc/baredump`.
pub(super) const FILE: &str = "network.json";

/// What leads to the targets; none when all of them are local. With `probe` this machine is looked at, and the drivers of its
/// interfaces are wanted.
pub(super) fn plan(config: &Config, probe: bool, wanted: &mut Wanted) -> Result<Option<Plan>> {
    let servers = servers(&config.targets, config);
    if servers.is_empty() {
        return Ok(None);
    }
    if !probe && config.interfaces.is_empty() {
        bail!(
            "what leads to {} can't be looked up with --no-probe: name an interface with `interfaces` in the configuration",
            servers[0].1
        );
    }
    let plan = if config.interfaces.is_empty() {
        network::record(Path::new("/"), &servers)?
    } else {
        named(&servers)?
    };
    let whole = plan.clone().with(&config.interfaces);
    wanted.connect(&whole, probe)?;
    Ok(Some(plan))
}

/// Servers by the number of their target; 0 for those that hear of the crash.
fn servers(targets: &[TargetSpec], config: &Config) -> Vec<(u8, String)> {
    let fence = config
        .fence_kdump
        .first()
        .map(|host| (0, host.ip().to_string()));
    let targets = (1..)
        .zip(targets)
        .filter(|(_, target)| target.needs_network());
    let servers = targets.filter_map(|(number, target)| Some((number, target.server()?.0)));
    fence.into_iter().chain(servers).collect()
}

/// Addresses of names alone: the interfaces are those of the configuration.
fn named(servers: &[(u8, String)]) -> Result<Plan> {
    let mut plan = Plan::default();
    for (_, server) in servers {
        if server.parse::<std::net::IpAddr>().is_err() {
            plan.hosts.insert(server.clone(), network::resolve(server)?);
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_need_a_network() {
        let config = |text: &str| Config::from_toml_strict(text).unwrap();
        let local = config("targets = [\"file:/dev/vda:/\"]");
        let mut wanted = Wanted::default();
        assert_eq!(plan(&local, false, &mut wanted).unwrap(), None);
        let text = "targets = [\"file:/dev/vda:/\", \"nfs://192.0.2.1/x\"]\n";
        let error = plan(&config(text), false, &mut wanted)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("192.0.2.1") && error.contains("`interfaces`"),
            "{error}"
        );
        let named = config(&format!(
            "{text}interfaces = [\"lan:mac=52:54:00:12:34:56;dhcp\", \"v:vlan=5;on=lan;dhcp\"]\nfence_kdump = [\"192.0.2.9\"]"
        ));
        assert_eq!(
            servers(&named.targets, &named),
            [(0, "192.0.2.9".into()), (2, "192.0.2.1".into())]
        );
        assert_eq!(
            plan(&named, false, &mut wanted).unwrap(),
            Some(Plan::default())
        );
        wanted.settle(|name| name == "8021q");
        assert_eq!(wanted.modules, ["8021q"]);
    }
}
