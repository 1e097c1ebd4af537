//! The name servers of this machine.
//!
//! Source: resolv.conf(5); systemd-resolved(8) keeps those behind its own in `/run/systemd/resolve/resolv.conf`.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// As many as resolvers ask.
const MAX_SERVERS: usize = 3;
const FILES: [&str; 2] = ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"];

/// Those that are no program on this machine.
pub(super) fn name_servers(sysroot: &Path) -> Vec<IpAddr> {
    FILES
        .iter()
        .map(|file| read(&fs::read_to_string(sysroot.join(file)).unwrap_or_default()))
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

fn read(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next()?.parse().ok())
        .filter(|server: &IpAddr| !server.is_loopback())
        .take(MAX_SERVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_behind_the_local_one() {
        let root = tempfile::tempdir().unwrap();
        assert!(name_servers(root.path()).is_empty());
        for (file, text) in FILES.iter().zip([
            "# comment\nsearch example\nnameserver 127.0.0.53\noptions edns0\n",
            "nameserver 10.0.2.3\n nameserver fd00::53\nnameserver fe80::1%eth0\nnameserver\n",
        ]) {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found: Vec<String> = name_servers(root.path())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.0.2.3", "fd00::53"]);
    }
}
