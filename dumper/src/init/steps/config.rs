//! Reads the configuration and gives PID 1 its plan.

use super::{Context, End, Plan, cmdline, modules, store};
use crate::config::Config;
use crate::entropy;
use crate::init::log::say;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const FILE: &str = "/etc/baredump.toml";

pub(super) fn run(context: &Context) -> Result<End, String> {
    let (text, unreadable) = match fs::read_to_string(FILE) {
        Ok(text) => (Some(text), None),
        Err(e) if e.kind() == ErrorKind::NotFound => (None, None),
        Err(e) => (None, Some(format!("{FILE} is ignored: {e}"))),
    };
    let (config, mut warnings) = Config::load(text.as_deref(), &cmdline());
    warnings.extend(unreadable);
    // Before anything asks for a key.
    let seed = Path::new(entropy::SEED);
    if seed.exists() {
        warnings.extend(entropy::seed(seed).err().map(|e| e.to_string()));
    }
    for warning in &warnings {
        say!("warning: {warning}");
    }
    let seconds = |d: std::time::Duration| d.as_secs().to_string();
    let plan = Plan { config, warnings };
    // First: PID 1 must not go by a plan that the later steps do not have.
    store("config", &plan)?;
    let config = plan.config;
    context.plan("targets", &config.targets.len().to_string());
    context.plan("network", &networked(&config).to_string());
    context.plan("log_to_all", &config.log_to_all.to_string());
    for (target, number) in config.targets.iter().zip(1..) {
        if let Some(deadline) = target.deadline {
            context.plan(
                "target_deadline",
                &format!("{number} {}", seconds(deadline)),
            );
        }
    }
    for host in &config.fence_kdump {
        context.plan("fence_kdump", &host.to_string());
    }
    context.plan("modules", &modules::planned().len().to_string());
    context.plan("final_action", config.final_action.name());
    context.plan("deadline", &seconds(config.deadline));
    context.plan("stall", &seconds(config.stall));
    context.plan("device_timeout", &seconds(config.device_timeout));
    context.plan("network_timeout", &seconds(config.network_timeout));
    context.plan("module_timeout", &seconds(config.module_timeout));
    Ok(End::Done)
}

/// The targets that need the network, a bit each from the second; the first is for hosts that want to hear of the crash.
fn networked(config: &Config) -> u16 {
    let targets = config.targets.iter().zip(1u16..);
    let networked = targets.filter(|(target, _)| target.needs_network());
    networked.fold(
        u16::from(!config.fence_kdump.is_empty()),
        |mask, (_, number)| mask | 1 << number,
    )
}
