//! DNS messages: one question, its addresses.
//!
//! Source: RFC 1035, RFC 3596 (AAAA).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const CNAME: u16 = 5;
const CLASS_IN: u16 = 1;
const MAX_NAME: usize = 255;
/// Records that are looked at, aliases that are followed, addresses that are kept.
const MAX_RECORDS: u16 = 64;
const MAX_ALIASES: usize = 8;
const MAX_ADDRESSES: usize = 16;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Type {
    /// IPv4.
    A = 1,
    /// IPv6.
    Aaaa = 28,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The addresses; there may be none.
    Addresses(Vec<IpAddr>),
    /// The server has no answer.
    Failed(&'static str),
    /// It answers another question, or nothing at all.
    NotOurs,
}

/// A question; `None` when the text is no name.
#[must_use]
pub(super) fn query(id: u16, name: &str, kind: Type) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER + name.len() + 6);
    bytes.extend_from_slice(&id.to_be_bytes());
    // Recursion desired; one question.
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let len = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..64).contains(n))?;
        bytes.push(len);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    if bytes.len() > HEADER + MAX_NAME {
        return None;
    }
    bytes.extend_from_slice(&(kind as u16).to_be_bytes());
    bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(bytes)
}

/// What `bytes` says about the question.
#[must_use]
pub fn answer(bytes: &[u8], id: u16, name: &str, kind: Type) -> Answer {
    read(bytes, id, name, kind).unwrap_or(Answer::NotOurs)
}

fn read(bytes: &[u8], id: u16, name: &str, kind: Type) -> Option<Answer> {
    let flags = u16_at(bytes, 2)?;
    if u16_at(bytes, 0)? != id || flags & 0xf800 != 0x8000 || u16_at(bytes, 4)? != 1 {
        return None;
    }
    let wanted = name.trim_end_matches('.').to_ascii_lowercase();
    let (asked, at) = name_at(bytes, HEADER)?;
    if asked != wanted || u16_at(bytes, at)? != kind as u16 || u16_at(bytes, at + 2)? != CLASS_IN {
        return None;
    }
    match flags & 15 {
        0 => {}
        3 => return Some(Answer::Failed("it says that there is no such name")),
        2 => return Some(Answer::Failed("it could not find out (SERVFAIL)")),
        5 => return Some(Answer::Failed("it refuses to answer")),
        _ => return Some(Answer::Failed("it answered with an error")),
    }
    let records = records(bytes, at + 4, u16_at(bytes, 6)?);
    Some(Answer::Addresses(addresses(bytes, &records, wanted, kind)))
}

/// A record: its owner, type, and where its data are.
struct Record {
    owner: String,
    kind: u16,
    data: std::ops::Range<usize>,
}

/// Those that are whole.
fn records(bytes: &[u8], mut at: usize, count: u16) -> Vec<Record> {
    let mut found = Vec::new();
    for _ in 0..count.min(MAX_RECORDS) {
        let Some((record, class, next)) = record_at(bytes, at) else {
            break;
        };
        at = next;
        if class == CLASS_IN {
            found.push(record);
        }
    }
    found
}

fn record_at(bytes: &[u8], at: usize) -> Option<(Record, u16, usize)> {
    let (owner, at) = name_at(bytes, at)?;
    let (kind, class) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
    let start = at + 10;
    let end = start + usize::from(u16_at(bytes, at + 8)?);
    bytes.get(start..end)?;
    let data = start..end;
    Some((Record { owner, kind, data }, class, end))
}

/// The addresses of `name`, or of what it is an alias of.
fn addresses(bytes: &[u8], records: &[Record], mut name: String, kind: Type) -> Vec<IpAddr> {
    for _ in 0..MAX_ALIASES {
        let here = || records.iter().filter(|r| r.owner == name);
        let found: Vec<IpAddr> = here()
            .filter(|r| r.kind == kind as u16)
            .filter_map(|r| address(bytes.get(r.data.clone())?, kind))
            .take(MAX_ADDRESSES)
            .collect();
        let alias = here().find(|r| r.kind == CNAME);
        let alias = alias.and_then(|r| name_at(bytes, r.data.start));
        match alias {
            Some((target, _)) if found.is_empty() => name = target,
            _ => return found,
        }
    }
    Vec::new()
}

fn address(data: &[u8], kind: Type) -> Option<IpAddr> {
    match kind {
        Type::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
        Type::Aaaa => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
    }
}

/// The name at `at` in small letters, and what follows it. A pointer must lead back, so that none is followed twice.
fn name_at(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut name, mut after) = (String::new(), None);
    let (mut at, mut limit) = (at, at);
    loop {
        let len = usize::from(*bytes.get(at)?);
        match len {
            0 => return Some((name, after.unwrap_or(at + 1))),
            1..64 => {
                let label = bytes.get(at + 1..at + 1 + len)?;
                if name.len() + len >= MAX_NAME {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(std::str::from_utf8(label).ok()?);
                at += 1 + len;
            }
            192.. => {
                let to = usize::from(u16_at(bytes, at)? & 0x3fff);
                if to >= limit {
                    return None;
                }
                after = after.or(Some(at + 2));
                (at, limit) = (to, to);
            }
            _ => return None,
        }
        name.make_ascii_lowercase();
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let (chunk, _) = bytes.get(at..)?.split_first_chunk()?;
    Some(u16::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "Dumps.Example";

    /// An answer with these records.
    fn reply(count: u8, records: &[u8]) -> Vec<u8> {
        let mut bytes = query(7, NAME, Type::A).unwrap();
        bytes[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, count]);
        bytes.extend_from_slice(records);
        bytes
    }

    fn of(bytes: &[u8]) -> Answer {
        answer(bytes, 7, NAME, Type::A)
    }

    const A: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 2, 2];

    fn found() -> Answer {
        Answer::Addresses(vec![IpAddr::from([10, 0, 2, 2])])
    }

    #[test]
    fn an_address_and_an_alias() {
        assert_eq!(of(&reply(1, &A)), found());
        let mut alias = vec![0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'W', 0xc0, 18];
        alias.extend_from_slice(&[1, b'w', 0xc0, 18]);
        alias.extend_from_slice(&A[2..]);
        assert_eq!(of(&reply(2, &alias)), found());
        // An address of another name.
        let other = [&[1, b'x', 0][..], &A[2..]].concat();
        assert_eq!(of(&reply(1, &other)), Answer::Addresses(vec![]));
        let itself = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12];
        assert_eq!(of(&reply(1, &itself)), Answer::Addresses(vec![]));
    }

    #[test]
    fn other_questions_and_failures() {
        let good = reply(1, &A);
        assert_eq!(answer(&good, 8, NAME, Type::A), Answer::NotOurs);
        assert_eq!(answer(&good, 7, "other.example", Type::A), Answer::NotOurs);
        assert_eq!(answer(&good, 7, NAME, Type::Aaaa), Answer::NotOurs);
        assert_eq!(of(&query(7, NAME, Type::A).unwrap()), Answer::NotOurs);
        let mut none = good.clone();
        none[3] = 0x83;
        assert!(matches!(of(&none), Answer::Failed(why) if why.contains("no such name")));
    }

    #[test]
    fn hostile_answers() {
        let good = reply(1, &A);
        for len in 0..good.len() {
            assert_ne!(of(&good[..len]), found());
        }
        // More records than there are; a pointer to itself, forward, beyond the end.
        assert_eq!(of(&reply(200, &A)), found());
        let at = u8::try_from(good.len() - A.len()).unwrap();
        for to in [at, at + 1, 255] {
            let mut bad = A;
            bad[1] = to;
            assert_eq!(of(&reply(1, &bad)), Answer::Addresses(vec![]));
        }
        for byte in 0..good.len() {
            for value in [0, 0x3f, 0x40, 0xc0, 0xff] {
                let mut bad = good.clone();
                bad[byte] = value;
                let _ = of(&bad);
            }
        }
    }

    #[test]
    fn what_can_be_asked() {
        assert!(query(1, "a..b", Type::A).is_none());
        assert!(query(1, "", Type::A).is_none());
        assert!(query(1, &"a".repeat(64), Type::A).is_none());
        assert!(query(1, &"a.".repeat(200), Type::A).is_none());
        assert!(query(1, "a.b.", Type::A).is_some());
    }
}
