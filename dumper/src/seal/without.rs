//! What stands for encryption in a program that was built without the feature `age`: nobody can be a recipient.

use std::io::{self, Write};

/// The only answer.
#[derive(Debug, thiserror::Error)]
#[error(
    "this baredump was built without encryption (the feature age): leave recipients out, or build it anew"
)]
pub struct RecipientError;

/// There are none.
#[derive(Clone, Copy, Debug)]
pub enum Recipients {}

impl Recipients {
    /// Refuses every word.
    ///
    /// # Errors
    /// Always.
    pub fn parse<S: AsRef<str>>(_words: &[S]) -> Result<Self, RecipientError> {
        Err(RecipientError)
    }
}

/// Never made.
pub struct Sealer<W: Write> {
    out: W,
    never: Recipients,
}

impl<W: Write> Sealer<W> {
    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn new(_out: W, recipients: &Recipients) -> io::Result<Self> {
        match *recipients {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn finish(self) -> io::Result<W> {
        match self.never {}
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.never {}
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
