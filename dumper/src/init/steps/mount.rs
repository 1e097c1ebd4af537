//! Finds and mounts the device of one target.

use super::{Context, End, RUN, load_plan, store};
use crate::init::log::say;
use crate::target::{TargetSpec, mount, wait_for_device};
use std::path::Path;

pub(super) fn run(context: &Context) -> Result<End, String> {
    let config = load_plan()?.config;
    let TargetSpec::File { device, .. } = spec(&config.targets, context.target)?;
    let found = wait_for_device(device, config.device_timeout).map_err(|e| e.to_string())?;
    let mounted = mount(
        &found,
        &Path::new(RUN).join(format!("target-{}", context.target)),
    )
    .map_err(|e| e.to_string())?;
    say!("{device} is {} ({})", mounted.node.display(), mounted.fs);
    store(&format!("mount-{}", context.target), &mounted)?;
    Ok(End::Done)
}

/// Target number `number`, from 1.
pub(super) fn spec(targets: &[TargetSpec], number: u8) -> Result<&TargetSpec, String> {
    let index = usize::from(number).checked_sub(1);
    index
        .and_then(|i| targets.get(i))
        .ok_or_else(|| format!("there is no target {number}"))
}
