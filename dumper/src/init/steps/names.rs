//! The names of a dump's files.

/// Names of the files of one dump: a stream and an encrypted file say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The memory.
    pub(super) vmcore: String,
    /// The log.
    pub(super) dmesg: String,
}

pub(super) const REPORT: &str = "report.json";

impl Names {
    /// For a target whose files are streams or not, and with recipients or without.
    pub(super) fn of(stream: bool, sealed: bool, sealed_log: bool) -> Self {
        let age = |sealed: bool| if sealed { ".age" } else { "" };
        let flat = if stream || sealed { ".flat" } else { "" };
        Self {
            vmcore: format!("vmcore{flat}{}", age(sealed)),
            dmesg: format!("vmcore-dmesg.txt{}", age(sealed_log)),
        }
    }

    /// The memory as long as it is not whole.
    pub(super) fn incomplete(&self) -> String {
        format!("{}-incomplete", self.vmcore)
    }

    /// What a first attempt that died has left.
    pub(super) fn first(&self) -> String {
        format!("{}-incomplete-1", self.vmcore)
    }

    /// The repetition, when that of the first attempt could not be renamed.
    pub(super) fn second(&self) -> String {
        format!("{}-incomplete-2", self.vmcore)
    }

    /// The log as long as it is not whole.
    pub(super) fn dmesg_incomplete(&self) -> String {
        self.dmesg.replacen(".txt", "-incomplete.txt", 1)
    }

    /// Every name of the memory, the best first.
    pub(super) fn vmcores(&self) -> [String; 4] {
        [
            self.vmcore.clone(),
            self.incomplete(),
            self.second(),
            self.first(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        let plain = Names::of(false, false, false);
        assert_eq!(
            (&*plain.vmcore, &*plain.incomplete()),
            ("vmcore", "vmcore-incomplete")
        );
        assert_eq!(
            (&*plain.dmesg, &*plain.dmesg_incomplete()),
            ("vmcore-dmesg.txt", "vmcore-dmesg-incomplete.txt")
        );
        assert_eq!(
            Names::of(true, false, false).first(),
            "vmcore.flat-incomplete-1"
        );
        let sealed = Names::of(false, true, true);
        assert_eq!(
            (&*sealed.vmcore, &*sealed.dmesg_incomplete()),
            ("vmcore.flat.age", "vmcore-dmesg-incomplete.txt.age")
        );
        assert_eq!(Names::of(true, true, false).dmesg, "vmcore-dmesg.txt");
    }
}
