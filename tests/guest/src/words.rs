//! The `guest.*` words of the kernel command line.

/// What the command line asks of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// `guest.workload=`: make the sentinel pages.
    pub(crate) workload: bool,
    /// `guest.kinds=`: make the rarer kinds of pages too.
    pub(crate) kinds: bool,
    /// `guest.balloon=`: MiB that the host takes.
    pub(crate) balloon: u32,
    /// `guest.slow=`: a block device that answers after a second at the earliest.
    pub(crate) slow: Option<String>,
    /// `guest.sentinels=`: pages of each class.
    pub(crate) sentinels: u32,
    /// `guest.disk=`: ext4 device mounted at `/mnt`, `none` for no disk.
    pub(crate) disk: Option<String>,
    /// `guest.watchdog=`: a watchdog that is started and never fed.
    pub(crate) watchdog: Option<String>,
    /// `guest.host=`: the host name, which names the dump directory.
    pub(crate) host: String,
    /// `guest.arm=`: who loads the capture kernel.
    pub(crate) arm: Arm,
    /// `guest.arm_args=`: further arguments of `baredumpctl arm`, or words of the raw capture command line.
    pub(crate) arm_args: Vec<String>,
    /// `guest.panic=`: how the kernel dies.
    pub(crate) panic: Panic,
    /// `guest.raw=`: where the capture kernel copies `/proc/vmcore` to.
    pub(crate) raw: String,
}

/// Who loads the capture kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// Nobody.
    No,
    /// `baredumpctl arm`.
    Baredumpctl,
    /// The guest itself, with the image that copies the vmcore unfiltered.
    Raw,
}

/// How the kernel dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panic {
    /// `sysrq-c`, written by the sentinel task.
    Sysrq,
    /// Not at all: power off.
    None,
}

impl Default for Words {
    fn default() -> Self {
        Words {
            workload: true,
            kinds: false,
            balloon: 0,
            slow: None,
            sentinels: 1200,
            disk: Some("/dev/vda".into()),
            watchdog: None,
            host: "guest".into(),
            arm: Arm::No,
            arm_args: Vec::new(),
            panic: Panic::Sysrq,
            raw: "/dev/vdb".into(),
        }
    }
}

impl Words {
    /// Reads a command line; the second value names the `guest.*` words that mean nothing.
    pub(crate) fn parse(command_line: &str) -> (Self, Vec<String>) {
        let mut words = Words::default();
        let mut unknown = Vec::new();
        for word in command_line.split_ascii_whitespace() {
            let Some((key, value)) = word
                .strip_prefix("guest.")
                .and_then(|rest| rest.split_once('='))
            else {
                continue;
            };
            if words.set(key, value).is_none() {
                unknown.push(word.to_owned());
            }
        }
        (words, unknown)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match (key, value) {
            ("workload", "0" | "1") => self.workload = value == "1",
            ("kinds", "0" | "1") => self.kinds = value == "1",
            ("balloon", _) => self.balloon = value.parse().ok()?,
            ("slow", _) => self.slow = Some(value.to_owned()),
            ("sentinels", _) => self.sentinels = value.parse().ok()?,
            ("disk", "none") => self.disk = None,
            ("disk", _) => self.disk = Some(value.to_owned()),
            ("watchdog", _) => self.watchdog = Some(value.to_owned()),
            ("host", _) => self.host = value.to_owned(),
            ("arm", "0") => self.arm = Arm::No,
            ("arm", "1") => self.arm = Arm::Baredumpctl,
            ("arm", "raw") => self.arm = Arm::Raw,
            ("arm_args", _) => self.arm_args = value.split(',').map(str::to_owned).collect(),
            ("panic", "sysrq") => self.panic = Panic::Sysrq,
            ("panic", "none") => self.panic = Panic::None,
            ("raw", _) => self.raw = value.to_owned(),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_means_the_defaults() {
        assert_eq!(
            Words::parse("console=ttyS0 root=/dev/vda"),
            (Words::default(), vec![])
        );
    }

    #[test]
    fn every_word_is_understood() {
        let (words, unknown) = Words::parse(
            "quiet guest.workload=0 guest.kinds=1 guest.balloon=64 guest.slow=/dev/vdd guest.sentinels=7 guest.disk=none guest.watchdog=/dev/watchdog guest.host=../x guest.arm=raw guest.arm_args=--a,b=c guest.panic=none guest.raw=/dev/vdc",
        );
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(
            words,
            Words {
                workload: false,
                kinds: true,
                balloon: 64,
                slow: Some("/dev/vdd".into()),
                sentinels: 7,
                disk: None,
                watchdog: Some("/dev/watchdog".into()),
                host: "../x".into(),
                arm: Arm::Raw,
                arm_args: vec!["--a".into(), "b=c".into()],
                panic: Panic::None,
                raw: "/dev/vdc".into(),
            }
        );
    }

    #[test]
    fn nonsense_is_named() {
        let (words, unknown) = Words::parse("guest.sentinels=many guest.arm=yes guest.tea=1");
        assert_eq!(words, Words::default());
        assert_eq!(
            unknown,
            ["guest.sentinels=many", "guest.arm=yes", "guest.tea=1"]
        );
    }
}
