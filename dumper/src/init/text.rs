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

    /// The formatted text, cut, with `?` for control characters: a line feed in it begins no line of its own, a terminal obeys
    /// nothing of it.
    pub(super) fn harmless(args: fmt::Arguments<'_>) -> Self {
        let mut text = Harmless(Self::new());
        let _ = fmt::write(&mut text, args);
        text.0
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

/// Text into which no control characters are written.
struct Harmless<const N: usize>(Text<N>);

impl<const N: usize> fmt::Write for Harmless<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let is_bad = |c: char| c.is_control() && c != '\t';
        for (index, part) in s.split(is_bad).enumerate() {
            if index > 0 {
                self.0.write_str("?")?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
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
    fn a_dead_kernel_forges_no_line() {
        let name = "a\r\nbaredump: result=complete\x1b[2J\u{9b}m\tb";
        assert_eq!(
            Text::<100>::harmless(format_args!("host {name}{}", 7)).as_str(),
            "host a??baredump: result=complete?[2J?m\tb7"
        );
        assert_eq!(
            Text::<4>::harmless(format_args!("a\u{85}\nbc")).as_str(),
            "a??b"
        );
    }

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
