//! The time as the server has it: the clock of a capture kernel may be wrong, and a signature is good for a few minutes only.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A smaller difference is no reason to doubt our own clock.
const TOLERANCE: i64 = 60;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Our clock, and what the server's is ahead of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    ahead: i64,
}

impl Clock {
    /// Seconds since 1970 as the server counts them.
    pub(super) fn now(self) -> i64 {
        own().saturating_add(self.ahead)
    }

    /// Takes the server's time when it differs; true when it did.
    pub(super) fn heed(&mut self, date: &str) -> bool {
        let Some(date) = parse(date) else {
            return false;
        };
        if (date - self.now()).abs() <= TOLERANCE {
            return false;
        }
        self.ahead = date - own();
        true
    }

    /// What the server's clock is ahead of ours, in seconds.
    pub(super) fn ahead(self) -> i64 {
        self.ahead
    }
}

/// Seconds since 1970 by our own clock.
pub(super) fn own() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|d| i64::try_from(d.as_secs()).ok())
        .unwrap_or(0)
}

/// When the image was built whose secrets these are, in seconds since 1970.
pub(super) fn built(secrets: &Path) -> i64 {
    i64::try_from(crate::target::reached::built(secrets)).unwrap_or(0)
}

/// Seconds since 1970 of an HTTP date, `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7). The obsolete forms are not read.
fn parse(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let mut word = || words.next();
    let (day, month, year, time) = (word()?, word()?, word()?, word()?);
    if word()? != "GMT" || year.len() != 4 || day.len() != 2 || time.len() != 8 {
        return None;
    }
    let number = |text: &str, range: std::ops::RangeInclusive<i64>| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let value = text.parse().ok().filter(|_| digits)?;
        range.contains(&value).then_some(value)
    };
    let month = MONTHS.iter().zip(1..).find(|(name, _)| **name == month)?.1;
    let days = days(number(year, 1970..=9999)?, month, number(day, 1..=31)?);
    let mut parts = time.split(':');
    let mut part = |last| number(parts.next()?, 0..=last);
    Some(days * 86400 + part(23)? * 3600 + part(59)? * 60 + part(60)?)
}

/// Seconds since 1970 of `yyyymmddThhmmssZ`, as signatures write it.
pub(super) fn stamp(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?.replacen('T', "", 1);
    let plain = digits.len() == 14 && digits.bytes().all(|b| b.is_ascii_digit());
    let number = |at: std::ops::Range<usize>, range: std::ops::RangeInclusive<i64>| {
        let value = digits.get(at).filter(|_| plain)?.parse().ok()?;
        range.contains(&value).then_some(value)
    };
    let days = days(
        number(0..4, 1970..=9999)?,
        number(4..6, 1..=12)?,
        number(6..8, 1..=31)?,
    );
    Some(
        days * 86400
            + number(8..10, 0..=23)? * 3600
            + number(10..12, 0..=59)? * 60
            + number(12..14, 0..=60)?,
    )
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counted from 0000-03-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse("Tue, 29 Feb 2000 12:34:56 GMT"), Some(951_827_696));
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 32 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49",
            "Sun, 06 Nov 1994 08-49-37 GMT",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn stamps() {
        assert_eq!(stamp("20000229T123456Z"), Some(951_827_696));
        assert_eq!(stamp("19700101T000000Z"), Some(0));
        for bad in [
            "",
            "Z",
            "20000229T123456",
            "20001329T123456Z",
            "2000022T9123456Z0Z",
            "+2000229T123456Z",
            "20000229T123456Zé",
        ] {
            assert_eq!(stamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_server_that_differs_is_believed() {
        let mut clock = Clock::default();
        assert!(!clock.heed("nonsense") && clock.heed("Sun, 06 Nov 2044 08:49:37 GMT"));
        assert!(clock.ahead() > 0 && (clock.now() - 2_362_034_977).abs() < 5);
        assert!(!clock.heed("Sun, 06 Nov 2044 08:49:47 GMT"));
    }
}
