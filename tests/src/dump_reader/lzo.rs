//! A decoder of LZO1X streams, written from the kernel's description of the format (`Documentation/staging/lzo.rst`).

use anyhow::{Context, Result, bail, ensure};

/// How the instructions below 16 are to be read: after a match without literals, with 1 to 3, or after a run of literals.
const AFTER_RUN: usize = 4;

struct Stream<'a> {
    input: &'a [u8],
    at: usize,
    out: &'a mut [u8],
    len: usize,
}

/// Decodes the whole of `input` into `out`; gives the number of bytes.
pub(super) fn decompress(input: &[u8], out: &mut [u8]) -> Result<usize> {
    let mut stream = Stream {
        input,
        at: 0,
        out,
        len: 0,
    };
    let mut state = stream.start()?;
    while let Some(next) = stream.instruction(state)? {
        state = next;
    }
    ensure!(
        stream.at == input.len(),
        "{} bytes after the end mark",
        input.len() - stream.at
    );
    Ok(stream.len)
}

impl Stream<'_> {
    /// A first byte above 17 is a number of literals.
    fn start(&mut self) -> Result<usize> {
        let first = usize::from(*self.input.first().context("empty")?);
        ensure!(first != 17, "a version of the format that dumps don't have");
        if first < 17 {
            return Ok(0);
        }
        self.at = 1;
        self.literals(first - 17)?;
        Ok((first - 17).min(AFTER_RUN))
    }

    /// Carries out one instruction; gives the next state, `None` at the end mark.
    fn instruction(&mut self, state: usize) -> Result<Option<usize>> {
        let code = self.byte()?;
        if code < 16 && state == 0 {
            let count = 3 + self.length(code, 15)?;
            self.literals(count)?;
            return Ok(Some(AFTER_RUN));
        }
        let (count, distance, after) = match code {
            0..16 => {
                let near = (self.byte()? << 2) + (code >> 2);
                if state == AFTER_RUN {
                    (3, near + 2049, code & 3)
                } else {
                    (2, near + 1, code & 3)
                }
            }
            16..32 => {
                let count = 2 + self.length(code & 7, 7)?;
                let word = self.word()?;
                let far = ((code & 8) << 11) + (word >> 2);
                if far == 0 {
                    ensure!(count == 3, "an end mark of length {count}");
                    return Ok(None);
                }
                (count, far + 16384, word & 3)
            }
            32..64 => {
                let count = 2 + self.length(code & 31, 31)?;
                let word = self.word()?;
                (count, (word >> 2) + 1, word & 3)
            }
            _ => {
                let near = (self.byte()? << 3) + (code >> 2 & 7) + 1;
                let count = if code < 128 {
                    3 + (code >> 5 & 1)
                } else {
                    5 + (code >> 5 & 3)
                };
                (count, near, code & 3)
            }
        };
        self.copy(count, distance)?;
        self.literals(after)?;
        Ok(Some(after))
    }

    fn byte(&mut self) -> Result<usize> {
        let byte = *self.input.get(self.at).context("ends without a mark")?;
        self.at += 1;
        Ok(usize::from(byte))
    }

    fn word(&mut self) -> Result<usize> {
        Ok(self.byte()? | self.byte()? << 8)
    }

    /// A length that does not fit into its field is 0 there, and goes on with bytes: 255 for each zero.
    fn length(&mut self, field: usize, max: usize) -> Result<usize> {
        if field != 0 {
            return Ok(field);
        }
        let mut sum = max;
        loop {
            match self.byte()? {
                0 => sum += 255,
                last => return Ok(sum + last),
            }
        }
    }

    fn literals(&mut self, count: usize) -> Result<()> {
        let from = self.input.get(self.at..self.at + count);
        let to = self.out.get_mut(self.len..self.len + count);
        let (Some(from), Some(to)) = (from, to) else {
            bail!("{count} literals at {} go beyond the end", self.at);
        };
        to.copy_from_slice(from);
        self.at += count;
        self.len += count;
        Ok(())
    }

    fn copy(&mut self, count: usize, distance: usize) -> Result<()> {
        ensure!(
            distance <= self.len && self.len + count <= self.out.len(),
            "a match of {count} bytes, {distance} back from {}",
            self.len
        );
        for _ in 0..count {
            self.out[self.len] = self.out[self.len - distance];
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::decompress;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = vec![0; 4096];
        let len = decompress(input, &mut out).map_err(|e| e.to_string())?;
        out.truncate(len);
        Ok(out)
    }

    #[test]
    fn literals_and_matches() {
        // 4 literals, a match of 3 one byte back with one literal after it, the end.
        let stream = [21, b'a', b'b', b'c', b'd', 0x41, 0, b'e', 17, 0, 0];
        assert_eq!(decoded(&stream).unwrap(), b"abcdddde");
        // A page of zeros: 1 literal, a long match one byte back.
        let mut stream = vec![18, 0, 0x20];
        let rest = 4095 - 2 - 31;
        stream.extend(std::iter::repeat_n(0, rest / 255));
        stream.extend([(rest % 255) as u8, 0, 0, 17, 0, 0]);
        assert_eq!(decoded(&stream).unwrap(), vec![0; 4096]);
    }

    #[test]
    fn damage_is_an_error() {
        let good = [21, b'a', b'b', b'c', b'd', 0x41, 0, b'e', 17, 0, 0];
        for end in 0..good.len() {
            assert!(decoded(&good[..end]).is_err(), "cut at {end}");
        }
        let back_too_far = [21, b'a', b'b', b'c', b'd', 0x41, 9, b'e', 17, 0, 0];
        assert!(decoded(&back_too_far).unwrap_err().contains("back from 4"));
        assert!(decoded(&[good.as_slice(), &[0]].concat()).is_err());
        assert!(decoded(&[17, 1]).is_err());
    }
}
