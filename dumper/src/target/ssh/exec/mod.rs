//! A server without SFTP: files go by commands of a POSIX shell, as `busybox` has them. They are streams.

mod commands;
mod dir;
mod file;

pub(super) use dir::ExecDir;
