//! Text in fixed memory that is cut where it does not fit.

use crate::report::cut;
use std::fmt;

/// At most `N` bytes of UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<const N: usize>(heapless::String<N>);

impl<const N: usize> Text<N> {
    pub(super) const fn new() -> Self {
        Self(heapless::String::new())
    }

    /// The formatted text, cut.
    pub(super) fn of(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::new();
        let _ = fmt::write(&mut text, args);
        text
    }

    pub(super) fn set(&mut self, text: &str) {
        self.0.clear();
        let _ = fmt::Write::write_str(self, text);
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = N - self.0.len();
        let fits = cut(s, room);
        self.0.push_str(fits).map_err(|_| fmt::Error)?;
        if fits.len() == s.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_a_character() {
        assert_eq!(
            Text::<4>::of(format_args!("{}{}", "abc", "ä")).as_str(),
            "abc"
        );
        assert_eq!(
            Text::<5>::of(format_args!("{}{}", "abc", "äx")).as_str(),
            "abcä"
        );
    }
}
