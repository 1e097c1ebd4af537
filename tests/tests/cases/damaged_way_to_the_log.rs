//! One thing on the way to the log is damaged: a value of VMCOREINFO, the ring's header, or the root of the page tables. The log is there
//! all the same.

use super::dumped::dump;
use tests::fake_kernel::{FakeKernel, FakeVmcore, Generation, Kallsyms};

fn vmcore() -> FakeVmcore {
    FakeKernel::new(Generation::V6_12)
        .btf()
        .kallsyms(Kallsyms::Relative)
        .build()
}

/// Overwrites the value of a key with digits.
fn spoil(elf: &mut [u8], key: &str, with: u8) {
    let key = format!("\n{key}=");
    let at = elf.windows(key.len()).position(|w| w == key.as_bytes());
    let value = at.unwrap() + key.len();
    for byte in elf[value..].iter_mut().take_while(|b| **b != b'\n') {
        *byte = with;
    }
}

fn overwrite(vmcore: &FakeVmcore, elf: &mut [u8], region: &str) {
    let mut regions = vmcore.regions.iter();
    let (_, range) = regions.find(|(name, _)| *name == region).unwrap();
    elf[range.clone()].fill(0xa5);
}

#[test]
fn a_value_of_vmcoreinfo() {
    let vmcore = vmcore();
    for keys in [
        &["SYMBOL(prb)"][..],
        &["SYMBOL(prb)", "SYMBOL(printk_rb_static)"],
        &["OFFSET(printk_ringbuffer.text_data_ring)"],
        &["OFFSET(prb_desc_ring.descs)"],
        &["OFFSET(prb_desc_ring.infos)"],
        &["OFFSET(prb_data_ring.size_bits)"],
        &["OFFSET(prb_data_ring.data)"],
        &["SIZE(prb_desc)"],
        &["OFFSET(prb_desc.text_blk_lpos)"],
        &["SIZE(printk_info)"],
    ] {
        for with in [b'9', b'x'] {
            let mut elf = vmcore.elf.clone();
            keys.iter().for_each(|key| spoil(&mut elf, key, with));
            let dumped = dump(&[&elf], 31).unwrap();
            assert_eq!(dumped.log.as_deref(), Ok(vmcore.log.as_str()), "{keys:?}");
        }
    }
}

#[test]
fn the_root_of_the_page_tables() {
    let vmcore = vmcore();
    let mut elf = vmcore.elf.clone();
    overwrite(&vmcore, &mut elf, "page table root");
    let dumped = dump(&[&elf], 31).unwrap();
    assert_eq!(dumped.log.as_deref(), Ok(vmcore.log.as_str()));
}

#[test]
fn the_header_of_the_ring() {
    let vmcore = vmcore();
    let mut elf = vmcore.elf.clone();
    overwrite(&vmcore, &mut elf, "printk ring");
    overwrite(&vmcore, &mut elf, "printk records");
    let log = dump(&[&elf], 31).unwrap().log.unwrap();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
    // Behind a text is padding: what was there before.
    let version = at("Linux version 0.0.0-fake (root@nowhere)");
    let panic = at("\nKernel panic - not syncing: sysrq triggered crash");
    let last = at("\nCPU: 1 PID: 100 Comm: bash Not tainted");
    assert!(version < panic && panic < last, "{log}");
}
