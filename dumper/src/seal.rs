//! Placeholder with what the steps call: the folder `seal/` takes its place (keep these names and signatures, delete this file).
#![allow(missing_docs)]
use std::io::{self, Write};
pub struct Recipients;
impl Recipients {
    pub fn parse<S: AsRef<str>>(_: &[S]) -> Result<Self, String> {
        Ok(Self)
    }
}
pub struct Sealer<W: Write>(W);
impl<W: Write> Sealer<W> {
    pub fn new(w: W, _: &Recipients) -> io::Result<Self> {
        Ok(Self(w))
    }
    pub fn finish(self) -> io::Result<W> {
        Ok(self.0)
    }
}
impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, b: &[u8]) -> io::Result<usize> {
        self.0.write(b)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
