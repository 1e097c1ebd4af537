//! Descriptors 0 to 2 of PID 1. A kernel without a console starts it without them; Rust's start-up then opens `/dev/null`, and ends the
//! process where there is none: the capture would be over before its first instruction.

use std::ffi::c_int;

/// Runs before Rust's start-up.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = fill;

extern "C" fn fill() {
    // SAFETY: system calls on a constant path. No descriptor that is open is touched.
    unsafe {
        if libc::getpid() == 1 {
            // A directory takes and gives no bytes, and it is there whatever the image holds. The lowest free number is given first.
            while lowest_is_free() && libc::open(c"/".as_ptr(), libc::O_RDONLY) >= 0 {}
        }
    }
}

/// Whether one of the three is closed.
fn lowest_is_free() -> bool {
    // SAFETY: F_GETFD on any number is harmless.
    let is_closed = |fd: c_int| unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0;
    (0..3).any(is_closed)
}
