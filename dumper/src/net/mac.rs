//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// Six bytes, written `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// From bytes of the kernel; `None` for other lengths and for the address that says there is none.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mac = <[u8; 6]>::try_from(bytes).ok()?;
        (mac != [0; 6]).then_some(Self(mac))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut mac = [0; 6];
        let mut parts = text.trim().split(':');
        for byte in &mut mac {
            let part = parts.next().ok_or(())?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        parts.next().map_or(Ok(Self(mac)), |_| Err(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let mac: Mac = "52:54:00:AB:cd:0f".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:cd:0f");
        for wrong in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd:0f:1",
            "52:54:0:ab:cd:0f",
            "52:54:+1:ab:cd:0f",
        ] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
        assert_eq!(Mac::from_slice(&[0; 6]), None);
        assert_eq!(Mac::from_slice(&[1; 20]), None);
    }
}
