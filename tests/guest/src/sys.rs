//! Every `unsafe` block of the guest: memory maps, System V messages, kexec, CPU binding.
//!
//! Test code for Linux 5.10 and later, 64-bit.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use anyhow::{Context, Result, ensure};

/// Size of a small page of the guest (x86_64 and arm64 with 4K pages).
pub(crate) const PAGE: usize = 4096;
/// Size of a huge page of the guest.
pub(crate) const HUGE: usize = 2 << 20;

/// What kind of anonymous memory to map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Small pages only.
    Small,
    /// Transparent huge pages, aligned so that the kernel can use them from the first byte.
    Huge,
    /// Huge pages of the hugetlb pool.
    Hugetlb,
}

/// A writable map. It is unmapped only by [`Map::unmap`]: what the workload makes stays until the panic.
#[derive(Debug)]
pub(crate) struct Map {
    start: *mut libc::c_void,
    len: usize,
}

impl Map {
    /// Maps at least `len` bytes of anonymous memory of one kind; the length is rounded up to whole (huge) pages.
    pub(crate) fn anonymous(len: usize, kind: Kind) -> Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        match kind {
            Kind::Small => {
                let map = Self::raw(None, len.next_multiple_of(PAGE), flags, -1)?;
                map.advise(libc::MADV_NOHUGEPAGE)?;
                Ok(map)
            }
            Kind::Huge => {
                let len = len.next_multiple_of(HUGE);
                let map = Self::raw(None, len + HUGE, flags, -1)?;
                let start = (map.start as usize).next_multiple_of(HUGE) as *mut libc::c_void;
                let map = Map { start, len };
                map.advise(libc::MADV_HUGEPAGE)?;
                Ok(map)
            }
            Kind::Hugetlb => Self::raw(
                None,
                len.next_multiple_of(HUGE),
                flags | libc::MAP_HUGETLB,
                -1,
            ),
        }
    }

    /// Maps `len` bytes of small anonymous pages at a fixed address that must be unused.
    pub(crate) fn at(address: usize, len: usize) -> Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let map = Self::raw(Some(address), len, flags, -1)?;
        map.advise(libc::MADV_NOHUGEPAGE)?;
        Ok(map)
    }

    /// Maps a file so that writes go to its pages.
    pub(crate) fn shared(file: &File, len: usize) -> Result<Self> {
        Self::raw(None, len, libc::MAP_SHARED, file.as_raw_fd())
    }

    fn raw(address: Option<usize>, len: usize, flags: libc::c_int, fd: RawFd) -> Result<Self> {
        let hint = address.unwrap_or(0) as *mut libc::c_void;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: without MAP_FIXED the kernel picks unused addresses, with MAP_FIXED_NOREPLACE it refuses used ones:
        // no existing object can be overwritten. The result is checked.
        let start = unsafe { libc::mmap(hint, len, prot, flags, fd, 0) };
        ensure!(
            start != libc::MAP_FAILED,
            "mmap of {len} bytes failed: {}",
            io::Error::last_os_error()
        );
        Ok(Map { start, len })
    }

    fn advise(&self, advice: libc::c_int) -> Result<()> {
        // SAFETY: the range is our own map; the advices used here change no contents.
        let result = unsafe { libc::madvise(self.start, self.len, advice) };
        ensure!(
            result == 0,
            "madvise {advice} failed: {}",
            io::Error::last_os_error()
        );
        Ok(())
    }

    /// The user virtual address of the first byte.
    pub(crate) fn address(&self) -> usize {
        self.start as usize
    }

    /// The mapped bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `start..start+len` is our readable and writable map, alive as long as `self`, and `&mut self` makes
        // this the only reference to it in this process; no other process writes the files mapped here.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast::<u8>(), self.len) }
    }

    /// Gives the pages back to the kernel.
    pub(crate) fn unmap(self) {
        // SAFETY: the range is our own map and `self` is consumed: no reference into it is left.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

/// A read-only window of a file, unmapped on drop.
#[derive(Debug)]
pub(crate) struct Window {
    start: *mut libc::c_void,
    len: usize,
}

impl Window {
    /// Maps `len` bytes of `file` from `offset` (a multiple of the page size).
    pub(crate) fn new(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: the kernel picks unused addresses, so no existing object is overwritten. The result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Window { start, len })
    }

    /// The mapped bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start..start+len` is our readable map, alive as long as `self`; nobody writes the memory of a dead kernel.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>(), self.len) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range is our own map and no reference into it outlives `self`.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

/// A new private System V message queue; it lives until the kernel dies.
pub(crate) fn message_queue() -> Result<i32> {
    // SAFETY: a system call without pointers.
    let queue = unsafe { libc::msgget(libc::IPC_PRIVATE, libc::IPC_CREAT | 0o600) };
    ensure!(queue >= 0, "msgget failed: {}", io::Error::last_os_error());
    Ok(queue)
}

/// Puts one message into a queue. The first eight bytes are its type, which must not be zero.
pub(crate) fn send_message(queue: i32, message: &[u8]) -> Result<()> {
    let len = message
        .len()
        .checked_sub(8)
        .context("a message needs its type")?;
    // SAFETY: `message` holds the type and `len` bytes of text, and is only read.
    let result = unsafe { libc::msgsnd(queue, message.as_ptr().cast(), len, libc::IPC_NOWAIT) };
    ensure!(result == 0, "msgsnd failed: {}", io::Error::last_os_error());
    Ok(())
}

/// Loads a crash kernel with `kexec_file_load(2)`.
pub(crate) fn load_crash_kernel(kernel: &File, image: &File, command_line: &str) -> Result<()> {
    /// `KEXEC_FILE_ON_CRASH` of `linux/kexec.h`.
    const ON_CRASH: libc::c_ulong = 2;
    let words = CString::new(command_line)?;
    let len = words.as_bytes_with_nul().len();
    // SAFETY: both descriptors are open, `words` is NUL-terminated with `len` bytes, and the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            image.as_raw_fd(),
            len,
            words.as_ptr(),
            ON_CRASH,
        )
    };
    ensure!(
        result == 0,
        "kexec_file_load failed: {}",
        io::Error::last_os_error()
    );
    Ok(())
}

/// Binds the calling thread to one CPU.
pub(crate) fn bind_to_cpu(cpu: usize) -> Result<()> {
    // SAFETY: an all-zero `cpu_set_t` is a valid empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a valid set, and its words are indexed with a bounds check.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for the size given and only read.
    let result =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    ensure!(
        result == 0,
        "sched_setaffinity failed: {}",
        io::Error::last_os_error()
    );
    Ok(())
}
