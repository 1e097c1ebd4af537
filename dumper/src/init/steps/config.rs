//! Reads the configuration and gives PID 1 its plan.

use super::{Context, End, Plan, cmdline, modules, store};
use crate::config::Config;
use crate::init::log::say;
use std::fs;
use std::io::ErrorKind;

const FILE: &str = "/etc/baredump.toml";

pub(super) fn run(context: &Context) -> Result<End, String> {
    let (text, unreadable) = match fs::read_to_string(FILE) {
        Ok(text) => (Some(text), None),
        Err(e) if e.kind() == ErrorKind::NotFound => (None, None),
        Err(e) => (None, Some(format!("{FILE} is ignored: {e}"))),
    };
    let (config, mut warnings) = Config::load(text.as_deref(), &cmdline());
    warnings.extend(unreadable);
    for warning in &warnings {
        say!("warning: {warning}");
    }
    let seconds = |d: std::time::Duration| d.as_secs().to_string();
    let plan = Plan { config, warnings };
    // First: PID 1 must not go by a plan that the later steps do not have.
    store("config", &plan)?;
    let config = plan.config;
    context.plan("targets", &config.targets.len().to_string());
    context.plan("modules", &modules::planned().len().to_string());
    context.plan("final_action", config.final_action.name());
    context.plan("deadline", &seconds(config.deadline));
    context.plan("stall", &seconds(config.stall));
    context.plan("device_timeout", &seconds(config.device_timeout));
    context.plan("module_timeout", &seconds(config.module_timeout));
    Ok(End::Done)
}
