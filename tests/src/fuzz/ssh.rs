//! What comes from an SSH server, and the text that says which one is the right one.

use baredump::target::ssh::known_hosts::Pinned;
use baredump::target::ssh::packet;

/// A server's stream of SFTP packets.
pub(super) fn sftp(data: &[u8]) {
    let mut stream = data;
    while let Ok(Some((packet, rest))) = packet::split(stream) {
        if let Ok((_, packet::Reply::Extended(fields))) = packet::reply(packet) {
            let _ = (packet::limits(fields), packet::space(fields));
        }
        if let Ok((_, extensions)) = packet::version(packet) {
            assert!(extensions.len() <= packet.len());
        }
        stream = rest;
    }
}

/// A version with extensions, and an answer of each kind.
pub(super) fn sftp_seeds() -> Vec<Vec<u8>> {
    let string = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let packet = |kind: u8, body: &[u8]| {
        let len = (body.len() as u32 + 1).to_be_bytes();
        [&len[..], &[kind], body].concat()
    };
    let id = [0, 0, 0, 7];
    let words = [&id[..], &[0, 0, 0, 4], &string("Failure"), &string("")].concat();
    let hello = [
        &[0, 0, 0, 3][..],
        &string("fsync@openssh.com"),
        &string("1"),
    ]
    .concat();
    let attributes = [
        &id[..],
        &[0, 0, 0, 7],
        &[1; 8],
        &[0; 8],
        &[0, 0, 0x81, 0x80],
    ]
    .concat();
    vec![
        [
            packet(2, &hello),
            packet(101, &words),
            packet(102, &[&id[..], &string("handle")].concat()),
            packet(103, &[&id[..], &string("bytes of a file")].concat()),
            packet(105, &attributes),
            packet(201, &[&id[..], &[0; 88]].concat()),
        ]
        .concat(),
    ]
}

/// The text of a `known_hosts` file.
pub(super) fn known_hosts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for port in [22, 2222] {
        let pinned = Pinned::find(&text, "vault.lab", port);
        let _ = (pinned.is_empty(), pinned.names());
    }
}

/// Every form of a line.
pub(super) fn known_hosts_seeds() -> Vec<Vec<u8>> {
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const HASHED: &str = "|1|4kLCYebXxjMoy3KkQQyw7h7Zx/I=|0ltOIftCL6AYgeW6+1qdwgqKJqc=";
    let lines = [
        format!("# text\nvault.lab,10.0.2.? {KEY} comment"),
        format!("[vault.lab]:2222,*.lab,!other {KEY}"),
        format!("@cert-authority *.lab {KEY}\n@revoked * {KEY}"),
        format!("{HASHED} {KEY}"),
    ];
    vec![lines.join("\n").into_bytes()]
}
