//! The modes and options of bonds, by the names they have in sysfs.
//!
//! Source: Documentation/networking/bonding.rst and drivers/net/bonding/bond_options.c, Linux 5.10 to 6.18.

/// Modes, with the numbers they may be called by.
pub const MODES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

/// Options that can be given to a bond, and the value it has without. They are set in this order: what another option asks for comes
/// first. `primary`, a slave, is set when there are slaves.
pub const OPTIONS: &[(&str, &str)] = &[
    ("miimon", "0"),
    ("updelay", "0"),
    ("downdelay", "0"),
    ("peer_notif_delay", "0"),
    ("use_carrier", "1"),
    ("arp_interval", "0"),
    ("arp_ip_target", ""),
    ("ns_ip6_target", ""),
    ("arp_validate", "none"),
    ("arp_all_targets", "any"),
    ("arp_missed_max", "2"),
    ("fail_over_mac", "none"),
    ("lacp_rate", "slow"),
    ("lacp_active", "on"),
    ("ad_select", "stable"),
    ("ad_actor_sys_prio", "65535"),
    ("ad_actor_system", "00:00:00:00:00:00"),
    ("ad_user_port_key", "0"),
    ("xmit_hash_policy", "layer2"),
    ("min_links", "0"),
    ("num_grat_arp", "1"),
    ("all_slaves_active", "0"),
    ("resend_igmp", "1"),
    ("packets_per_slave", "1"),
    ("lp_interval", "1"),
    ("tlb_dynamic_lb", "1"),
    ("primary", ""),
    ("primary_reselect", "always"),
];

/// Options whose values are lists, written to sysfs one by one.
pub const LISTS: [&str; 2] = ["arp_ip_target", "ns_ip6_target"];

/// The mode of that name or number.
#[must_use]
pub fn mode(text: &str) -> Option<&'static str> {
    let number = text.parse::<usize>().ok();
    let by_number = number.and_then(|n| MODES.get(n));
    by_number
        .or_else(|| MODES.iter().find(|mode| **mode == text))
        .copied()
}

/// Where in [`OPTIONS`] that option is.
#[must_use]
pub fn rank(option: &str) -> Option<usize> {
    OPTIONS.iter().position(|(name, _)| *name == option)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_name_and_number() {
        assert_eq!(mode("active-backup"), Some("active-backup"));
        assert_eq!(mode("4"), Some("802.3ad"));
        assert_eq!(mode("7"), None);
        assert_eq!(mode(""), None);
        assert!(rank("miimon") < rank("updelay"));
        assert_eq!(rank("mode"), None);
    }
}
