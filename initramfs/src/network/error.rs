//! Why the way to a server can't be recorded.

use std::io;
use std::net::IpAddr;

use baredump::net::NetError;

/// Each is an error when the image is built, so that none is one at the crash.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A name without address.
    #[error("the server {server} has no address: {why}; correct its name, or write its address")]
    Resolve {
        /// The name.
        server: String,
        /// What the resolver said.
        why: String,
    },
    /// No way.
    #[error(
        "there is no route to the server {server} ({address}): {why}; the machine must reach it while the image is built"
    )]
    NoRoute {
        /// The server.
        server: String,
        /// Its address.
        address: IpAddr,
        /// What the kernel said.
        why: String,
    },
    /// An interface that can't be made again.
    #[error(
        "the way to {server} leads over {interface}, which is {kind}: the capture kernel can't set it up; choose a target on another \
         interface, or describe in `interfaces` the one below it"
    )]
    Refused {
        /// The server.
        server: String,
        /// The interface.
        interface: String,
        /// What it is.
        kind: String,
    },
    /// A line that names no device of this machine.
    #[error(
        "the interface `{interface}` is no device of this machine, so its driver is unknown: correct the line, or build the image with --no-probe and the driver as --module"
    )]
    NoDevice {
        /// The line.
        interface: String,
    },
    /// The kernel can't be asked.
    #[error("can't ask the kernel for its interfaces: {0}")]
    Kernel(io::Error),
    /// What was found can't be written down.
    #[error(transparent)]
    Net(#[from] NetError),
}
