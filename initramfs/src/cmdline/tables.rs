//! The words, each with its reason.

/// Left out when production has them: keys with `_`.
pub(super) const DROPPED: &[(&[&str], &str)] = &[
    (
        &["BOOT_IMAGE", "initrd"],
        "the boot loader's note to production",
    ),
    (
        &[
            "initrdmem",
            "noinitrd",
            "retain_initrd",
            "initramfs_options",
            "bootconfig",
        ],
        "says where production's initramfs is and what becomes of it",
    ),
    (&["crashkernel"], "a reservation inside the reservation"),
    (
        &["elfcorehdr"],
        "the running kernel writes it for the image that it loads",
    ),
    (
        &[
            "root",
            "rootfstype",
            "rootflags",
            "rootdelay",
            "rootwait",
            "ro",
            "rw",
            "nfsroot",
            "nfsaddrs",
        ],
        "the image is the root file system",
    ),
    (
        &[
            "init",
            "rdinit",
            "single",
            "S",
            "s",
            "1",
            "3",
            "5",
            "emergency",
            "rescue",
        ],
        "PID 1 is ours",
    ),
    (
        &["resume", "resume_offset", "noresume", "hibernate"],
        "reading a hibernation image would destroy evidence",
    ),
    (
        &["splash", "vt.handoff"],
        "the console must show what happens",
    ),
    (
        &[
            "hugepages",
            "hugepagesz",
            "default_hugepagesz",
            "hugepage_alloc_threads",
            "kernelcore",
            "movablecore",
        ],
        "it would eat the reservation",
    ),
    (
        &[
            "swiotlb",
            "log_buf_len",
            "trace_buf_size",
            "vmalloc",
            "dhash_entries",
            "ihash_entries",
            "mhash_entries",
            "mphash_entries",
            "thash_entries",
            "uhash_entries",
            "cma_pernuma",
            "numa_cma",
            "reserve_mem",
            "kho",
            "kho_scratch",
        ],
        "sized for production's memory, not for the reservation",
    ),
    (
        &[
            "mem",
            "memmap",
            "memblock",
            "add_efi_memmap",
            "efi_fake_mem",
        ],
        "the memory map is the reservation, made by the running kernel",
    ),
    (
        &[
            "slub_debug",
            "slab_debug",
            "page_owner",
            "page_poison",
            "debug_pagealloc",
            "debug_guardpage_minorder",
            "memtest",
            "tp_printk",
            "kasan",
            "kmemleak",
        ],
        "debugging of production costs memory and time that the capture doesn't have",
    ),
    (
        &[
            "maxcpus",
            "possible_cpus",
            "isolcpus",
            "nohz_full",
            "rcu_nocbs",
            "irqaffinity",
            "kthread_cpus",
        ],
        "names processors that are not started",
    ),
    (
        &[
            "panic_on_warn",
            "panic_on_oops",
            "oops",
            "panic_on_taint",
            "hardlockup_panic",
            "hung_task_panic",
            "unknown_nmi_panic",
        ],
        "what stops production must not stop the capture",
    ),
    (
        &["nowatchdog", "nosoftlockup", "watchdog_thresh"],
        "a capture kernel that locks up must find out, and soon",
    ),
    (
        &["watchdog.handle_boot_enabled", "watchdog.open_timeout"],
        "a watchdog that runs must not end the capture before PID 1 feeds it",
    ),
    (
        &["debug", "loglevel", "ignore_loglevel"],
        "kernel messages wait for their console: a slow or stuck one would hold up the capture",
    ),
    (
        &["crash_kexec_post_notifiers"],
        "there is no second capture kernel",
    ),
    (
        &["kgdboc", "kgdbwait", "kgdbcon", "ekgdboc"],
        "a debugger would stop the capture",
    ),
    (
        &["ip", "netconsole", "netroot", "fcoe", "iscsi_initiator"],
        "the network is not configured for production",
    ),
    (
        &["baredump.init", "baredump.boot_id", "baredump.machine_id"],
        "written anew",
    ),
];

/// Left out by the beginning of their key.
pub(super) const DROPPED_PREFIXES: &[(&str, &str)] = &[
    (
        "sysctl.",
        "sized for production: it may take all memory, or let the capture kernel panic where production must",
    ),
    (
        "dm_mod.",
        "the kernel would wait for production's devices before it starts PID 1",
    ),
    ("systemd.", "for production's user space"),
    ("rd.", "for production's initramfs"),
    ("luks.", "for production's user space"),
    ("plymouth.", "for production's user space"),
    ("ignition.", "for production's user space"),
    ("udev.", "for production's user space"),
    (
        "ftrace",
        "tracing of production costs memory and time that the capture doesn't have",
    ),
    (
        "trace_",
        "tracing of production costs memory and time that the capture doesn't have",
    ),
];

/// Added, in this order. Not here, and why: `acpi=off`, `noapic`, `pci=nomsi` stop real machines; `disable_cpu_apicid=` is of no
/// use with one processor; `usbcore.nousb` hides disks. What each saves: docs/capture-kernel.md.
pub(super) const ADDED: &[(&str, &str)] = &[
    ("rdinit=/init", "PID 1 is in the image"),
    (
        "nr_cpus=1",
        "per-processor memory, and no dead processor is waked",
    ),
    (
        "reset_devices",
        "drivers reset devices that nobody has shut down",
    ),
    (
        "irqpoll",
        "interrupts of devices without a driver must not drown the others",
    ),
    ("panic=1", "a capture kernel that dies reboots the machine"),
    (
        "softlockup_panic=1",
        "one that does nothing else for 20 s in a driver does so too",
    ),
    (
        "nmi_watchdog=panic",
        "also with interrupts off, where the processor can tell",
    ),
    (
        "quiet",
        "kernel messages wait for their console, which may be slow or stuck; baredump's own lines and the kernel's errors are shown",
    ),
    (
        "novmcoredd",
        "drivers would allocate device dumps without a bound",
    ),
    (
        "cma=0",
        "a built-in reservation would eat the crashkernel= reservation",
    ),
    ("hugetlb_cma=0", "as cma=0"),
    (
        "transparent_hugepage=never",
        "huge pages waste memory in a small reservation",
    ),
    ("cgroup_disable=memory", "page accounting that nobody reads"),
    (
        "cgroup.memory=nokmem",
        "frees 4 MB of accounting for per-processor memory, which cgroup_disable=memory leaves on",
    ),
    (
        "numa=off",
        "per-node memory; the reservation is on one node",
    ),
    (
        "kfence.sample_interval=0",
        "no error-detection pool of 2 MB",
    ),
    ("init_on_alloc=0", "zeroing every allocation costs time"),
    ("init_on_free=0", "as init_on_alloc=0"),
    (
        "initcall_blacklist=tracer_init_tracefs,slab_sysfs_init",
        "thousands of files that nobody opens: frees 8.9 MB on Linux 6.1 and 0.7 MB on 6.12",
    ),
    (
        "cryptomgr.notests",
        "self-tests of checksums start dozens of threads while the image is unpacked: a fifth of the kernel's start",
    ),
    (
        "lsm=lockdown",
        "access rules that nobody needs here take 0.4 MB; lockdown stays as it is",
    ),
    (
        "nokaslr",
        "no random placement in a small memory; costs up to 2 MB",
    ),
    (
        "mce=off",
        "machine checks left over from the crash must not stop the capture",
    ),
    (
        "hest_disable",
        "hardware error records left over from the crash must not stop the capture",
    ),
    (
        "acpi_no_memhotplug",
        "hot-plugged memory belongs to the dead kernel: never put it into use",
    ),
    (
        "pcie_ports=compat",
        "no PCIe error and hot-plug services for devices in an unknown state",
    ),
];
