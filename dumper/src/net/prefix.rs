//! Addresses with the length of their network, and routes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address in its network, `10.0.2.15/24`; without a length, a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The address, with all its bits.
    pub address: IpAddr,
    /// How many bits are the network's.
    pub len: u8,
}

/// A network and what leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The network.
    pub to: Prefix,
    /// The router; `None` when the network is on the link.
    pub via: Option<IpAddr>,
}

impl Prefix {
    /// `None` when there are not so many bits.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        (len <= bits(address)).then_some(Self { address, len })
    }

    /// The network of one address.
    #[must_use]
    pub fn single(address: IpAddr) -> Self {
        Self {
            address,
            len: bits(address),
        }
    }

    /// Whether `other` is in this network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let same = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        same >= u32::from(self.len)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

impl FromStr for Prefix {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let Some((address, len)) = text.split_once('/') else {
            return Ok(Self::single(text.parse().map_err(|_| ())?));
        };
        if !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        let address = address.parse().map_err(|_| ())?;
        Self::new(address, len.parse().map_err(|_| ())?).ok_or(())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.via {
            Some(via) => write!(f, "{}@{via}", self.to),
            None => self.to.fmt(f),
        }
    }
}

impl FromStr for Route {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let Some((to, via)) = text.split_once('@') else {
            return Ok(Self {
                to: text.parse()?,
                via: None,
            });
        };
        let (to, via): (Prefix, IpAddr) = (to.parse()?, via.parse().map_err(|_| ())?);
        if to.address.is_ipv4() != via.is_ipv4() {
            return Err(());
        }
        Ok(Self { to, via: Some(via) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["10.0.2.15/24", "0.0.0.0/0", "fd00::5/64", "::/0"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.1".parse::<Prefix>().unwrap().len, 32);
        for wrong in ["10.0.2.15/33", "10.0.2/24", "10.0.2.15/", "fd00::/+4", ""] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        for text in ["10.1.0.0/16@10.0.2.3", "fd01::/48@fe80::1", "10.9.9.9/32"] {
            assert_eq!(text.parse::<Route>().unwrap().to_string(), text);
        }
        assert!("10.1.0.0/16@fe80::1".parse::<Route>().is_err());
    }

    #[test]
    fn what_a_network_contains() {
        let net: Prefix = "10.0.2.15/24".parse().unwrap();
        assert!(net.contains("10.0.2.200".parse().unwrap()));
        assert!(!net.contains("10.0.3.15".parse().unwrap()));
        assert!(!net.contains("fd00::1".parse().unwrap()));
        let all: Prefix = "::/0".parse().unwrap();
        assert!(all.contains("fd00::1".parse().unwrap()));
        assert!(!Prefix::single("10.0.0.1".parse().unwrap()).contains("10.0.0.2".parse().unwrap()));
    }
}
