//! The capture kernel's command line: what is taken over from production, what is left out, what is added, and why.
//!
//! Source: Documentation/admin-guide/kernel-parameters.txt and kdump.rst, Linux 5.10 to 7.2.

use std::time::Duration;

use thiserror::Error;

mod tables;

use tables::{ADDED, DROPPED, DROPPED_PREFIXES};

/// `COMMAND_LINE_SIZE` of x86, its NUL left out, for kernels that don't say it in their header.
pub const X86_LIMIT: usize = 2047;
/// The kernel puts `elfcorehdr=0x… ` in front of what it is given (`MAX_ELFCOREHDR_STR_LEN`, arch/x86/kernel/kexec-bzimage64.c)
/// and counts the NUL.
const KERNEL_PREFIX: usize = 30 + 1;

/// Memory that x86 page tables of four levels reach (`MAX_PHYSMEM_BITS` is 46 with them).
const FOUR_LEVELS: u64 = 1 << 46;

/// The default of the configuration, and how long after it the final action must have come.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
const AFTER_DEADLINE: Duration = Duration::from_secs(60);

/// A word that was left out or added, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The word.
    pub word: String,
    /// Why.
    pub reason: &'static str,
}

/// What the command line is made of.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// `/proc/cmdline` of production.
    pub production: &'a str,
    /// Of the running kernel; hex digits and dashes.
    pub boot_id: Option<&'a str>,
    /// Of the machine; hex digits.
    pub machine_id: Option<&'a str>,
    /// Where the machine's memory ends, when that is known.
    pub memory_end: Option<u64>,
    /// The whole capture's; none for the default.
    pub deadline: Option<Duration>,
    /// Keys or whole words that must not be there, ours included.
    pub remove: &'a [String],
    /// Words for the end.
    pub append: &'a [String],
}

/// The result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The line without NUL.
    pub text: String,
    /// Words of production that are not in it.
    pub dropped: Vec<Change>,
    /// Words that production doesn't have.
    pub added: Vec<Change>,
}

/// The line doesn't fit.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the capture kernel's command line has {length} characters, this kernel takes {limit}: leave words out with --remove"
)]
pub struct TooLong {
    length: usize,
    limit: usize,
}

/// A word whose quotation mark has no end.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the word `{0}` for the capture kernel's command line has a quotation mark without an end, which would swallow the words after it: put the second one"
)]
pub struct Unbalanced(String);

/// Are the quotation marks of each word in pairs?
///
/// # Errors
/// They are not.
pub fn check_quotes(words: &[String]) -> Result<(), Unbalanced> {
    match words.iter().find(|word| has_open_quote(word)) {
        Some(word) => Err(Unbalanced(word.clone())),
        None => Ok(()),
    }
}

impl CommandLine {
    /// Builds the line: production's words, then ours, then the user's; of two equal keys the kernel mostly takes the last.
    #[must_use]
    pub fn build(request: &Request<'_>) -> Self {
        let mut line = Self::default();
        for word in split(request.production) {
            // What follows is for production's init.
            if word == "--" {
                break;
            }
            match drop_reason(word, request.remove) {
                Some(reason) => line.dropped.push(Change {
                    word: word.to_owned(),
                    reason,
                }),
                None => line.push(word),
            }
        }
        for (word, reason) in ADDED {
            line.add(word, reason, request.remove);
        }
        if request.memory_end.is_some_and(|end| end <= FOUR_LEVELS) {
            line.add(
                "no5lvl",
                "frees 1 MB of tables for memory beyond 64 TiB, which isn't there",
                request.remove,
            );
        }
        let deadline = request.deadline.unwrap_or(DEADLINE) + AFTER_DEADLINE;
        line.add(
            &format!("watchdog.open_timeout={}", deadline.as_secs()),
            "a watchdog that runs and that nobody could open resets the machine then (Linux 5.3 and later)",
            request.remove,
        );
        line.add(
            "baredump.init=1",
            "be PID 1 even when /proc/vmcore is missing, and report that",
            request.remove,
        );
        if let Some(id) = request.boot_id.and_then(clean_id) {
            line.add(
                &format!("baredump.boot_id={id}"),
                "names the dump",
                request.remove,
            );
        }
        if let Some(id) = request.machine_id.and_then(clean_id) {
            line.add(
                &format!("baredump.machine_id={id}"),
                "names the machine in the report",
                request.remove,
            );
        }
        for word in request.append {
            line.push(word.trim());
        }
        line
    }

    /// Does it fit into what the kernel takes (`cmdline_size` of its header, 0 when unknown)?
    ///
    /// # Errors
    /// It doesn't.
    pub fn check(&self, cmdline_size: u32) -> Result<(), TooLong> {
        let size = usize::try_from(cmdline_size).unwrap_or(X86_LIMIT);
        let limit = if size == 0 {
            X86_LIMIT
        } else {
            size.min(X86_LIMIT)
        }
        .saturating_sub(KERNEL_PREFIX);
        let length = self.text.len();
        if length > limit {
            Err(TooLong { length, limit })
        } else {
            Ok(())
        }
    }

    fn add(&mut self, word: &str, reason: &'static str, remove: &[String]) {
        if is_removed(word, remove) {
            return;
        }
        self.push(word);
        self.added.push(Change {
            word: word.to_owned(),
            reason,
        });
    }

    fn push(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }
}

/// Words as the kernel splits them: white space inside double quotes doesn't separate.
fn split(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.trim_end_matches('\0')
        .split(move |c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        })
        .filter(|word| !word.is_empty())
}

/// `-` and `_` mean the same in a key.
fn key(word: &str) -> String {
    let key = word.split_once('=').map_or(word, |(key, _)| key);
    key.trim_matches('"').replace('-', "_")
}

fn has_open_quote(word: &str) -> bool {
    word.bytes().filter(|byte| *byte == b'"').count() % 2 == 1
}

fn drop_reason(word: &str, remove: &[String]) -> Option<&'static str> {
    if is_removed(word, remove) {
        return Some("removed on the command line");
    }
    if has_open_quote(word) {
        return Some("its quotation mark has no end and would swallow the words after it");
    }
    let key = key(word);
    let listed = DROPPED
        .iter()
        .find(|(keys, _)| keys.contains(&key.as_str()));
    let prefixed = || {
        DROPPED_PREFIXES
            .iter()
            .find(|(prefix, _)| key.starts_with(prefix))
    };
    if let Some((_, reason)) = listed {
        return Some(reason);
    }
    if let Some((_, reason)) = prefixed() {
        return Some(reason);
    }
    // Lists add up; of all others the last counts, and that must be ours.
    let replaced =
        |(ours, _): &&(&str, &str)| self::key(ours) == key && key != "initcall_blacklist";
    ADDED
        .iter()
        .find(replaced)
        .map(|_| "replaced by our own value")
}

fn is_removed(word: &str, remove: &[String]) -> bool {
    remove
        .iter()
        .any(|item| item == word || key(item) == key(word) && !item.contains('='))
}

/// An id is only hex digits and dashes, whatever a file holds.
fn clean_id(text: &str) -> Option<&str> {
    let text = text.trim();
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let clean = text
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (digits == 32 && clean).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCTION: &str = "BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=1-2 ro crashkernel=128M console=tty0 console=ttyS0,115200n8 \
        quiet foo=\"a b\" systemd.unit=x nr_cpus=64 hugepages=1000 initcall_blacklist=other nvme-core.io_timeout=5 -- single\n";

    fn build(remove: &[&str], append: &[&str]) -> CommandLine {
        let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        CommandLine::build(&Request {
            production: PRODUCTION,
            boot_id: Some("01234567-89ab-cdef-0123-456789abcdef\n"),
            machine_id: Some("0123456789abcdef0123456789abcdef\n"),
            memory_end: None,
            deadline: None,
            remove: &strings(remove),
            append: &strings(append),
        })
    }

    #[test]
    fn production_words_are_kept_or_dropped() {
        let line = build(&[], &["last=1"]);
        let kept = "console=tty0 console=ttyS0,115200n8 foo=\"a b\" initcall_blacklist=other nvme-core.io_timeout=5 rdinit=/init ";
        assert!(line.text.starts_with(kept), "{}", line.text);
        let ids = "baredump.init=1 baredump.boot_id=01234567-89ab-cdef-0123-456789abcdef \
            baredump.machine_id=0123456789abcdef0123456789abcdef last=1";
        assert!(line.text.ends_with(ids), "{}", line.text);
        let dropped: Vec<_> = line
            .dropped
            .iter()
            .map(|change| change.word.as_str())
            .collect();
        let expected = [
            "BOOT_IMAGE=/boot/vmlinuz-6.1",
            "root=UUID=1-2",
            "ro",
            "crashkernel=128M",
            "quiet",
            "systemd.unit=x",
            "nr_cpus=64",
            "hugepages=1000",
        ];
        assert_eq!(dropped, expected);
    }

    #[test]
    fn what_would_end_the_capture_before_it_begins_is_dropped() {
        for word in [
            "sysctl.vm.nr_hugepages=4096",
            "sysctl.vm.panic_on_oom=1",
            "dm-mod.waitfor=/dev/sdb",
            "initrdmem=0x1000000,8M",
            "thash_entries=16777216",
            "reserve_mem=64M:4096:oops",
            "kho=on",
            "memtest=17",
            "\"foo=bar",
            "foo=\"bar baz",
        ] {
            let line = CommandLine::build(&Request {
                production: &format!("a=1 {word}"),
                ..Request::default()
            });
            assert!(line.text.starts_with("a=1 rdinit=/init "), "{}", line.text);
            assert_eq!(line.dropped.len(), 1, "{word}");
        }
    }

    #[test]
    fn four_levels_where_they_reach_all_memory() {
        let words = |memory_end| {
            let request = Request {
                memory_end,
                ..Request::default()
            };
            CommandLine::build(&request).text
        };
        assert!(words(Some(FOUR_LEVELS)).contains(" no5lvl "));
        for end in [None, Some(FOUR_LEVELS + 1)] {
            assert!(!words(end).contains("no5lvl"), "{end:?}");
        }
    }

    #[test]
    fn a_capture_kernel_dies_into_a_reboot_and_has_one_cpu() {
        let text = build(&[], &[]).text;
        for word in [
            "panic=1",
            "softlockup_panic=1",
            "nmi_watchdog=panic",
            "quiet",
            "watchdog.open_timeout=1860",
            "nr_cpus=1",
            "reset_devices",
            "rdinit=/init",
        ] {
            assert_eq!(
                text.split(' ').filter(|other| *other == word).count(),
                1,
                "{word}"
            );
        }
    }

    /// Words of production that would keep a capture kernel from finding out that it is stuck, or let its console stop it.
    #[test]
    fn what_would_let_a_stuck_capture_stay_is_dropped() {
        for word in [
            "nowatchdog",
            "nosoftlockup",
            "watchdog_thresh=0",
            "softlockup_panic=0",
            "nmi_watchdog=0",
            "panic=0",
            "ignore_loglevel",
            "debug",
            "loglevel=7",
            "watchdog.open_timeout=5",
            "watchdog.handle-boot-enabled=0",
        ] {
            let line = CommandLine::build(&Request {
                production: &format!("a=1 {word}"),
                deadline: Some(Duration::from_secs(90)),
                ..Request::default()
            });
            assert!(line.text.starts_with("a=1 rdinit=/init "), "{}", line.text);
            assert!(line.text.contains(" watchdog.open_timeout=150 "));
        }
        let line = build(&["panic"], &["panic=30", "loglevel=7"]).text;
        assert!(!line.contains(" panic=1 "), "{line}");
        assert!(line.ends_with("panic=30 loglevel=7"), "{line}");
    }

    #[test]
    fn remove_by_key_and_by_word() {
        let text = build(
            &["irqpoll", "console=tty0", "panic", "nvme_core.io-timeout"],
            &[],
        )
        .text;
        assert!(text.starts_with("console=ttyS0"), "{text}");
        for word in ["irqpoll", " panic=", "io_timeout", "console=tty0"] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn ids_that_are_none_are_left_out() {
        let line = CommandLine::build(&Request {
            boot_id: Some("x rdinit=/bin/sh"),
            ..Request::default()
        });
        assert!(!line.text.contains("boot_id"));
        assert_eq!(clean_id("0123"), None);
    }

    #[test]
    fn a_quotation_mark_needs_its_end() {
        let check = |word: &str| check_quotes(&["a=1".to_owned(), word.to_owned()]);
        assert_eq!(check("foo=\"a b\""), Ok(()));
        let error = check("foo=\"a b").unwrap_err().to_string();
        assert!(error.contains("`foo=\"a b` for"), "{error}");
    }

    #[test]
    fn limit() {
        let long = "x".repeat(2047);
        let line = |length: usize| CommandLine {
            text: long[..length].to_owned(),
            ..CommandLine::default()
        };
        assert_eq!(line(2016).check(2047), Ok(()));
        assert_eq!(
            line(2017).check(2047),
            Err(TooLong {
                length: 2017,
                limit: 2016
            })
        );
        assert_eq!(
            line(2017).check(0),
            Err(TooLong {
                length: 2017,
                limit: 2016
            })
        );
        assert!(line(240).check(255).is_err());
    }

    #[test]
    fn every_added_word_has_one_line() {
        for (index, (word, reason)) in ADDED.iter().enumerate() {
            assert!(!reason.is_empty() && !word.contains(' '));
            assert!(
                !ADDED[index + 1..]
                    .iter()
                    .any(|(other, _)| key(other) == key(word)),
                "{word}"
            );
        }
    }
}
