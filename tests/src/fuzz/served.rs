//! Files that lay on a server before they came back: encrypted ones, and the report beside a dump.

use baredump::manifest::Manifest;
use baredump::report::{FileEntry, Report};
use baredump::seal::{Identities, Opener, Recipients};
use std::io::{self, Read};

const IDENTITY: &[u8] =
    b"AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
/// Vectors of the age test kit, for this identity.
const VECTORS: [&[u8]; 3] = [
    include_bytes!("../../fixtures/age/x25519"),
    include_bytes!("../../fixtures/age/x25519_multiple_recipients"),
    include_bytes!("../../fixtures/age/stanza_empty_last_line"),
];

/// An encrypted file; the same bytes as an identity file and a recipient.
pub(super) fn age(data: &[u8]) {
    if let Ok(identities) = Identities::parse(IDENTITY)
        && let Ok(opener) = Opener::new(data, &identities)
    {
        let _ = io::copy(&mut opener.take(1 << 20), &mut io::sink());
    }
    let _ = Identities::parse(data);
    if let Ok(text) = str::from_utf8(data) {
        let _ = text.parse::<Recipients>().map(|keys| keys.to_string());
    }
}

pub(super) fn age_seeds() -> Vec<Vec<u8>> {
    let file = |vector: &[u8]| {
        let head = vector.windows(2).position(|pair| pair == b"\n\n");
        vector[head.map_or(0, |at| at + 2)..].to_vec()
    };
    let mut seeds: Vec<_> = VECTORS.iter().map(|vector| file(vector)).collect();
    seeds.push(IDENTITY.to_vec());
    seeds
}

/// The report of a dump directory.
pub(super) fn report(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        for file in &manifest.files {
            assert!(!file.name.contains('/') && file.name != "..");
        }
    }
}

pub(super) fn report_seeds() -> Vec<Vec<u8>> {
    let mut report = Report::default();
    report.file(FileEntry::new("vmcore", 1 << 30, Some(0xdead_beef)));
    report.file(FileEntry::new("vmcore-dmesg.txt", 0, None));
    report.warn("a warning");
    report
        .to_json()
        .into_iter()
        .map(String::into_bytes)
        .collect()
}
