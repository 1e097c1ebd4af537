//! Commands on the server. Every name in them is quoted, and none begins with a dash.

use crate::target::ssh::client::Client;
use crate::target::ssh::fault::{Fault, clean};
use crate::target::ssh::pipe::{Pipe, Program};
use std::io;
use std::sync::Arc;

/// Runs commands.
pub(super) struct Shell(Arc<Client>);

/// How a command ended.
pub(super) struct Ended {
    pub(super) status: u32,
    pub(super) output: String,
    errors: String,
}

impl Shell {
    pub(super) fn new(client: &Arc<Client>) -> Self {
        Self(Arc::clone(client))
    }

    /// Begins a command that reads what is sent to it.
    pub(super) fn begin(&self, command: &str) -> Result<Pipe, Fault> {
        Pipe::open(&self.0, &Program::Command(command))?.ok_or_else(|| {
            let why =
                "the server offers neither SFTP nor commands: allow one of them for this user";
            Fault::new(io::ErrorKind::Unsupported, why)
        })
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, command: &str) -> Result<Ended, Fault> {
        finish(&mut self.begin(command)?)
    }

    /// Runs what makes the server write to its disk, which may take long.
    pub(super) fn patiently<T>(&self, then: impl FnOnce() -> T) -> T {
        self.0.patient(true);
        let done = then();
        self.0.patient(false);
        done
    }

    /// Runs a command that must succeed.
    pub(super) fn must(&self, command: &str) -> Result<String, Fault> {
        succeeded(self.run(command)?, command)
    }
}

/// Waits for the end of a command.
pub(super) fn finish(pipe: &mut Pipe) -> Result<Ended, Fault> {
    let inbox = pipe.finish()?;
    Ok(Ended {
        status: inbox.status.unwrap_or(255),
        output: clean(&inbox.output),
        errors: inbox.errors(),
    })
}

/// Its output, when it succeeded.
pub(super) fn succeeded(ended: Ended, command: &str) -> Result<String, Fault> {
    if ended.status == 0 {
        return Ok(ended.output);
    }
    let full = ended.errors.contains("No space left");
    let kind = match full {
        true => io::ErrorKind::StorageFull,
        false => io::ErrorKind::Other,
    };
    Err(Fault::new(
        kind,
        format!(
            "the command `{command}` ended with status {} on the server: {}",
            ended.status,
            if ended.errors.is_empty() {
                &ended.output
            } else {
                &ended.errors
            }
        ),
    ))
}

/// `text` as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in [
            "/a b",
            "it's",
            "$(rm -rf ~)`x`\\",
            "'",
            "''",
            "a\nb",
            "-x",
            "\"*\"",
            "",
        ] {
            let script = format!("printf %s {}", quoted(text));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
