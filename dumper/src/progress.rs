//! Progress on a terminal.
