//! Host programs: found also where only root's `PATH` looks, run with their error output in the error.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The full path of a program in `PATH`, `/usr/sbin` or `/sbin` (where e2fsprogs lives, which needs no root rights for image files).
///
/// # Errors
/// When the program is in none of them.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("`{name}` is not installed"))
}

/// Runs a program to its end; `good` are the exit codes that mean success.
///
/// # Errors
/// When it is missing or ends with another code; the message carries what it said.
pub fn run(command: &mut Command, good: &[i32]) -> Result<Output> {
    let name = Path::new(command.get_program()).display().to_string();
    let out = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{name}`"))?;
    if out.status.code().is_some_and(|code| good.contains(&code)) {
        return Ok(out);
    }
    let said = [&out.stderr[..], &out.stdout[..]].concat();
    bail!(
        "`{name}` failed ({}): {}",
        out.status,
        String::from_utf8_lossy(&said).trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_runs() {
        assert!(find("sh").is_ok());
        assert!(
            find("no-such-program-here")
                .unwrap_err()
                .to_string()
                .contains("no-such-program-here")
        );
        assert!(run(Command::new("sh").args(["-c", "exit 1"]), &[0, 1]).is_ok());
        let error = run(
            Command::new("sh").args(["-c", "echo why >&2; exit 7"]),
            &[0],
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("why") && error.contains('7'), "{error}");
    }
}
