//! Every `unsafe` block of the guest: memory maps, System V messages, kexec, CPU binding.
//!
//! Test code for Linux 5.10 and later, 64-bit.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The smallest page of all kernels here; see [`page_size`].
pub(crate) const PAGE: usize = 4096;
/// Size of a gigantic page of x86_64, and of arm64 with pages of 4 KiB.
const GIGANTIC: usize = 1 << 30;

/// Bytes of a page of the running kernel.
pub(crate) fn page_size() -> usize {
    // SAFETY: a library call without pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(PAGE).max(PAGE)
}

/// Bytes of a huge page of the running kernel: one table full of pages.
pub(crate) fn huge_page() -> usize {
    let page = page_size();
    page * (page / 8)
}

/// What kind of anonymous memory to map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Small pages only.
    Small,
    /// Transparent huge pages, aligned so that the kernel can use them from the first byte.
    Huge,
    /// Whatever the kernel finds right, aligned to a huge page.
    Aligned,
    /// Huge pages of the hugetlb pool.
    Hugetlb,
    /// Pages of 1 GiB of their hugetlb pool.
    Gigantic,
}

/// How the kernel is told that memory failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// An error that was found in the page.
    Hard = 100,
    /// Errors that were corrected: the content moves.
    Soft = 101,
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
                let map = Self::raw(None, len.next_multiple_of(page_size()), flags, -1)?;
                map.advise(libc::MADV_NOHUGEPAGE)?;
                Ok(map)
            }
            Kind::Huge => {
                let map = Self::aligned(len.next_multiple_of(huge_page()))?;
                map.advise(libc::MADV_HUGEPAGE)?;
                Ok(map)
            }
            Kind::Aligned => Self::aligned(len.next_multiple_of(page_size())),
            Kind::Hugetlb => Self::raw(
                None,
                len.next_multiple_of(huge_page()),
                flags | libc::MAP_HUGETLB,
                -1,
            ),
            Kind::Gigantic => Self::raw(
                None,
                len.next_multiple_of(GIGANTIC),
                flags | libc::MAP_HUGETLB | libc::MAP_HUGE_1GB,
                -1,
            ),
        }
    }

    /// Private anonymous memory that begins where a huge page can.
    fn aligned(len: usize) -> Result<Self> {
        let huge = huge_page();
        let map = Self::raw(
            None,
            len + huge,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
        )?;
        let start = (map.start as usize).next_multiple_of(huge) as *mut libc::c_void;
        Ok(Map { start, len })
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

    /// Lets the kernel merge equal pages.
    pub(crate) fn merge(&self) -> Result<()> {
        self.advise(libc::MADV_MERGEABLE)
    }

    /// Has the pages written to swap.
    pub(crate) fn page_out(&self) -> Result<()> {
        self.advise(libc::MADV_PAGEOUT)
    }

    /// Tells the kernel that memory failed. The pages must not be read afterwards: that would be answered with SIGBUS.
    pub(crate) fn poison(&self, offset: usize, len: usize, how: Poison) -> Result<()> {
        let end = offset.checked_add(len).context("the range is too long")?;
        ensure!(end <= self.len, "the range is outside of the map");
        // SAFETY: `start + offset` is inside of our own map, checked above. The kernel unmaps or moves the pages.
        let result = unsafe { libc::madvise(self.start.byte_add(offset), len, how as libc::c_int) };
        succeeded(result, "madvise")
    }

    /// Keeps the pages in memory.
    pub(crate) fn lock(&self) -> Result<()> {
        // SAFETY: the range is our own map; its contents do not change.
        let result = unsafe { libc::mlock(self.start, self.len) };
        succeeded(result, "mlock")
    }

    fn advise(&self, advice: libc::c_int) -> Result<()> {
        // SAFETY: the range is our own map; the advices used here change no contents.
        let result = unsafe { libc::madvise(self.start, self.len, advice) };
        succeeded(result, "madvise").with_context(|| format!("advice {advice}"))
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

/// Survives the signal that comes when poisoned memory was this process's.
pub(crate) fn survive_poison() -> Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGBUS, &handler) }.context("cannot handle SIGBUS")?;
    Ok(())
}

/// Uses a file as swap.
pub(crate) fn swap_on(file: &Path) -> Result<()> {
    let file = CString::new(file.as_os_str().as_bytes())?;
    // SAFETY: `file` is a NUL-terminated name that is only read.
    let result = unsafe { libc::swapon(file.as_ptr(), 0) };
    succeeded(result, "swapon")
}

/// Reads of this file bring in one page each.
pub(crate) fn no_readahead(file: &File) -> Result<()> {
    // SAFETY: a system call without pointers, on an open file.
    let error = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
    ensure!(error == 0, "posix_fadvise failed: error {error}");
    Ok(())
}

fn succeeded(result: libc::c_int, call: &str) -> Result<()> {
    ensure!(result == 0, "{call} failed: {}", io::Error::last_os_error());
    Ok(())
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
    /// The call's number, which the `libc` crate lacks for arm64.
    const KEXEC_FILE_LOAD: libc::c_long = if cfg!(target_arch = "x86_64") {
        320
    } else {
        294
    };
    /// `KEXEC_FILE_ON_CRASH` of `linux/kexec.h`.
    const ON_CRASH: libc::c_ulong = 2;
    let words = CString::new(command_line)?;
    let len = words.as_bytes_with_nul().len();
    // SAFETY: both descriptors are open, `words` is NUL-terminated with `len` bytes, and the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            KEXEC_FILE_LOAD,
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
