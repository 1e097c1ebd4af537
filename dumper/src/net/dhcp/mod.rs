//! A DHCP client for one address, at the moment of the crash.
//!
//! Source: RFC 2131 (protocol), 2132 (options), 3396 (long options), 3442 (classless routes). A lease is asked for once and not renewed:
//! the address stays when the lease ends, which [`super::bring_up`] says when the lease is shorter than it is needed.

mod client;
mod frame;
mod message;

pub use client::{Terms, acquire};
pub use frame::payload;
pub use message::{Kind, Lease, Reply};
