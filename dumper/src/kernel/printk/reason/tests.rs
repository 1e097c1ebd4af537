//! Logs of crashes as kernels write them.

use super::*;

/// Lines `SECONDS TEXT`, or without the seconds at the time of the line before.
fn reason(log: &str) -> (Option<String>, Place) {
    let mut reason = Reason::default();
    let mut now = 1_000;
    for line in log.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (first, rest) = line.split_once('|').unwrap_or(("", line));
        now = first.trim().parse().unwrap_or(now);
        reason.record(&Record {
            time: Some(now * 1_000_000_000),
            text: rest.trim_start().as_bytes(),
            ..Record::default()
        });
    }
    reason.into_line()
}

fn line(log: &str) -> String {
    reason(log).0.unwrap_or_default()
}

fn place(symbol: &str, comm: &str, cpu: u32) -> Place {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Place {
        symbol: text(symbol),
        comm: text(comm),
        cpu: Some(cpu),
    }
}

const NULL_X86: &str = "BUG: kernel NULL pointer dereference, address: 0000000000000010
    #PF: supervisor write access in kernel mode
    #PF: error_code(0x0002) - not-present page
    PGD 0 P4D 0
    Oops: 0002 [#1] PREEMPT SMP NOPTI
    CPU: 3 PID: 412 Comm: bash Kdump: loaded Not tainted 6.1.0-42-amd64 #1  Debian 6.1.159-1
    Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.2
    RIP: 0010:lkdtm_EXCEPTION+0xb/0x10 [lkdtm]
    Code: 90 90
    Call Trace:
    RIP: 0033:0x7f1c2a4f7190";

#[test]
fn an_oops_that_starts_the_capture_kernel_itself() {
    let (line, at) = reason(NULL_X86);
    assert_eq!(
        line.as_deref(),
        Some("BUG: kernel NULL pointer dereference, address: 0000000000000010")
    );
    assert_eq!(at, place("lkdtm_EXCEPTION+0xb", "bash", 3));
}

#[test]
fn every_form_of_an_oops() {
    for first in [
        "BUG: unable to handle page fault for address: ffffc90000000000",
        "BUG: unable to handle kernel paging request at ffffc90000000000",
        "BUG: unable to handle kernel NULL pointer dereference at 0000000000000008",
        "kernel BUG at mm/slub.c:321!",
        "general protection fault: 0000 [#1] SMP PTI",
        "general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] PREEMPT SMP NOPTI",
        "Oops: general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] SMP",
        "Oops: divide error: 0000 [#1] PREEMPT SMP NOPTI",
        "divide error: 0000 [#1] SMP",
        "invalid opcode: 0000 [#1] SMP",
        "stack segment: 0000 [#1] SMP",
        "traps: PANIC: double fault, error_code: 0x0",
        "BUG: TASK stack guard page was hit at 00000000a1b2 (stack is 00000000..00000000)",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
        "Unable to handle kernel paging request at virtual address dead000000000108",
        "Unable to handle kernel access to user memory outside uaccess routines at virtual address 0000aaaa",
        "Internal error: Oops: 0000000096000045 [#1] SMP",
        "Internal error: Oops - Undefined instruction: 0000000002000000 [#1] PREEMPT SMP",
        "Internal error: synchronous external abort: 96000210 [#1] SMP",
        "SError Interrupt on CPU2, code 0x00000000bf000002 -- SError",
    ] {
        let log = format!("10| nothing\n{first}\nCPU: 1 PID: 1 Comm: systemd Not tainted 6.12.0");
        assert_eq!(line(&log), first);
        // The same with what kernels say afterwards, after the end of the oops too.
        let log = format!(
            "{log}\n---[ end trace 0000000000000000 ]---\nKernel panic - not syncing: Fatal exception in interrupt"
        );
        assert_eq!(line(&log), first);
    }
}

#[test]
fn arm64_with_pc_and_a_module() {
    let log = "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000
        Mem abort info:
        Internal error: Oops: 0000000096000045 [#1] SMP
        Modules linked in: lkdtm
        CPU: 0 UID: 0 PID: 88 Comm: kworker/0:1H Tainted: G        W          6.12.48 #1
        pstate: 60400005 (nZCv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)
        pc : lkdtm_WRITE_RO+0x34/0x50 [lkdtm]
        lr : lkdtm_do_action+0x1c/0x30 [lkdtm]";
    let (line, at) = reason(log);
    assert!(
        line.unwrap()
            .starts_with("Unable to handle kernel NULL pointer")
    );
    assert_eq!(at, place("lkdtm_WRITE_RO+0x34", "kworker/0:1H", 0));
}

#[test]
fn an_oops_that_was_survived_is_no_reason() {
    let old = format!("10| {NULL_X86}\n---[ end trace 5b1c ]---\n");
    assert_eq!(reason(&old).0, None);
    // Hours later, of something else.
    let sysrq = "9000| sysrq: Trigger a crash\nKernel panic - not syncing: sysrq triggered crash";
    assert_eq!(
        line(&format!("{old}{sysrq}")),
        "Kernel panic - not syncing: sysrq triggered crash"
    );
    let fatal = "9000| Kernel panic - not syncing: Fatal exception";
    assert_eq!(
        line(&format!("{old}{fatal}")),
        "Kernel panic - not syncing: Fatal exception"
    );
    // A second one kills, also at once.
    let second = "kernel BUG at fs/inode.c:12!\nRIP: 0010:evict+0x1/0x2\nCPU: 1";
    let (line, at) = reason(&format!("{old}{second}"));
    assert_eq!(line.as_deref(), Some("kernel BUG at fs/inode.c:12!"));
    assert_eq!(at, place("evict+0x1", "", 1));
    // One whose end was never logged, and the kernel ran on for long.
    assert_eq!(
        reason(&format!("10| {NULL_X86}\n9000| usb 1-1: new")).0,
        None
    );
}

#[test]
fn lockups_and_stalls_say_who() {
    let log = "100| watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [dd of=x:77]
        RIP: 0010:native_safe_halt+0xe/0x10
        120| Kernel panic - not syncing: softlockup: hung tasks";
    let (line, at) = reason(log);
    assert_eq!(
        line.unwrap(),
        "watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [dd of=x:77]"
    );
    assert_eq!(at, place("native_safe_halt+0xe", "dd of=x", 2));
    for (first, panic) in [
        (
            "INFO: task kworker/u8:2:77 blocked for more than 120 seconds.",
            "hung_task: blocked tasks",
        ),
        (
            "rcu: INFO: rcu_sched self-detected stall on CPU",
            "RCU Stall",
        ),
        (
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "RCU Stall",
        ),
        (
            "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1",
            "Hard LOCKUP",
        ),
        (
            "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1",
            "Hard LOCKUP",
        ),
        (
            "WARNING: CPU: 1 PID: 9 at fs/x.c:7 f+0x1/0x2",
            "panic_on_warn set ...",
        ),
        (
            "BUG: KASAN: slab-out-of-bounds in f+0x1/0x2",
            "kernel: panic_on_warn set ...",
        ),
    ] {
        let log = format!("9| {first}\nKernel panic - not syncing: {panic}");
        assert_eq!(self::line(&log), first);
        // Alone they kill nobody.
        assert_eq!(reason(&format!("9| {first}")).0, None);
    }
}

#[test]
fn a_panic_that_says_it_all() {
    for panic in [
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        "Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled",
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009",
    ] {
        let log = format!(
            "5| INFO: task a:1 blocked for more than 120 seconds.\n6| {panic}\nCPU: 1 PID: 1 Comm: init Not tainted"
        );
        let (line, at) = reason(&log);
        assert_eq!((line.as_deref(), at), (Some(panic), place("", "init", 1)));
    }
}

#[test]
fn text_that_is_no_log() {
    assert_eq!(reason("INFO: task\nCPU\nCPU#\nRIP: \npc : \nBUG").0, None);
    let long = format!("kernel BUG at {}", "x".repeat(100_000));
    assert_eq!(line(&long).len(), MAX_LINE);
}
