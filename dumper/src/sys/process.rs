//! Processes: starting steps, deadly faults on purpose, the console's output queue.

use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What a child of [`spawn_self`] gets.
#[derive(Debug)]
pub struct Child<'a> {
    /// `argv`, at most [`MAX_ARGS`].
    pub args: &'a [&'a CStr],
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
    /// Standard output and error; `None` leaves them as they are.
    pub console: Option<BorrowedFd<'a>>,
    /// File descriptor 3.
    pub report: BorrowedFd<'a>,
    /// Written to the child's `/proc/self/oom_score_adj`.
    pub oom_score_adj: &'a CStr,
}

/// Arguments that [`spawn_self`] passes on.
pub const MAX_ARGS: usize = 7;

/// Starts this binary again. Allocates nothing. The child has no signal blocked, an empty environment and file descriptors 0 to 3.
///
/// # Errors
/// When fork(2) fails.
pub fn spawn_self(child: &Child<'_>) -> Result<Pid, Errno> {
    let mut argv: [*const c_char; MAX_ARGS + 1] = [std::ptr::null(); MAX_ARGS + 1];
    for (slot, arg) in argv.iter_mut().zip(child.args.iter().take(MAX_ARGS)) {
        *slot = arg.as_ptr();
    }
    // SAFETY: the child only makes system calls on memory that was prepared before the fork, then execs or exits.
    match Errno::result(unsafe { libc::fork() })? {
        0 => exec_child(child, &argv),
        pid => Ok(Pid::from_raw(pid)),
    }
}

fn exec_child(child: &Child<'_>, argv: &[*const c_char; MAX_ARGS + 1]) -> ! {
    let envp: [*const c_char; 1] = [std::ptr::null()];
    let (stdin, report) = (child.stdin.as_raw_fd(), child.report.as_raw_fd());
    // SAFETY: async-signal-safe calls only; every pointer is to a NUL-terminated string or array that outlives the call. The
    // descriptors are first moved above 3 so that none overwrites another.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        let adj = libc::open(
            c"/proc/self/oom_score_adj".as_ptr(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        );
        if adj >= 0 {
            libc::write(
                adj,
                child.oom_score_adj.as_ptr().cast(),
                child.oom_score_adj.count_bytes(),
            );
            libc::close(adj);
        }
        let high = |fd: c_int| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 16);
        let (stdin, report) = (high(stdin), high(report));
        let console = child.console.map(|fd| high(fd.as_raw_fd()));
        libc::dup2(stdin, 0);
        if let Some(console) = console {
            libc::dup2(console, 1);
            libc::dup2(console, 2);
        }
        libc::dup2(report, 3);
        libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), envp.as_ptr());
        libc::execve(c"/init".as_ptr(), argv.as_ptr(), envp.as_ptr());
        libc::_exit(127)
    }
}

/// Runs `work` in a forked child that exits with its value. For programs with one thread.
///
/// # Errors
/// When fork(2) fails.
pub fn fork_with(work: impl FnOnce() -> u8) -> Result<Pid, Errno> {
    // SAFETY: the callers are steps without threads, so the child's heap and locks are in order.
    match Errno::result(unsafe { libc::fork() })? {
        0 => {
            let code = c_int::from(work());
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By the signal of this number, which may be a real-time one.
    Signal(i32),
}

/// Reaps one child that has ended, of all or only this one. As waitpid(2), but no status is lost for want of a name.
pub fn reap(only: Option<Pid>) -> Option<(Pid, Exit)> {
    let mut status: c_int = 0;
    let which = only.map_or(-1, Pid::as_raw);
    // SAFETY: waitpid writes one int.
    let pid = unsafe { libc::waitpid(which, &raw mut status, libc::WNOHANG) };
    let exit = if libc::WIFEXITED(status) {
        Exit::Code(libc::WEXITSTATUS(status))
    } else {
        Exit::Signal(libc::WTERMSIG(status))
    };
    (pid > 0).then(|| (Pid::from_raw(pid), exit))
}

/// Bytes that wait in a terminal's output queue; `None` when `fd` is none.
pub fn output_queue(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut queued: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    (done == 0).then_some(queued)
}

/// File descriptor 3 of a step, its pipe to PID 1, if it is open. To be called once.
pub fn report_pipe() -> Option<std::fs::File> {
    use std::os::fd::FromRawFd;
    // SAFETY: fcntl on any number is harmless; the descriptor is taken over only when it is open, by contract for this use.
    unsafe {
        if libc::fcntl(3, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return None;
        }
        Some(std::fs::File::from_raw_fd(3))
    }
}

/// Ends this process by SIGPIPE, as a program ends whose output nobody reads. It returns when the signal is blocked.
pub fn die_of_sigpipe() {
    use nix::sys::signal::{SigHandler, Signal, raise, signal};
    // SAFETY: the default action is no handler of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    let _ = raise(Signal::SIGPIPE);
}

/// Reads a page that may not be read: SIGSEGV, for the tests of the supervisor.
pub fn segfault() {
    // SAFETY: a new mapping without access rights touches no other memory; reading it ends the process.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        if page != libc::MAP_FAILED {
            std::ptr::read_volatile(page.cast::<u8>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn a_child_gives_its_value_and_a_fault_kills() {
        let pid = fork_with(|| 7).unwrap();
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 7)));
        let pid = fork_with(|| {
            segfault();
            0
        })
        .unwrap();
        assert!(matches!(
            waitpid(pid, None),
            Ok(WaitStatus::Signaled(_, Signal::SIGSEGV, _))
        ));
    }

    #[test]
    fn the_end_by_a_real_time_signal_is_not_lost() {
        let pid = fork_with(|| {
            // SAFETY: a signal to this process itself.
            unsafe { libc::kill(libc::getpid(), 40) };
            0
        })
        .unwrap();
        let reaped = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            reap(Some(pid))
        });
        assert_eq!(reaped, Some((pid, Exit::Signal(40))));
    }
}
