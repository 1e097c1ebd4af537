//! The command line on a host.
