//! `baredumpctl claim`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use baredump::target::{self, Kind, TargetSpec};
use initramfs::claim;

use super::say;

/// Claim a partition for dumps, as target raw:DEVICE
///
/// Writes a header with a random id. The capture kernel writes only to a partition that has the id which `baredumpctl image` found
/// on it. Refused when the partition is in use, and without --force when it holds a file system, swap, RAID, LVM or
/// LUKS signature, a partition table or a dump that was not taken. One that was claimed before keeps its id.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The partition: /dev/…, PARTUUID=…, PARTLABEL=… or WWID=…
    #[arg(value_name = "DEVICE")]
    device: String,
    /// Claim it whatever it holds, which is lost
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let node = node(&args.device)?;
    let claim = claim::claim(&node, args.force)?;
    let state = if claim.old {
        "was claimed before"
    } else {
        "is claimed"
    };
    say(&format!(
        "{} {state}: raw:{}?id={}",
        node.display(),
        args.device,
        claim.id
    ));
    if !claim.old {
        say("build the image anew with baredumpctl image, and load it with baredumpctl arm");
    }
    Ok(ExitCode::SUCCESS)
}

/// The node of a device, or a file that holds the image of one.
fn node(device: &str) -> Result<PathBuf> {
    if device.starts_with('/') && !device.starts_with("/dev/") {
        return Ok(device.into());
    }
    let spec: TargetSpec = format!("raw:{device}").parse()?;
    found(&spec).map(|(node, _)| node)
}

/// Where the device of a `raw:` target is, and what it is called.
fn found(spec: &TargetSpec) -> Result<(PathBuf, Option<String>)> {
    let Kind::Raw { device, id } = &spec.kind else {
        anyhow::bail!("{spec} is no raw: target");
    };
    let found = target::wait_for_device(device, Duration::ZERO)
        .with_context(|| format!("target {spec} can't be looked at here"))?;
    Ok((found.node, id.clone()))
}

/// Targets with the ids of their claims, read from the partitions; none when nothing changes.
pub(super) fn with_ids(targets: &[TargetSpec], probe: bool) -> Result<Option<Vec<String>>> {
    let mut changed = false;
    let mut texts = Vec::new();
    for spec in targets {
        let mut spec = spec.clone();
        if matches!(&spec.kind, Kind::Raw { .. }) {
            changed |= identify(&mut spec, probe)?;
        }
        texts.push(spec.to_string());
    }
    Ok(changed.then_some(texts))
}

fn identify(spec: &mut TargetSpec, probe: bool) -> Result<bool> {
    let shown = spec.to_string();
    if !probe {
        let Kind::Raw { id: None, .. } = &spec.kind else {
            return Ok(false);
        };
        anyhow::bail!(
            "target {shown} has no id=, and with --no-probe nobody can read it from the partition: write raw:DEVICE?id=… as 'baredumpctl claim' says"
        );
    }
    let (node, given) = found(spec)?;
    let there = claim::id(&node).with_context(|| format!("target {shown}"))?;
    if given.as_ref().is_some_and(|given| *given != there) {
        anyhow::bail!(
            "target {shown}: {} was claimed again, its id is {there}",
            node.display()
        );
    }
    if let Kind::Raw { id, .. } = &mut spec.kind {
        *id = Some(there);
    }
    Ok(given.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_look_the_id_must_be_named() {
        let spec = |text: &str| text.parse::<TargetSpec>().unwrap();
        let known = spec("raw:/dev/none?id=0123456789abcdef0123456789abcdef");
        let file = spec("file:/dev/none:/x");
        assert_eq!(with_ids(&[known, file], false).unwrap(), None);
        let error = with_ids(&[spec("raw:/dev/none")], false).unwrap_err();
        assert!(error.to_string().contains("baredumpctl claim"), "{error}");
    }
}
