//! The two programs.

use super::options::Codec;
use crate::apt::Apt;
use crate::fetch::{self, Packaged};
use crate::lab::Lab;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// baredump.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) program: PathBuf,
}

impl Ours {
    /// Makes a dump; `compress` is a name of its `--compress`.
    pub(super) fn command(
        &self,
        compress: &str,
        level: u8,
        threads: usize,
        vmcore: &Path,
        dump: &Path,
    ) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["dump", "--force", "--message-level", "4"]);
        command.args(["--threads", &threads.to_string()]);
        command.args(["--level", &level.to_string(), "--compress", compress]);
        command.arg(vmcore).arg(dump);
        command
    }
}

/// makedumpfile.
#[derive(Debug)]
pub(super) struct Peer {
    program: Program,
    pub(super) version: String,
    /// What it says of itself.
    said: String,
}

#[derive(Debug)]
enum Program {
    File(PathBuf),
    Packaged(Packaged),
}

impl Peer {
    /// The program at a path, or the newest packaged one.
    ///
    /// # Errors
    /// When it cannot be fetched or does not start.
    pub(super) fn new(lab: &Lab, file: Option<&Path>) -> Result<Self> {
        let mut peer = Self {
            program: match file {
                Some(file) => Program::File(file.to_owned()),
                None => Program::Packaged(fetch::makedumpfile(&Apt::open(lab)?)?),
            },
            version: String::new(),
            said: String::new(),
        };
        let out = qemu::run_tool(peer.start()?.arg("-v"), &[0])?;
        peer.said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        peer.version = version(&peer.said)
            .with_context(|| format!("it says no version: {}", peer.said))?
            .to_owned();
        Ok(peer)
    }

    fn start(&self) -> Result<Command> {
        match &self.program {
            Program::File(path) => Ok(Command::new(path)),
            Program::Packaged(packaged) => packaged.command(),
        }
    }

    /// Why it does not compress so.
    pub(super) fn lacks(&self, codec: Codec) -> Option<String> {
        let name = codec.ours;
        if codec.letter.is_none() && name != "none" {
            return Some(format!("{name}: makedumpfile has nothing by that name"));
        }
        disabled(&self.said, name).then(|| {
            format!(
                "{name}: makedumpfile {} was built without it; name one that has it with --peer FILE",
                self.version
            )
        })
    }

    /// Makes a dump.
    pub(super) fn command(
        &self,
        codec: Codec,
        level: u8,
        threads: usize,
        vmcore: &Path,
        dump: &Path,
    ) -> Result<Command> {
        let mut command = self.start()?;
        command.args(["-f", "--message-level", "4", "-d", &level.to_string()]);
        command.args(codec.letter);
        if threads > 0 {
            command.args(["--num-threads", &threads.to_string()]);
        }
        command.arg(vmcore).arg(dump);
        Ok(command)
    }
}

/// `1.7.8` in `makedumpfile: version 1.7.8 (released on …)`.
fn version(text: &str) -> Option<&str> {
    text.split_once("version ")?.1.split_whitespace().next()
}

/// Whether a line says that a codec is disabled.
fn disabled(said: &str, codec: &str) -> bool {
    said.lines()
        .any(|line| line.split_whitespace().eq([codec, "disabled"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_of_itself() {
        let said = "makedumpfile: version 1.7.8 (released on 5 Aug 2025)\nlzo\tenabled\nsnappy\tdisabled\n";
        assert_eq!(version(said), Some("1.7.8"));
        assert!(disabled(said, "snappy"));
        assert!(!disabled(said, "lzo") && !disabled(said, "zlib"));
    }
}
