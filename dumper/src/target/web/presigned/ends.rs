//! When pre-signed URLs end: what their queries say of it.

use crate::target::name::rfc3339;
use crate::target::web::clock;
use serde::{Deserialize, Serialize};
use std::fmt;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The moment from which on a URL is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ends(i64);

impl Ends {
    /// From the query of a URL: a date with a number of seconds after it (Amazon's and Google's Signature Version 4), or seconds
    /// since 1970 (the older forms of both). The earliest that is said counts.
    pub(super) fn of(query: &str) -> Option<Self> {
        let number = |name: &str| value(query, name)?.parse::<u32>().ok().map(i64::from);
        let after = |date: &str, seconds: &str| {
            let begins = clock::stamp(value(query, date)?)?;
            Some(begins + number(seconds)?)
        };
        let said = [
            after("X-Amz-Date", "X-Amz-Expires"),
            after("X-Goog-Date", "X-Goog-Expires"),
            number("Expires"),
        ];
        said.into_iter().flatten().min().map(Self)
    }

    /// Of URLs that are signed at a time and good for so many seconds.
    pub(super) const fn after(signed: i64, seconds: i64) -> Self {
        Self(signed.saturating_add(seconds))
    }

    /// Whether it is over by this machine's clock.
    pub fn is_over(self) -> bool {
        self.is_over_at(clock::own())
    }

    /// Whether it is over at a time.
    pub(super) const fn is_over_at(self, now: i64) -> bool {
        self.0 <= now
    }

    /// Whether less than a day is left by this machine's clock.
    pub fn is_near(self) -> bool {
        self.0.saturating_sub(clock::own()) < DAY
    }

    /// Both in words: `end DATE, in 6 days 23 hours`, or `ended DATE, 2 hours ago`.
    pub fn sentence(self) -> String {
        self.sentence_at(clock::own())
    }

    fn sentence_at(self, now: i64) -> String {
        let left = self.0.saturating_sub(now);
        match left > 0 {
            true => format!("end {self}, in {}", span(left)),
            false => format!("ended {self}, {} ago", span(-left)),
        }
    }
}

/// `2026-11-29 00:10:00 UTC`.
impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = rfc3339(self.0).replace('T', " ");
        f.write_str(&text.replace('Z', " UTC"))
    }
}

/// The value of a parameter.
pub(super) fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

/// A number of seconds in its two largest units.
fn span(seconds: i64) -> String {
    let unit = |count: i64, name: &str| {
        let s = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {name}{s}"))
    };
    let (large, small) = match seconds {
        DAY.. => (
            unit(seconds / DAY, "day"),
            unit(seconds % DAY / HOUR, "hour"),
        ),
        HOUR.. => (
            unit(seconds / HOUR, "hour"),
            unit(seconds % HOUR / 60, "minute"),
        ),
        _ => (unit(seconds / 60, "minute"), None),
    };
    let words: Vec<_> = large.into_iter().chain(small).collect();
    if words.is_empty() {
        return "less than a minute".into();
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_end_is_read() {
        let ends = |query: &str| Ends::of(query).map(|ends| ends.to_string());
        for (query, end) in [
            (
                "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host",
                "2013-05-25 00:00:00 UTC",
            ),
            (
                "x-goog-expires=604800&X-Goog-Date=20261122T001000Z",
                "2026-11-29 00:10:00 UTC",
            ),
            (
                "AWSAccessKeyId=a&Signature=b&Expires=1175139620",
                "2007-03-29 03:40:20 UTC",
            ),
            (
                "X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&Expires=1",
                "1970-01-01 00:00:01 UTC",
            ),
        ] {
            assert_eq!(ends(query).as_deref(), Some(end), "{query}");
        }
        for none in [
            "",
            "X-Amz-Date=20130524T000000Z",
            "X-Amz-Expires=86400",
            "X-Amz-Date=yesterday&X-Amz-Expires=86400",
            "X-Amz-Date=20130524T000000Z&X-Amz-Expires=-1",
            "Expires=9999999999999999999999",
            "Expires",
        ] {
            assert_eq!(ends(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_left_in_words() {
        let ends = Ends(1_000_000_000);
        for (left, words) in [
            (604_799, "end 2001-09-09 01:46:40 UTC, in 6 days 23 hours"),
            (86_400, "end 2001-09-09 01:46:40 UTC, in 1 day"),
            (3_660, "end 2001-09-09 01:46:40 UTC, in 1 hour 1 minute"),
            (59, "end 2001-09-09 01:46:40 UTC, in less than a minute"),
            (0, "ended 2001-09-09 01:46:40 UTC, less than a minute ago"),
            (-7_200, "ended 2001-09-09 01:46:40 UTC, 2 hours ago"),
        ] {
            assert_eq!(ends.sentence_at(1_000_000_000 - left), words);
            assert_eq!(ends.is_over_at(1_000_000_000 - left), left <= 0);
        }
        assert!(Ends(i64::MAX).sentence_at(i64::MIN).starts_with("end "));
        assert!(Ends::after(0, 1).is_over() && Ends(0).is_near());
    }
}
