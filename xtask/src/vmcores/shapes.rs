//! The machines whose vmcores are compared: a table of kernels, page tables, memory layouts and what is plugged in.

use crate::fetch::SERIES_16K;
use crate::guest::Guest;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// What every guest is told: all kinds of pages, and plugged memory stays offline until the guest decides.
const WORDS: &str =
    "guest.kinds=1 guest.balloon=64 guest.slow=/dev/vdc memhp_default_state=offline";
/// MiB that the balloon takes, as in [`WORDS`].
const BALLOON: u32 = 64;
/// Modules for it.
const MODULES: &[&str] = &["virtio_balloon"];
/// Memory that is plugged in, in MiB: four blocks.
const PLUGGED: u32 = 512;
/// More than 64 GiB above the rest of the memory.
const FAR: u64 = 128 << 30;

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Name of the vmcore.
    pub(crate) name: &'static str,
    /// The kernel series.
    pub(crate) series: &'static str,
    /// Whether continuous integration compares it.
    pub(crate) ci: bool,
    /// So large that it is meant only when it is named: for measurements.
    pub(crate) large: bool,
    memory: u32,
    nodes: u32,
    words: &'static str,
    plugged: bool,
    address: Option<u64>,
    reservation: &'static str,
    processor: Option<&'static str>,
}

/// A 48-bit arm64 processor with pages of 4 KiB; it has none of 16 KiB.
const NEOVERSE_N1: &str = "neoverse-n1";
/// A 48-bit arm64 processor with pages of 16 KiB.
const CORTEX_A76: &str = "cortex-a76";

/// All machines.
pub(crate) const SHAPES: &[Shape] = &[
    Shape::new("5.10", "5.10.").ci(),
    Shape::new("6.1", "6.1.").ci(),
    Shape::new("6.12", "6.12.").ci(),
    Shape::new("6.18", "6.18."),
    Shape::new("7", "7.").ci(),
    Shape::new("5.10-4-level-nokaslr", "5.10.")
        .words("no5lvl nokaslr")
        .unplugged(),
    Shape::new("6.1-numa-4-level-nokaslr", "6.1.")
        .words("no5lvl nokaslr")
        .nodes(2),
    Shape::new("6.12-4-level", "6.12.")
        .words("no5lvl")
        .unplugged(),
    Shape::new("6.18-nokaslr", "6.18.")
        .words("nokaslr")
        .unplugged(),
    Shape::new("7-numa", "7.").nodes(2).memory(1536),
    Shape::new("6.12-odd", "6.12.").memory(1027).unplugged(),
    Shape::new("5.10-odd", "5.10.").memory(901).unplugged(),
    Shape::new("6.1-holes", "6.1.")
        .words("memmap=48M$0x18000000 memmap=3M$0x2a300000 mem=1000M")
        .unplugged(),
    Shape::new("7-holes", "7.")
        .words("memmap=48M$0x18000000 memmap=3M$0x2a300000 mem=1000M")
        .unplugged(),
    Shape::new("6.12-span", "6.12.").address(FAR),
    Shape::new("7-span", "7.").address(FAR),
    Shape::new("6.18-1g", "6.18.")
        .words("hugepagesz=1G hugepages=2")
        .memory(4096),
    Shape::new("6.12-16g", "6.12.").large(16384),
    // Their sections have the flag SECTION_IS_VMEMMAP_PREINIT.
    Shape::new("6.18-1g-optimised", "6.18.")
        .words("hugepagesz=1G hugepages=2 hugetlb_free_vmemmap=on")
        .memory(4096),
    Shape::new("arm64-6.12", "arm64-6.12.")
        .arm64("256M", Some(NEOVERSE_N1))
        .ci(),
    Shape::new("arm64-6.12-lpa2", "arm64-6.12.").arm64("256M", None),
    Shape::new("arm64-16k", SERIES_16K)
        .arm64("384M", Some(CORTEX_A76))
        .memory(1536),
    Shape::new("arm64-16k-lpa2", SERIES_16K)
        .arm64("384M", None)
        .memory(1536),
];

impl Shape {
    const fn new(name: &'static str, series: &'static str) -> Self {
        Self {
            name,
            series,
            ci: false,
            large: false,
            memory: 1024,
            nodes: 0,
            words: "",
            plugged: true,
            address: None,
            reservation: "192M",
            processor: None,
        }
    }

    /// QEMU's board for arm64 plugs no memory in without firmware. Without a processor: the newest, with 52-bit addresses.
    const fn arm64(mut self, reservation: &'static str, processor: Option<&'static str>) -> Self {
        self.reservation = reservation;
        self.processor = processor;
        self.unplugged()
    }

    const fn ci(mut self) -> Self {
        self.ci = true;
        self
    }

    const fn large(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self.large = true;
        self.unplugged()
    }

    const fn words(mut self, words: &'static str) -> Self {
        self.words = words;
        self
    }

    const fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    const fn nodes(mut self, nodes: u32) -> Self {
        self.nodes = nodes;
        self
    }

    const fn unplugged(mut self) -> Self {
        self.plugged = false;
        self
    }

    const fn address(mut self, address: u64) -> Self {
        self.address = Some(address);
        self
    }

    /// The guest, with its monitor at the socket `monitor`.
    pub(crate) fn guest(&self, monitor: &Path) -> Guest {
        Guest {
            memory: self.memory,
            cpus: (2 * self.nodes).max(1),
            nodes: self.nodes,
            reservation: self.reservation.into(),
            processor: self.processor,
            words: format!("{WORDS} {}", self.words).trim_end().to_owned(),
            raw: true,
            plugged: self.plugged_memory(),
            modules: MODULES,
            extra: self.extra(monitor),
            limit: Duration::from_secs(400),
            ..Guest::default()
        }
    }

    /// What the host makes the balloon's target: what the guest keeps, in MiB.
    pub(crate) fn balloon_target(&self) -> u32 {
        self.memory + self.plugged_memory() - BALLOON
    }

    fn plugged_memory(&self) -> u32 {
        if self.plugged { PLUGGED } else { 0 }
    }

    /// The disk whose data takes its time, the balloon, the monitor, the memory that is plugged in.
    fn extra(&self, monitor: &Path) -> Vec<OsString> {
        let mut words = "-drive driver=null-co,size=67108864,read-zeroes=on,if=none,id=slow,throttling.iops-total=2 \
             -device virtio-blk-pci,drive=slow -device virtio-balloon-pci -mon chardev=monitor,mode=readline"
            .to_owned();
        if self.plugged {
            let address = self
                .address
                .map_or(String::new(), |address| format!(",addr={address:#x}"));
            let node = self.nodes.saturating_sub(1);
            words.push_str(&format!(
                " -m slots=2,maxmem=200G -object memory-backend-ram,id=plugged,size={PLUGGED}M \
                 -device pc-dimm,memdev=plugged,node={node}{address}"
            ));
        }
        let mut extra: Vec<_> = words.split_whitespace().map(OsString::from).collect();
        let monitor = monitor.display().to_string().replace(',', ",,");
        extra.push("-chardev".into());
        extra.push(format!("socket,id=monitor,path={monitor},server=on,wait=off").into());
        extra
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_different_and_ci_has_three_kernels() {
        let names: BTreeSet<_> = SHAPES.iter().map(|shape| shape.name).collect();
        assert_eq!(names.len(), SHAPES.len());
        let series: BTreeSet<_> = SHAPES
            .iter()
            .filter(|shape| shape.ci)
            .map(|shape| shape.series)
            .collect();
        assert!(series.len() >= 3, "{series:?}");
    }

    #[test]
    fn plugged_memory_counts_for_the_balloon_and_the_copy() {
        let shape = Shape::new("x", "6.1.").address(FAR);
        let guest = shape.guest(Path::new("/m"));
        assert_eq!((guest.plugged, shape.balloon_target()), (512, 1472));
        let line = format!("{:?}", guest.extra);
        assert!(line.contains("node=0,addr=0x2000000000"), "{line}");
        let bare = Shape::new("x", "6.1.").unplugged();
        assert_eq!(bare.balloon_target(), 960);
        assert!(!format!("{:?}", bare.guest(Path::new("/m")).extra).contains("pc-dimm"));
    }
}
