//! The name of a dump directory: `HOST-YYYYMMDDThhmmssZ-BOOTID`. The host comes from the dead kernel's memory: hostile input.

use std::time::{SystemTime, UNIX_EPOCH};

const HOST_MAX: usize = 64;

/// The name for a dump of `nodename` that died at `crash_time` (now, when unknown or absurd) in boot `boot_id`.
pub fn dir_name(nodename: Option<&str>, crash_time: Option<i64>, boot_id: Option<&str>) -> String {
    let time = crash_time
        .filter(|t| (0..=LAST_SECOND).contains(t))
        .unwrap_or_else(now);
    let boot: String = boot_id
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(8)
        .collect();
    let boot = if boot.len() == 8 {
        boot
    } else {
        "unknown".into()
    };
    format!(
        "{}-{}-{boot}",
        host(nodename.unwrap_or_default()),
        utc(time)
    )
}

/// A host name that is harmless in a path: `[A-Za-z0-9._-]`, at most 64 characters, no leading dot or dash, never empty.
fn host(nodename: &str) -> String {
    let clean = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '_'
        }
    };
    let host: String = nodename
        .trim_start_matches(['.', '-'])
        .chars()
        .take(HOST_MAX)
        .map(clean)
        .collect();
    if host.is_empty() {
        "unknown".into()
    } else {
        host
    }
}

/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|d| i64::try_from(d.as_secs()).ok())
        .unwrap_or(0)
}

/// RFC 3339 of a number of seconds since 1970.
pub(super) fn rfc3339(seconds: i64) -> String {
    let compact = utc(seconds);
    let part = |from: usize, to: usize| compact.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
        part(11, 13),
        part(13, 15)
    )
}

/// `yyyymmddThhmmssZ` of a number of seconds since 1970 (proleptic Gregorian calendar, days counted from 0000-03-01).
pub fn utc(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let z = days.saturating_add(719_468);
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_827_696), "20000229T123456Z");
        assert_eq!(utc(1_795_247_999), "20261121T075959Z");
        assert_eq!(utc(LAST_SECOND), "99991231T235959Z");
    }

    #[test]
    fn names_are_harmless() {
        assert_eq!(
            dir_name(Some("web-1.example"), Some(0), Some("0e0cf1bc1e62")),
            "web-1.example-19700101T000000Z-0e0cf1bc"
        );
        for hostile in [
            "",
            ".",
            "..",
            "...",
            "-rf",
            "../../etc",
            "a/b",
            "a\0b",
            "\u{1b}[2J",
            "ä",
            &"x".repeat(4000),
        ] {
            let name = dir_name(Some(hostile), Some(0), None);
            assert!(name.ends_with("-19700101T000000Z-unknown"), "{name}");
            assert!(
                name.len() <= HOST_MAX + 32 && !name.starts_with(['.', '-']),
                "{name}"
            );
            assert!(
                name.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
                "{name}"
            );
        }
        assert_eq!(host(".."), "unknown");
        assert_eq!(host("../../etc"), "_.._etc");
    }

    #[test]
    fn absurd_times_are_not_believed() {
        assert!(!dir_name(None, Some(i64::MAX), None).contains("99991231"));
        assert!(dir_name(None, Some(i64::MIN), None).starts_with("unknown-2"));
    }
}
