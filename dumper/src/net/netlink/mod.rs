//! The kernel's network, asked and changed over rtnetlink.
//!
//! Source: `include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h`, Linux 5.4 to 6.18. Fixed structs with attributes behind them, in
//! the machine's byte order.

mod address;
mod link;
mod message;
mod route;
mod socket;

pub use address::Address;
pub use link::Link;
pub use message::{Attributes, Message, Messages, Request};
pub use route::{RouteEntry, add_route};
pub use socket::Netlink;
pub(in crate::net) use socket::wait_readable;

/// Whatever a datagram holds, nothing but values comes of it: for tests with hostile input.
pub fn read_all(datagram: &[u8]) -> usize {
    Messages::new(datagram)
        .map(|message| {
            message.error();
            usize::from(Link::read(&message).is_some())
                + usize::from(Address::read(&message).is_some())
                + usize::from(RouteEntry::read(&message).is_some())
        })
        .sum()
}
