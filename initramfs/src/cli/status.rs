//! `baredumpctl status`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use initramfs::loader::{self, Status};

use super::{NOT_ARMED, private, say};

/// Say whether a capture kernel is loaded
///
/// Exit codes: 0 armed, 3 not armed, 1 error, 2 wrong usage.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print JSON: armed, reserved (bytes), loaded (kernel, kernel_release, image, image_bytes, command_line, presigned (end of pre-signed URLs, seconds since 1970); null when unknown)
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let status = loader::status(Path::new("/"))?;
    if args.json {
        say(&serde_json::to_string_pretty(&status)?);
    } else {
        say(&text(&status));
    }
    let ends = status.loaded.as_ref().and_then(|loaded| loaded.presigned);
    if let Some(ends) = ends.filter(|ends| status.armed && ends.is_near()) {
        eprintln!("baredumpctl: {}", private::expiring(ends));
    }
    Ok(if status.armed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_ARMED)
    })
}

fn text(status: &Status) -> String {
    let word = if status.armed { "armed" } else { "not armed" };
    let mib = status.reserved >> 20;
    let hint = match (status.armed, status.reserved) {
        (false, 0) => " (add crashkernel=256M to the kernel command line and reboot)",
        (false, _) => " (load it with: baredumpctl arm)",
        (true, _) => "",
    };
    let mut text = format!("{word}{hint}\nreserved: {mib} MiB");
    if let Some(loaded) = &status.loaded {
        text += &format!(
            "\nkernel:   {} ({})\nimage:    {} ({} bytes)\ncommand line: {}",
            loaded.kernel.display(),
            loaded.kernel_release,
            loaded.image.display(),
            loaded.image_bytes,
            loaded.command_line
        );
        if let Some(ends) = loaded.presigned {
            text += &format!("\npre-signed URLs: {}", ends.sentence());
        }
    } else if status.armed {
        text += "\nloaded by another program, or before /run was emptied";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do() {
        let status = |armed, reserved| {
            text(&Status {
                armed,
                reserved,
                loaded: None,
            })
        };
        assert!(status(false, 0).contains("crashkernel="));
        assert!(status(false, 1 << 27).starts_with("not armed (load it"));
        assert!(status(true, 1 << 27).starts_with("armed\nreserved: 128 MiB\nloaded by another"));
    }
}
