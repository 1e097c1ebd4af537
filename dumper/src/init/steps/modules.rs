//! Loads the modules of `/etc/baredump/modules` in the order of that file: one line each, `PATH [PARAM=VALUE…]`. Parameters on the
//! kernel command line come after those, as with modprobe.
//!
//! Each module is loaded in a child of its own: one that hangs in its init function keeps only that child.

use super::{Context, End, cmdline, load_plan, store};
use crate::config::words;
use crate::init::log::say;
use crate::init::watchdog;
use crate::sys::process::fork_with;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::pipe2;
use std::ffi::CString;
use std::fmt;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::time::Duration;

const PLAN: &str = "/etc/baredump/modules";

/// `MODULE_INIT_COMPRESSED_FILE` (Linux 5.17): the kernel decompresses.
const COMPRESSED_FILE: ModuleInitFlags = ModuleInitFlags::from_bits_retain(4);

/// A module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    path: String,
    params: String,
}

impl Module {
    /// The module with its parameters of the kernel command line.
    fn with(mut self, cmdline: &str) -> Self {
        let file = self.path.rsplit('/').next().unwrap_or_default();
        let name = file.split('.').next().unwrap_or_default();
        for parameter in words::module_parameters(cmdline, name) {
            let space = if self.params.is_empty() { "" } else { " " };
            self.params.push_str(space);
            self.params.push_str(&parameter);
        }
        self
    }
}

/// The modules of the image, none when it has no plan.
pub(super) fn planned() -> Vec<Module> {
    parse(&fs::read_to_string(PLAN).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Module> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (path, params) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            Module {
                path: path.into(),
                params: params.trim().into(),
            }
        })
        .collect()
}

pub(super) fn run(context: &Context) -> Result<End, String> {
    let timeout = load_plan().map_or(Duration::from_secs(30), |plan| plan.config.module_timeout);
    let (mut warnings, cmdline) = (Vec::new(), cmdline());
    let modules = planned().into_iter().map(|module| module.with(&cmdline));
    let mut warn = |module: &Module, why: &Failure| {
        let warning = format!("module {}: {why}", module.path);
        say!("warning: {warning}");
        context.note(&warning);
        warnings.push(warning);
        store("modules", &warnings)
    };
    load_all(
        modules.collect(),
        &mut |module| watched(|| load_in_child(module, timeout)),
        &mut warn,
    )?;
    Ok(End::Done)
}

/// Loads modules. Those that the kernel did not take are tried again after the others as long as that helps: the order may be wrong.
/// Each is warned of once.
fn load_all(
    mut modules: Vec<Module>,
    load: &mut dyn FnMut(&Module) -> Result<(), Failure>,
    warn: &mut dyn FnMut(&Module, &Failure) -> Result<(), String>,
) -> Result<(), String> {
    loop {
        let (count, mut again) = (modules.len(), Vec::new());
        for module in modules {
            match load(&module) {
                Ok(()) => {}
                Err(why @ Failure::Refused(_)) => again.push((module, why)),
                Err(why) => warn(&module, &why)?,
            }
        }
        if again.len() == count || again.is_empty() {
            return again.iter().try_for_each(|(module, why)| warn(module, why));
        }
        modules = again.into_iter().map(|(module, _)| module).collect();
    }
}

/// Why a module is not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// The kernel did not take it.
    Refused(Errno),
    /// Its loading hung or died, which it may do again.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => f.write_str(&explain(*errno)),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// Waits where a watchdog came until PID 1 has opened it: the next module may never let go of the processor.
fn watched<T>(load: impl FnOnce() -> T) -> T {
    let before = watchdog::count();
    let done = load();
    if watchdog::count() > before {
        std::thread::sleep(watchdog::NOTICED);
    }
    done
}

fn load_in_child(module: &Module, timeout: Duration) -> Result<(), Failure> {
    let failed = |why: &str| Failure::Other(why.to_owned());
    let (ended, alive) = pipe2(OFlag::O_CLOEXEC).map_err(|e| failed(e.desc()))?;
    let pid = fork_with(|| errno_code(load(module)))
        .map_err(|e| failed(&format!("cannot fork: {}", e.desc())))?;
    drop(alive);
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    // The pipe has no writer but the child: it hangs up when the child is gone.
    if poll(
        &mut [PollFd::new(ended.as_fd(), PollFlags::POLLIN)],
        timeout,
    ) == Ok(0)
    {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        return Err(failed(&format!(
            "hung while loading, given up after {} s",
            timeout.as_millis().unwrap_or(0) / 1000
        )));
    }
    Err(match waitpid(pid, None) {
        Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
        Ok(WaitStatus::Exited(_, code)) => Failure::Refused(Errno::from_raw(code)),
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            failed(&format!("loading was killed by {signal}"))
        }
        other => failed(&format!("loading ended in an unknown way: {other:?}")),
    })
}

fn load(module: &Module) -> Result<(), Errno> {
    let file = File::open(&module.path)
        .map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let params = CString::new(module.params.as_str()).map_err(|_| Errno::EINVAL)?;
    let compressed = [".xz", ".zst", ".gz"]
        .iter()
        .any(|end| module.path.ends_with(end));
    let flags = if compressed {
        COMPRESSED_FILE
    } else {
        ModuleInitFlags::empty()
    };
    match finit_module(&file, &params, flags) {
        Err(Errno::EEXIST) => Ok(()),
        done => done,
    }
}

/// An errno as an exit code; every Linux errno fits.
fn errno_code(result: Result<(), Errno>) -> u8 {
    result.map_or_else(|e| u8::try_from(e as i32).unwrap_or(u8::MAX), |()| 0)
}

fn explain(errno: Errno) -> String {
    let hint = match errno {
        Errno::ENOENT => {
            "; it is missing in the image, or needs a symbol of a module that comes later or not at all"
        }
        Errno::ENOEXEC => "; it was built for another kernel",
        Errno::ENODEV => "; it found no device to drive",
        _ => "",
    };
    format!("{} ({errno:?}){hint}", errno.desc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_the_image() {
        let plan = parse("# order matters\n/lib/a.ko\n\n /lib/b.ko.xz  x=1 y=2 \n");
        let module = |path: &str, params: &str| Module {
            path: path.into(),
            params: params.into(),
        };
        assert_eq!(
            plan,
            [module("/lib/a.ko", ""), module("/lib/b.ko.xz", "x=1 y=2")]
        );
    }

    #[test]
    fn parameters_of_the_command_line_come_last() {
        let params = |line: &str| {
            parse(line)[0]
                .clone()
                .with("quiet nvme.a=1 x.b=2 nvme.c")
                .params
        };
        assert_eq!(params("/lib/modules/nvme.ko b=3\n"), "b=3 a=1 c");
        assert_eq!(params("/lib/modules/nvme.ko.xz\n"), "a=1 c");
        assert_eq!(params("/lib/modules/sd_mod.ko\n"), "");
    }

    #[test]
    fn modules_in_the_wrong_order_are_loaded() {
        let modules = parse("/c.ko\n/b.ko\n/hangs.ko\n/a.ko\n/missing.ko\n");
        let (mut loaded, mut tried, mut warned) = (Vec::new(), 0, Vec::new());
        // Each needs the one before it in the alphabet.
        let mut load = |module: &Module| {
            tried += 1;
            let path = module.path.clone();
            let needs = match path.as_str() {
                "/c.ko" => "/b.ko",
                "/b.ko" => "/a.ko",
                "/hangs.ko" => return Err(Failure::Other("hung".into())),
                "/missing.ko" => "/none.ko",
                _ => "",
            };
            if !needs.is_empty() && !loaded.contains(&needs.to_owned()) {
                return Err(Failure::Refused(Errno::ENOENT));
            }
            loaded.push(path);
            Ok(())
        };
        let mut warn = |module: &Module, why: &Failure| {
            warned.push((module.path.clone(), why.to_string()));
            Ok(())
        };
        load_all(modules, &mut load, &mut warn).unwrap();
        assert_eq!(loaded, ["/a.ko", "/b.ko", "/c.ko"]);
        assert_eq!(warned[0], ("/hangs.ko".into(), "hung".into()));
        assert!(warned.len() == 2 && warned[1].1.contains("ENOENT"));
        // 5, then c b missing, c missing, missing.
        assert_eq!(tried, 11);
    }

    #[test]
    fn a_missing_module_is_named_by_its_errno() {
        let module = Module {
            path: "/nonexistent.ko".into(),
            params: String::new(),
        };
        assert_eq!(errno_code(load(&module)), 2);
        let why = load_in_child(&module, Duration::from_secs(5)).unwrap_err();
        assert_eq!(why, Failure::Refused(Errno::ENOENT));
        let why = why.to_string();
        assert!(why.contains("ENOENT") && why.contains("missing"), "{why}");
    }
}
