//! `kexec_file_load(2)`: put a capture kernel into the `crashkernel=` reservation, or take it out.
//!
//! Source: include/uapi/linux/kexec.h and kernel/kexec_file.c, Linux 3.17 (x86_64) and later. Neither the C library nor `nix` wraps it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `KEXEC_FILE_UNLOAD`: forget the loaded kernel.
const UNLOAD: libc::c_ulong = 0x1;
/// `KEXEC_FILE_ON_CRASH`: the kernel to start at a panic, not at a reboot.
const ON_CRASH: libc::c_ulong = 0x2;
/// The call's number. The `libc` crate lacks it for arm64, where the generic table of `include/uapi/asm-generic/unistd.h` counts.
#[cfg(target_arch = "x86_64")]
const KEXEC_FILE_LOAD: libc::c_long = libc::SYS_kexec_file_load;
#[cfg(not(target_arch = "x86_64"))]
const KEXEC_FILE_LOAD: libc::c_long = 294;

/// Loads `kernel` and `initrd` as the kernel that a panic starts, with `cmdline`.
///
/// # Errors
/// The kernel's own error number; what each means for a user is explained by the loader.
pub fn load_crash_kernel(
    kernel: BorrowedFd<'_>,
    initrd: BorrowedFd<'_>,
    cmdline: &CStr,
) -> io::Result<()> {
    let words = cmdline.to_bytes_with_nul();
    // SAFETY: both descriptors are open for the whole call, `words` is readable for its length, which counts the NUL that the
    // kernel wants at its end; the kernel writes no memory of this process.
    let result = unsafe {
        libc::syscall(
            KEXEC_FILE_LOAD,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            words.len(),
            words.as_ptr(),
            ON_CRASH,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes the capture kernel out of the reservation; no kernel loaded is no error.
///
/// # Errors
/// The kernel's own error number.
pub fn unload_crash_kernel() -> io::Result<()> {
    // SAFETY: with UNLOAD the kernel looks at neither descriptor nor command line.
    let result = unsafe {
        libc::syscall(
            KEXEC_FILE_LOAD,
            -1,
            -1,
            0_usize,
            std::ptr::null::<libc::c_char>(),
            UNLOAD | ON_CRASH,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
