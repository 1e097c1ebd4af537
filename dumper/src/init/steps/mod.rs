//! The steps, each run in its own process. What one step learns for another lies in `/run/baredump/*.json`.

mod access;
mod alive;
mod beat;
mod capture;
mod config;
mod finish;
mod modules;
mod mount;
mod names;
mod network;
mod report;
mod seal;
mod tail;
mod watch;

use super::fault::Fault;
use super::log::{self, say};
use super::protocol::LINE_MAX;
use crate::config::{Config, SEALED};
use crate::report::{Status, without_middle};
use crate::sys::process::report_pipe;
use crate::target::TargetSpec;
use beat::Beat;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the steps hand each other facts.
const RUN: &str = "/run/baredump";

/// How a step ends when it does not fail.
enum End {
    Done,
    /// With a reason.
    Partial(String),
}

/// Its error is the sentence for the console and the report.
type StepFn = fn(&Context) -> Result<End, String>;

const STEPS: &[(&str, StepFn)] = &[
    ("config", config::run),
    ("modules", modules::run),
    ("network", network::run),
    ("mount", mount::run),
    ("capture", capture::run),
    ("report", report::run),
    ("tail", tail::run),
    ("finish", finish::run),
];

/// Target number `number`, from 1.
fn spec(targets: &[TargetSpec], number: u8) -> Result<&TargetSpec, String> {
    let index = usize::from(number).checked_sub(1);
    index
        .and_then(|i| targets.get(i))
        .ok_or_else(|| format!("there is no target {number}"))
}

/// What a step knows of itself, and its way to PID 1.
#[derive(Default)]
struct Context {
    /// Number of the target, from 1; 0 when there is none.
    target: u8,
    careful: bool,
    /// The log alone.
    log_only: bool,
    fault: Option<Fault>,
    /// One that strikes while a capture reads the log.
    fault_in_log: Option<Fault>,
    pipe: RefCell<Option<File>>,
}

/// Runs the step that `args` names.
pub(super) fn run(args: &[OsString]) -> ExitCode {
    log::start();
    std::panic::set_hook(Box::new(|panic| {
        say!("{panic}");
        let text = panic.to_string().replace('\n', " ");
        let _ = File::options()
            .append(true)
            .open("/proc/self/fd/3")
            .and_then(|mut f| f.write_all(line("note panic:", &text).as_bytes()));
    }));
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let word = |n: usize| args.get(n).and_then(|a| a.to_str()).unwrap_or_default();
    let (name, attempt) = (word(0), word(2).parse().unwrap_or(0));
    let Some((_, step)) = STEPS.iter().find(|(known, _)| *known == name) else {
        return ExitCode::from(2);
    };
    let context = Context {
        target: word(1).parse().unwrap_or(0),
        careful: word(3) == "careful",
        log_only: word(3) == "log",
        fault: Fault::of(&cmdline(), name, attempt),
        fault_in_log: Fault::of(&cmdline(), "capture-log", attempt),
        pipe: RefCell::new(report_pipe()),
    };
    // The capture step has its own moment for it.
    if let Some(fault) = context.fault.filter(|_| name != "capture") {
        fault.strike();
    }
    match step(&context) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Partial(why)) => {
            context.note(&why);
            ExitCode::from(3)
        }
        Err(why) => {
            context.note(&why);
            ExitCode::from(1)
        }
    }
}

impl Context {
    fn note(&self, text: &str) {
        self.send(&line("note", text));
    }

    fn plan(&self, key: &str, value: &str) {
        self.send(&line(&format!("plan {key}"), value));
    }

    fn progress(&self, done: u64, total: u64) {
        self.send(&format!("progress {done} {total}\n"));
    }

    fn result(&self, status: Status, pages: u64, bytes: u64, dir: &str) {
        self.send(&line(
            &format!("result {} {pages} {bytes}", status.name()),
            dir,
        ));
    }

    /// Lets a fault on purpose happen that is due after `percent` of the pages.
    fn strike(&self, percent: u64) {
        if let Some(fault) = self
            .fault
            .filter(|f| u64::from(f.percent.unwrap_or(0)) <= percent)
        {
            fault.strike();
        }
    }

    /// For waits in which nothing can be said of progress.
    fn beat(&self) -> Beat {
        let pipe = self.pipe.borrow();
        Beat::over(pipe.as_ref().and_then(|pipe| pipe.try_clone().ok()))
    }

    fn strike_in_log(&self) {
        if let Some(fault) = self.fault_in_log {
            fault.strike();
        }
    }

    fn send(&self, line: &str) {
        if let Some(pipe) = self.pipe.borrow_mut().as_mut() {
            let _ = pipe.write_all(line.as_bytes());
        }
    }
}

/// A line of the protocol, cut to its longest.
fn line(head: &str, text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    let room = LINE_MAX.saturating_sub(head.len() + 1);
    format!("{head} {}\n", without_middle(&text, room))
}

fn cmdline() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// The configuration and what was wrong with it.
#[derive(Serialize, serde::Deserialize)]
struct Plan {
    config: Config,
    warnings: Vec<String>,
}

fn load_plan() -> Result<Plan, String> {
    let mut plan = match load("config") {
        Err(why) if !fact("config").exists() => words_only(&why, &cmdline()),
        plan => plan?,
    };
    plan.config.seal_to(fs::read_to_string(SEALED));
    Ok(plan)
}

/// The plan when the config step left none.
fn words_only(why: &str, cmdline: &str) -> Plan {
    let (config, mut warnings) = Config::load(None, cmdline);
    warnings.push(format!(
        "the config step left no configuration, only the words of the command line stand: {why}"
    ));
    Plan { config, warnings }
}

fn fact(name: &str) -> PathBuf {
    Path::new(RUN).join(format!("{name}.json"))
}

fn store<T: Serialize>(name: &str, value: &T) -> Result<(), String> {
    let json =
        serde_json::to_vec(value).map_err(|e| format!("cannot write the facts `{name}`: {e}"))?;
    let (path, new) = (fact(name), fact(&format!("{name}-new")));
    let written = fs::create_dir_all(RUN)
        .and_then(|()| fs::write(&new, json))
        .and_then(|()| fs::rename(&new, &path));
    written.map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// What is no fact any more.
fn forget(name: &str) {
    let _ = fs::remove_file(fact(name));
}

fn load<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    let path = fact(name);
    let text = fs::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_config_step_the_words_stand() {
        let plan = words_only("gone", "baredump.targets=file:/dev/vda:/a baredump.level=1");
        assert_eq!(
            (plan.config.targets.len(), plan.config.level.bits()),
            (1, 1)
        );
        assert!(plan.warnings[0].contains("gone"), "{:?}", plan.warnings);
    }

    #[test]
    fn lines_fit_the_protocol() {
        assert_eq!(line("note", "a\nb"), "note a b\n");
        let long = line("note", &"ä".repeat(300));
        let advice = format!("{} export that directory", "x".repeat(400));
        let short = line("note", &advice);
        assert!(short.ends_with("x export that directory\n") && short.starts_with("note xxx"));
        assert!(short.len() <= LINE_MAX + 1, "{short}");
        assert!(
            long.len() <= LINE_MAX + 1 && long.len() >= LINE_MAX - 1,
            "{}",
            long.len()
        );
    }
}
