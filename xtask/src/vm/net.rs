//! Targets behind a network: real servers on the host's loopback, reached through a network card of the guest.

use super::{Bench, Scenario, all_good, finished, only_dump};
use crate::fetch::{Kernel, MAIN_SERIES};
use crate::guest::{Guest, Run};
use anyhow::Result;
use qemu::Nic;
use qemu::net::Cable;

/// The MAC address of the first card.
const MAC: &str = "52:54:00:12:34:56";

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut silent = Nic::user("52:54:00:12:34:57");
    silent.cable = Cable::Silent;
    silent.carrier = false;
    let guest = Guest {
        memory: 768,
        words: "guest.workload=0".into(),
        capture_modules: vec!["virtio_blk".into(), "virtio_net".into(), "af_packet".into()],
        nics: vec![Nic::user(MAC), silent],
        ..Guest::default()
    };
    vec![Scenario {
        name: "net-cards",
        series: MAIN_SERIES,
        guest,
        setup: None,
        judge,
    }]
}

/// Network cards are in nobody's way.
fn judge(bench: &Bench<'_>, kernel: &Kernel, run: &Run) -> Result<String> {
    finished(run)?;
    let dump = only_dump(run)?;
    all_good(bench, &dump, kernel)?;
    Ok("complete dump beside two network cards".into())
}
