//! Finds and mounts the device of one target.

use super::{Context, End, RUN, load_plan, store};
use crate::init::log::say;
use crate::target::{Kind, Reached, TargetSpec, mount, wait_for_device};
use std::path::Path;

pub(super) fn run(context: &Context) -> Result<End, String> {
    let config = load_plan()?.config;
    let spec = spec(&config.targets, context.target)?;
    let point = Path::new(RUN).join(format!("target-{}", context.target));
    let reached = match &spec.kind {
        Kind::File { device, .. } => {
            let found =
                wait_for_device(device, config.device_timeout).map_err(|e| e.to_string())?;
            let mounted = mount(&found, &point).map_err(|e| e.to_string())?;
            say!("{device} is {} ({})", mounted.node.display(), mounted.fs);
            Reached::Mounted(mounted)
        }
        _ => return Err(format!("target {spec} cannot be reached by this baredump")),
    };
    store(&reached_fact(context.target), &reached)?;
    Ok(End::Done)
}

/// The fact that says how a target was reached.
pub(super) fn reached_fact(target: u8) -> String {
    format!("mount-{target}")
}

/// Target number `number`, from 1.
pub(super) fn spec(targets: &[TargetSpec], number: u8) -> Result<&TargetSpec, String> {
    let index = usize::from(number).checked_sub(1);
    index
        .and_then(|i| targets.get(i))
        .ok_or_else(|| format!("there is no target {number}"))
}
