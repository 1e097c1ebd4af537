//! `sftp://` targets: an SSH client of our own, over which files go by SFTP or, where a server has none, by commands of a shell.
//!
//! russh 0.65 does SSH itself (RFC 4250–4254) and is asynchronous: `client` and `pipe` hide that, nothing outside of this folder
//! sees it. No thread is started: the connection moves while a call waits for it, and between the calls the kernel sends what
//! its socket holds, so that compression and sending overlap. Memory is bounded by the channel's window and by what may be
//! unanswered, and no wait is longer than [`Timeouts`] say.
//!
//! The server proves itself with a key that is pinned in `known_hosts` text; one that is not there is refused. We prove ourselves
//! with an ed25519, ECDSA or RSA key (RSA with SHA-2 only), or with a certificate for it. RUSTSEC-2023-0071 says of the crate
//! `rsa` that the time of its private operation depends on the key. Here that is one signature per connection, blinded, made by
//! a machine that has just crashed: nobody can ask for the many measurements that the attack needs. Who minds takes an ed25519 key.

mod algorithms;
mod client;
mod exec;
mod fault;
mod guard;
mod keys;
pub mod known_hosts;
mod path;
mod pipe;
mod session;
mod sftp;
mod signer;

pub use keys::Keys;
pub use session::{Login, Session, Timeouts, connect, reach};
pub use sftp::packet;
