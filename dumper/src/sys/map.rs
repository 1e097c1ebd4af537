//! Read-only maps of files.
