//! The block devices of the machine, each asked in a child of its own what it holds: a read of a dead device never returns, and keeps
//! only that child.

use super::container::Container;
use super::probe::{BlockDevice, Named, matching, names, node, read_device};
use super::spec::Device;
use crate::sys::process::fork_with;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, pipe2};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a device is waited for that was asked. A dead disk never answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Devices that are waited for at a time: each is a process.
const AT_ONCE: usize = 16;

/// All block devices by kernel name; devices once read are not read again, and one that does not answer is waited for once.
#[derive(Debug, Default)]
pub struct Scan {
    known: BTreeMap<String, BlockDevice>,
    asked: BTreeMap<String, Question>,
    /// Could not be opened, or have not answered.
    silent: BTreeSet<String>,
}

type ReadDevice<'a> = &'a dyn Fn(&Named, Option<Container>) -> Option<BlockDevice>;

impl Scan {
    /// Looks for new and gone devices. True when something changed. The others are not waited for when `wanted` is a node that is
    /// there.
    pub fn refresh(&mut self, wanted: Option<&Device>) -> bool {
        self.update(&names(), wanted, PATIENCE, &read_device)
    }

    fn update(
        &mut self,
        names: &[Named],
        wanted: Option<&Device>,
        patience: Duration,
        read: ReadDevice<'_>,
    ) -> bool {
        let is_there = |name: &String| names.iter().any(|named| named.name == *name);
        let before = (self.known.len(), self.silent.len());
        self.known.retain(|name, _| is_there(name));
        self.asked.retain(|name, _| is_there(name));
        self.silent.retain(is_there);
        let mut changed = before != (self.known.len(), self.silent.len());
        let is_new = |named: &&Named| {
            !self.known.contains_key(&named.name) && !self.asked.contains_key(&named.name)
        };
        // A device is in sysfs a moment before it can be opened: one that was not read is tried again.
        let mut left: Vec<_> = names.iter().filter(is_new).collect();
        loop {
            left.retain(|named| !self.ask(named, patience, read));
            let path = wanted.filter(|wanted| matches!(wanted, Device::Path(_)));
            let enough = path.is_some_and(|path| !matching(self.devices(), path).is_empty());
            let wait = self.fresh(patience).min().filter(|_| !enough);
            for (name, found) in self.answers(wait.unwrap_or_default()) {
                changed |= match found {
                    Some(found) => {
                        self.silent.remove(&name);
                        self.known.insert(name, found).is_none()
                    }
                    None => self.silent.insert(name),
                };
            }
            if wait.is_none() {
                break;
            }
        }
        let late = names.iter().filter(|n| !self.known.contains_key(&n.name));
        let late: Vec<_> = late.map(|named| named.name.clone()).collect();
        let silent = late
            .into_iter()
            .filter(|name| self.silent.insert(name.clone()));
        changed | (silent.count() > 0)
    }

    /// Asks a device. False when it has to wait: for its disk, or for others.
    fn ask(&mut self, named: &Named, patience: Duration, read: ReadDevice<'_>) -> bool {
        let disk = named.disk.as_ref().map(|disk| self.known.get(disk));
        if disk == Some(None) || self.fresh(patience).count() >= AT_ONCE {
            return false;
        }
        let whole = disk.flatten().and_then(|disk| disk.container);
        if let Some(question) = Question::ask(|| read(named, whole)) {
            self.asked.insert(named.name.clone(), question);
        }
        true
    }

    /// How long each of those is still waited for that were asked.
    fn fresh(&self, patience: Duration) -> impl Iterator<Item = Duration> {
        let left = move |question: &Question| patience.checked_sub(question.since.elapsed());
        self.asked.values().filter_map(left)
    }

    /// The answers that come in this time, when there are some.
    fn answers(&mut self, time: Duration) -> Vec<(String, Option<BlockDevice>)> {
        let (mut names, mut fds) = (Vec::new(), Vec::new());
        for (name, question) in &self.asked {
            names.push(name.clone());
            fds.push(PollFd::new(question.answer.as_fd(), PollFlags::POLLIN));
        }
        // Rounded up: what is left of a millisecond is not waited for in a loop.
        let time = PollTimeout::try_from(time + Duration::from_millis(1));
        let _ = poll(&mut fds, time.unwrap_or(PollTimeout::MAX));
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let ready: Vec<_> = fds.iter().map(is_ready).collect();
        drop(fds);
        names.retain({
            let mut ready = ready.into_iter();
            move |_| ready.next().unwrap_or(false)
        });
        let answer = |name: String| {
            let question = self.asked.remove(&name)?;
            Some((name, question.answer().flatten()))
        };
        names.into_iter().filter_map(answer).collect()
    }

    /// The devices that were read.
    pub fn devices(&self) -> impl Iterator<Item = &BlockDevice> {
        self.known.values()
    }

    /// The nodes of those that were not.
    pub fn silent(&self) -> impl Iterator<Item = PathBuf> {
        self.silent.iter().map(|name| node(name))
    }
}

/// A child and the pipe for its answer.
#[derive(Debug)]
struct Question {
    child: Option<Pid>,
    answer: File,
    since: Instant,
}

impl Question {
    fn ask<T: Serialize>(work: impl FnOnce() -> T) -> Option<Self> {
        let (answer, pipe) = pipe2(OFlag::O_CLOEXEC).ok()?;
        let child = fork_with(|| {
            let told = serde_json::to_vec(&work())
                .is_ok_and(|json| File::from(pipe).write_all(&json).is_ok());
            u8::from(!told)
        })
        .ok()?;
        Some(Self {
            child: Some(child),
            answer: answer.into(),
            since: Instant::now(),
        })
    }

    /// What it says; waits for that.
    fn answer<T: DeserializeOwned>(mut self) -> Option<T> {
        let mut json = Vec::new();
        let read = self.answer.read_to_end(&mut json);
        if let Some(child) = self.child.take() {
            let _ = waitpid(child, None);
        }
        read.ok()?;
        serde_json::from_slice(&json).ok()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(child) = self.child {
            let _ = kill(child, Signal::SIGKILL);
            let _ = waitpid(child, Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// What `work` says in a child of its own, `None` when it takes too long.
pub(super) fn in_child<T: Serialize + DeserializeOwned>(work: impl FnOnce() -> T) -> Option<T> {
    within(PATIENCE, work)
}

fn within<T: Serialize + DeserializeOwned>(
    patience: Duration,
    work: impl FnOnce() -> T,
) -> Option<T> {
    let question = Question::ask(work)?;
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(question.answer.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, patience) == Ok(0) {
        return None;
    }
    question.answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn named(name: &str, disk: Option<&str>) -> Named {
        Named {
            name: name.into(),
            disk: disk.map(str::to_owned),
        }
    }

    fn device(named: &Named) -> BlockDevice {
        BlockDevice {
            node: node(&named.name),
            ..BlockDevice::default()
        }
    }

    fn nodes(scan: &Scan) -> Vec<String> {
        let nodes = scan.devices().map(|d| d.node.display().to_string());
        nodes.collect()
    }

    #[test]
    fn a_device_that_could_not_be_opened_is_tried_again() {
        let names = [named("vda", None), named("vdb", None)];
        let mut scan = Scan::default();
        let mut look = |names: &[Named], good: &[&str]| {
            let read = |named: &Named, _| good.contains(&&*named.name).then(|| device(named));
            let changed = scan.update(names, None, SOON, &read);
            let silent: Vec<_> = scan.silent().collect();
            (changed, nodes(&scan).join(" "), silent)
        };
        let vdb = vec![PathBuf::from("/dev/vdb")];
        assert_eq!(
            look(&names, &["vda"]),
            (true, "/dev/vda".into(), vdb.clone())
        );
        assert_eq!(look(&names, &["vda"]), (false, "/dev/vda".into(), vdb));
        let both = "/dev/vda /dev/vdb".to_owned();
        assert_eq!(look(&names, &["vdb"]), (true, both.clone(), vec![]));
        assert_eq!(look(&names, &[]), (false, both, vec![]));
        assert_eq!(look(&names[1..], &[]), (true, "/dev/vdb".into(), vec![]));
    }

    #[test]
    fn dead_devices_are_waited_for_together_and_once() {
        let mut names: Vec<_> = (0..9).map(|n| named(&format!("dead{n}"), None)).collect();
        names.push(named("dead0p1", Some("dead0")));
        names.push(named("vda", None));
        names.push(named("vda1", Some("vda")));
        let read = |named: &Named, _| {
            if named.name.starts_with("dead") {
                std::thread::sleep(SOON);
            }
            Some(device(named))
        };
        let patience = Duration::from_secs(2);
        let (mut scan, start) = (Scan::default(), Instant::now());
        assert!(scan.update(&names, None, patience, &read));
        assert!(start.elapsed() < patience * 4, "{:?}", start.elapsed());
        assert_eq!(nodes(&scan), ["/dev/vda", "/dev/vda1"]);
        assert_eq!(scan.silent().count(), 10);
        let start = Instant::now();
        assert!(!scan.update(&names, None, patience, &read));
        assert!(start.elapsed() < patience, "{:?}", start.elapsed());
        // For a node that is there nobody is waited for.
        let (mut scan, wanted) = (Scan::default(), Device::Path("/dev/vda1".into()));
        while scan.update(&names, Some(&wanted), SOON, &read) {}
        assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
        assert!(nodes(&scan).contains(&"/dev/vda1".into()));
    }

    #[test]
    fn more_devices_than_are_asked_at_once() {
        let names: Vec<_> = (0..AT_ONCE * 3)
            .map(|n| match n {
                0 => named("d0", None),
                n => named(&format!("d0p{n}"), Some("d0")),
            })
            .rev()
            .collect();
        let mut scan = Scan::default();
        let read = |named: &Named, whole: Option<Container>| {
            Some(BlockDevice {
                container: whole.or(Some(Container::Md)),
                ..device(named)
            })
        };
        assert!(scan.update(&names, None, SOON, &read));
        assert_eq!(scan.devices().count(), names.len());
        assert!(scan.devices().all(|d| d.container == Some(Container::Md)));
        assert!(!scan.update(&names, None, SOON, &read));
    }

    #[test]
    fn a_partition_is_not_asked_before_its_disk_has_answered() {
        let names = [named("vda1", Some("vda")), named("vda", None)];
        let mut scan = Scan::default();
        let read = |named: &Named, _| (named.name == "vda1").then(|| device(named));
        assert!(scan.update(&names, None, SOON, &read));
        assert_eq!(nodes(&scan), [""; 0]);
        let read = |named: &Named, _| Some(device(named));
        assert!(scan.update(&names, None, SOON, &read));
        assert_eq!(nodes(&scan).len(), 2);
    }

    #[test]
    fn a_device_that_never_answers_is_left_behind() {
        assert_eq!(in_child(|| 7), Some(7));
        let start = Instant::now();
        let dead = || std::thread::sleep(SOON);
        assert_eq!(within(Duration::from_millis(50), dead), None);
        assert!(start.elapsed() < SOON / 2);
        let dies = || std::process::abort();
        assert_eq!(within::<()>(SOON, dies), None);
    }
}
