//! The ioctls of a watchdog.
//!
//! Source: include/uapi/linux/watchdog.h, Linux 2.6 and later.

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;

/// `WDIOC_SETTIMEOUT` and `WDIOC_GETTIMEOUT`.
const SET_TIMEOUT: u32 = (3 << 30) | (4 << 16) | (b'W' as u32) << 8 | 6;
const GET_TIMEOUT: u32 = (2 << 30) | (4 << 16) | (b'W' as u32) << 8 | 7;

/// The seconds that a watchdog waits; `None` when it does not say.
pub fn timeout(watchdog: &File) -> Option<i32> {
    ask(watchdog, GET_TIMEOUT, 0)
}

/// Asks for so many seconds; what it took, `None` when it cannot be set.
pub fn set_timeout(watchdog: &File, seconds: i32) -> Option<i32> {
    ask(watchdog, SET_TIMEOUT, seconds)
}

fn ask(watchdog: &File, request: u32, seconds: c_int) -> Option<i32> {
    let mut value = seconds;
    // SAFETY: both requests read or write one int.
    let done = unsafe { libc::ioctl(watchdog.as_raw_fd(), request as _, &raw mut value) };
    (done == 0).then_some(value)
}
