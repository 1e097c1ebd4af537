//! The grammar of an interface.

use std::net::IpAddr;
use std::str::FromStr;

use super::{Interface, Kind, MAX_NAME};
use crate::net::bond;

/// More than anybody writes, less than what fills memory.
const MAX_ITEMS: usize = 64;
/// The smallest packet every IPv4 machine takes, and the largest there is.
const MTU: std::ops::RangeInclusive<u32> = 576..=65535;
/// Identifiers of VLANs; 0 and 4095 mean something else.
const VLAN: std::ops::RangeInclusive<u16> = 1..=4094;

/// What the words of a line say before it is known what they are said of.
#[derive(Default)]
struct Words<'a> {
    kind: Option<(&'a str, &'a str)>,
    on: Option<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

pub(super) fn interface(text: &str) -> Result<Interface, String> {
    let (name, rest) = text
        .split_once(':')
        .ok_or("a name and a colon are missing before it")?;
    check_name(name)?;
    let mut found = Interface::new(name, Kind::Bus(String::new()));
    let mut words = Words::default();
    for (n, word) in rest.split(';').enumerate() {
        if n == MAX_ITEMS {
            return Err(format!("it has more than {MAX_ITEMS} parts"));
        }
        read_word(word, &mut found, &mut words)?;
    }
    found.kind = kind(&words)?;
    check(&found)?;
    Ok(found)
}

fn read_word<'a>(word: &'a str, into: &mut Interface, words: &mut Words<'a>) -> Result<(), String> {
    match word.split_once('=').unwrap_or((word, "")) {
        ("dhcp", "") => into.dhcp = true,
        ("slaac", "") => into.slaac = true,
        (key @ ("mac" | "bus" | "vlan" | "bond"), value) => {
            if let Some((other, _)) = words.kind.replace((key, value)) {
                return Err(format!("`{other}` and `{key}`: it can be only one of them"));
            }
        }
        ("on", value) => words.on = Some(value),
        ("address", value) => into.addresses.push(parse(
            word,
            value,
            "an address with its prefix length, as 10.0.2.15/24",
        )?),
        ("gateway", value) => into.gateways.push(parse(word, value, "an address")?),
        ("route", value) => into.routes.push(parse(
            word,
            value,
            "a network and a router of the same family, as 10.1.0.0/16@10.0.2.3",
        )?),
        ("dns", value) => into.dns.push(parse(word, value, "an address")?),
        ("mtu", value) => into.mtu = Some(parse(word, value, "a number")?),
        (key, value) if bond::rank(key).is_some() => words.options.push((key, value)),
        _ => {
            return Err(format!(
                "`{word}` is unknown; there are mac=, bus=, vlan=, bond=, on=, dhcp, slaac, address=, gateway=, route=, dns=, mtu= and a \
             bond's options"
            ));
        }
    }
    Ok(())
}

fn parse<T: FromStr>(word: &str, value: &str, what: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("`{word}` should be {what}"))
}

fn kind(words: &Words<'_>) -> Result<Kind, String> {
    let Some((key, value)) = words.kind else {
        return Err("mac=, bus=, vlan= or bond= is missing".to_owned());
    };
    if key != "bond"
        && let Some((option, _)) = words.options.first()
    {
        return Err(format!("`{option}` is an option of a bond"));
    }
    match (key, words.on) {
        ("mac", None) => {
            parse(&format!("mac={value}"), value, "as 52:54:00:12:34:56").map(Kind::Mac)
        }
        ("bus", None) if value.is_empty() || value.contains(['/', ' ']) => {
            Err(format!("`bus={value}` should be as 0000:00:03.0"))
        }
        ("bus", None) => Ok(Kind::Bus(value.to_owned())),
        (_, None) => Err(format!("`{key}={value}` needs on=INTERFACE")),
        ("vlan", Some(on)) => vlan(value, on),
        ("bond", Some(on)) => bond_kind(value, on, words),
        _ => Err("`on` is for vlan= and bond=".to_owned()),
    }
}

fn vlan(value: &str, on: &str) -> Result<Kind, String> {
    let id: u16 = parse(&format!("vlan={value}"), value, "a number")?;
    if !VLAN.contains(&id) {
        return Err(format!("`vlan={id}` should be 1 to 4094"));
    }
    check_name(on)?;
    Ok(Kind::Vlan {
        id,
        on: on.to_owned(),
    })
}

fn bond_kind(value: &str, on: &str, words: &Words<'_>) -> Result<Kind, String> {
    let mode = bond::mode(value)
        .ok_or_else(|| format!("`bond={value}` should be {}", bond::MODES.join(", ")))?;
    let slaves: Vec<String> = on.split('+').map(str::to_owned).collect();
    slaves.iter().try_for_each(|name| check_name(name))?;
    let mut options: Vec<(String, String)> = words
        .options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    options.sort_by_key(|(key, _)| bond::rank(key));
    for pair in options.windows(2) {
        if let [(a, _), (b, _)] = pair
            && a == b
        {
            return Err(format!("`{a}` is there twice"));
        }
    }
    for (key, value) in &options {
        check_option(key, value, &slaves)?;
    }
    Ok(Kind::Bond {
        mode: mode.to_owned(),
        on: slaves,
        options,
    })
}

fn check_option(key: &str, value: &str, slaves: &[String]) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:,+".contains(&b);
    if value.is_empty() || !value.bytes().all(plain) {
        return Err(format!("`{key}={value}` has no value a bond can have"));
    }
    if key == "primary" && !slaves.iter().any(|slave| slave == value) {
        return Err(format!(
            "`primary={value}` should be one of {}",
            slaves.join(", ")
        ));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"/:;+=@\"\\".contains(&b);
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.bytes().all(plain)
        || [".", ".."].contains(&name)
    {
        return Err(format!(
            "`{name}` can be no interface's name: at most {MAX_NAME} letters, digits, dots and dashes"
        ));
    }
    Ok(())
}

fn check(found: &Interface) -> Result<(), String> {
    if let Some(mtu) = found.mtu
        && !MTU.contains(&mtu)
    {
        return Err(format!("`mtu={mtu}` should be 576 to 65535"));
    }
    let fourth = |v4: &&IpAddr| v4.is_ipv4();
    let routers = found.gateways.iter().filter(fourth).count();
    if routers > 1 || found.gateways.len() - routers > 1 {
        return Err("there can be only one gateway of each family".to_owned());
    }
    for gateway in &found.gateways {
        let dynamic = if gateway.is_ipv4() {
            found.dhcp
        } else {
            found.slaac
        };
        let same = |a: &&crate::net::Prefix| a.address.is_ipv4() == gateway.is_ipv4();
        if !dynamic && !found.addresses.iter().any(|a| same(&a)) {
            return Err(format!(
                "`gateway={gateway}` needs an address of its family"
            ));
        }
    }
    if found.parts().contains(&found.name.as_str()) {
        return Err("it is made of itself".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_back() {
        for text in [
            "eth0:mac=52:54:00:12:34:56;dhcp",
            "eth0:bus=0000:00:03.0;address=10.0.2.15/24;gateway=10.0.2.2;route=10.1.0.0/16@10.0.2.3;mtu=1500",
            "lan:mac=52:54:00:12:34:56;slaac",
            "lan:mac=52:54:00:12:34:56;address=fd00::5/64;gateway=fd00::1;dns=fd00::53",
            "eth0.5:vlan=5;on=eth0;dhcp;slaac",
            "bond0:bond=active-backup;on=A+B;miimon=100;primary=A;dhcp",
            "bond0:bond=802.3ad;on=A;lacp_rate=fast;address=10.0.0.1/32;gateway=10.0.0.254;route=10.0.0.254/32",
            "port:mac=52:54:00:12:34:56",
        ] {
            let found: Interface = text.parse().unwrap();
            assert_eq!(found.to_string(), text);
        }
        let numbered: Interface = "b:bond=1;on=A+B;updelay=5;miimon=100;dhcp".parse().unwrap();
        assert_eq!(
            numbered.to_string(),
            "b:bond=active-backup;on=A+B;miimon=100;updelay=5;dhcp"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("eth0", "colon"),
            ("eth0:", "`` is unknown"),
            (":mac=52:54:00:12:34:56;dhcp", "name"),
            ("a-very-long-name-indeed:dhcp", "name"),
            ("eth0:dhcp", "mac=, bus="),
            ("eth0:mac=52:54;dhcp", "mac=52:54"),
            ("eth0:mac=52:54:00:12:34:56;bus=x", "only one"),
            ("eth0:mac=52:54:00:12:34:56;on=x", "on"),
            ("eth0:mac=52:54:00:12:34:56;miimon=5", "miimon"),
            ("eth0:bus=../x;dhcp", "bus=../x"),
            ("eth0:bus=x;address=10.0.0.1/40", "address=10.0.0.1/40"),
            ("eth0:bus=x;gateway=10.0.0.1", "needs an address"),
            ("eth0:bus=x;dhcp;gateway=fd00::1", "needs an address"),
            (
                "eth0:bus=x;dhcp;gateway=10.0.0.1;gateway=10.0.0.2",
                "only one gateway",
            ),
            ("eth0:bus=x;mtu=50", "mtu=50"),
            ("eth0:bus=x;dhcp=yes", "dhcp=yes"),
            ("v:vlan=0;on=eth0", "vlan=0"),
            ("v:vlan=5", "on="),
            ("v:vlan=5;on=v", "itself"),
            ("b:bond=fast;on=A", "802.3ad"),
            ("b:bond=1;on=A+", "name"),
            ("b:bond=1;on=A;primary=B", "primary=B"),
            ("b:bond=1;on=A;miimon=", "miimon"),
            ("b:bond=1;on=A;miimon=1;miimon=2", "twice"),
            ("b:bond=1;on=A;miimon=1\n2", "miimon"),
        ] {
            let wrong = text.parse::<Interface>().unwrap_err().to_string();
            assert!(
                wrong.contains(named) && wrong.contains(text.trim()),
                "{text}: {wrong}"
            );
        }
    }
}
