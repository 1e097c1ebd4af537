//! What the kernel does by itself with IPv6, per interface.
//!
//! Source: Documentation/networking/ip-sysctl.rst. Without IPv6 in the kernel the files are not there, which the lack of an address says
//! well enough.

use std::fs;
use std::path::Path;

const CONF: &str = "/proc/sys/net/ipv6/conf";

/// Whether routers' words make addresses and routes.
pub(super) fn router_advertisements(device: &str, heed: bool) {
    let number = if heed { "1" } else { "0" };
    set(device, "accept_ra", number);
    set(device, "autoconf", number);
    // An address that lives as long as the interface is enough.
    set(device, "use_tempaddr", "0");
    if heed {
        set(device, "disable_ipv6", "0");
    }
}

/// For an address of ours.
pub(super) fn enable(device: &str) {
    set(device, "disable_ipv6", "0");
}

/// Whether the kernel has IPv6.
pub(super) fn has_ipv6() -> bool {
    Path::new(CONF).exists()
}

fn set(device: &str, key: &str, value: &str) {
    let _ = fs::write(Path::new(CONF).join(device).join(key), value);
}
