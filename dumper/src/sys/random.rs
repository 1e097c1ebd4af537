//! Random numbers of the kernel, and what it is given to make them of.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// As much as a kernel's pool holds: 512 bytes before Linux 5.18, 32 since.
pub const SEED_MAX: usize = 512;

/// `struct rand_pool_info` of `linux/random.h`.
#[repr(C)]
struct PoolInfo {
    entropy_count: c_int,
    buf_size: c_int,
    buf: [u8; SEED_MAX],
}

/// getrandom(2). Without `wait` it fails as `WouldBlock` when the kernel is not ready; with it a kernel from 5.4 on begins to make
/// itself ready.
///
/// # Errors
/// See above.
pub fn getrandom(buf: &mut [u8], wait: bool) -> io::Result<usize> {
    let flags = if wait { 0 } else { libc::GRND_NONBLOCK };
    // SAFETY: the pointer and the length are those of a buffer that is borrowed for the call.
    let got = unsafe { libc::getrandom(buf.as_mut_ptr().cast(), buf.len(), flags) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Bits that a seed counts for: what a key has, and what makes every kernel ready; not more, since others had it before.
const CREDIT: c_int = 256;

/// RNDADDENTROPY: gives the kernel at most [`SEED_MAX`] bytes that nobody knows.
///
/// # Errors
/// As the ioctl: who is not root may not.
pub fn credit(device: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut pool = PoolInfo {
        entropy_count: 0,
        buf_size: 0,
        buf: [0; SEED_MAX],
    };
    for (to, from) in pool.buf.iter_mut().zip(bytes) {
        *to = *from;
        pool.buf_size += 1;
    }
    pool.entropy_count = CREDIT.min(pool.buf_size * 8);
    let request = nix::request_code_write!(b'R', 3, size_of::<[c_int; 2]>());
    // SAFETY: the kernel reads a `rand_pool_info` whose `buf_size` bytes are inside of `pool`.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request, &raw const pool) };
    nix::errno::Errno::result(result)?;
    Ok(())
}
