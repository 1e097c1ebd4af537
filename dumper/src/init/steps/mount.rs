//! Finds a target: its device, which is mounted where it has a file system, or its server.

use super::{Context, End, Plan, RUN, load_plan, network, spec, store};
use crate::init::log::say;
use crate::net::{self, NetError};
use crate::target::{
    Export, Kind, Reached, TargetSpec, assemble_device, mount, mount_virtiofs, raw,
};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn run(context: &Context) -> Result<End, String> {
    let plan = load_plan()?;
    let spec = spec(&plan.config.targets, context.target)?;
    let point = Path::new(RUN).join(format!("target-{}", context.target));
    let config = &plan.config;
    let reached = match &spec.kind {
        Kind::File { device, subvol, .. } => {
            let found = assemble_device(device, config.device_timeout);
            let found = found.map_err(|e| e.to_string())?;
            if found.is_origin {
                let warning = format!(
                    "{} has snapshots, which do not see what is written now: they are no longer whole, remove them",
                    found.node.display()
                );
                say!("warning: {warning}");
                store(&warnings_fact(context.target), &[warning])?;
            }
            context.plan("device", &found.node.to_string_lossy());
            mount(&found, subvol.as_deref(), &point).map(Reached::Mounted)
        }
        Kind::Raw { device, id } => {
            let found = assemble_device(device, config.device_timeout);
            let found = found.map_err(|e| e.to_string())?;
            context.plan("device", &found.node.to_string_lossy());
            let ledger = Path::new(RUN).join(format!("raw-{}.ledger", context.target));
            raw::reach(&found.node, id.as_deref(), ledger).map(Reached::Raw)
        }
        Kind::Virtiofs { tag, .. } => mount_virtiofs(tag, &point).map(Reached::Mounted),
        Kind::Nfs {
            port,
            path,
            options,
            ..
        } => {
            let addresses = server(context, &plan, spec)?;
            // It has answered; another address of it would be the same server.
            let address = addresses.first().map(SocketAddr::ip);
            let export = Export {
                address: address.ok_or("the server has no address")?,
                port: *port,
                path,
                options,
            };
            export.mount(&point).map(Reached::Mounted)
        }
        Kind::Syslog { .. } => {
            let (addresses, port) = addresses(context, &plan, spec)?;
            Ok(Reached::Server(at(&addresses, port).collect()))
        }
        Kind::Sftp { .. } | Kind::S3 { .. } | Kind::Http { .. } => {
            Ok(Reached::Server(server(context, &plan, spec)?))
        }
        Kind::Dmesg => Ok(Reached::Console),
    };
    let reached = reached.map_err(|e| e.to_string())?;
    say!("target {spec} is {reached}");
    store(&reached_fact(context.target), &reached)?;
    Ok(End::Done)
}

/// Waits until the server takes a connection: that is what says that the way to it works. The address that did comes first. All of it,
/// questions for its address too, has the time of a device.
fn server(context: &Context, plan: &Plan, spec: &TargetSpec) -> Result<Vec<SocketAddr>, String> {
    let (start, patience) = (Instant::now(), plan.config.device_timeout);
    let left = || patience.saturating_sub(start.elapsed());
    let (known, port) = addresses(context, plan, spec)?;
    let (name, _) = spec.server().ok_or(NO_SERVER)?;
    let servers = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => network::dns(context.target),
    };
    // Some of the time is for another address.
    let share = if servers.is_empty() { 3 } else { 2 };
    let connected = match connect(&known, port, left() / 3 * share) {
        Ok(peer) => peer,
        // The server may have moved since its address was recorded.
        Err(e) => {
            let asked = net::dns::ask(&name, &servers, left().min(ASK));
            let asked = asked.map_err(|_| e.to_string())?;
            if asked == known {
                return Err(e.to_string());
            }
            connect(&asked, port, left()).map_err(|e| e.to_string())?
        }
    };
    let others = at(&known, port).filter(|other| *other != connected);
    Ok(std::iter::once(connected).chain(others).collect())
}

/// How long name servers are asked for an address when there is one already that does not answer.
const ASK: Duration = Duration::from_secs(5);
const NO_SERVER: &str = "the target is no server";

/// Where the server is and at which port, as far as that is known without a connection.
fn addresses(
    context: &Context,
    plan: &Plan,
    spec: &TargetSpec,
) -> Result<(Vec<IpAddr>, u16), String> {
    let (name, port) = spec.server().ok_or(NO_SERVER)?;
    let (hosts, dns) = (network::network(plan)?.hosts, network::dns(context.target));
    let found = net::resolve(&name, &hosts, &dns, plan.config.device_timeout);
    Ok((found.map_err(|e| e.to_string())?, port))
}

fn at(addresses: &[IpAddr], port: u16) -> impl Iterator<Item = SocketAddr> {
    let at = move |address: &IpAddr| SocketAddr::new(*address, port);
    addresses.iter().map(at)
}

/// The address that takes a connection. A network that has just come up may lead nowhere for a while; who refuses is there, and no
/// server listens. The error is that of the longest attempt: the last one may have had no time.
fn connect(addresses: &[IpAddr], port: u16, patience: Duration) -> Result<SocketAddr, NetError> {
    let start = Instant::now();
    let mut worst: Option<(Duration, NetError)> = None;
    loop {
        let (from, left) = (Instant::now(), patience.saturating_sub(start.elapsed()));
        let error = match net::connect(addresses, port, left) {
            Ok(stream) => return stream.peer_addr().map_err(NetError::Netlink),
            Err(error @ NetError::Connect { refused: true, .. }) => return Err(error),
            Err(error) => error,
        };
        worst = match worst {
            Some((longest, error)) if longest > from.elapsed() => Some((longest, error)),
            _ => Some((from.elapsed(), error)),
        };
        if start.elapsed() + PAUSE >= patience
            && let Some((_, error)) = worst.take()
        {
            return Err(error);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// The fact that holds what the report must warn of.
pub(super) fn warnings_fact(target: u8) -> String {
    format!("mount-warnings-{target}")
}

/// The fact that says how a target was reached.
pub(super) fn reached_fact(target: u8) -> String {
    format!("mount-{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_is_not_waited_for() {
        // Nobody listens at a port that was just given up.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let start = Instant::now();
        let here = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        let error = connect(&here, port, Duration::from_secs(9)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(3), "{error}");
        assert!(error.to_string().contains("127.0.0.2 refused"), "{error}");
    }
}
