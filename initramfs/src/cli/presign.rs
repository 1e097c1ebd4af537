//! `baredumpctl presign`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use baredump::config::words;
use baredump::target::TargetSpec;
use baredump::target::web::{self, Wish};
use initramfs::image;

use super::private;

/// Make pre-signed URLs for one dump in a bucket, on a machine that has its keys
///
/// The machine that is to be dumped gets the file of URLs in the place of keys (`presigned` in /etc/baredump.toml): who reads it can put
/// the objects of this one dump, until the URLs end, and nothing else. Nothing is sent. The file is a secret.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The target, as s3://bucket/prefix?endpoint=…; its part= is the size of a piece of the dump, each of which has a URL
    target: String,
    /// File with the keys: aws_access_key_id = … and aws_secret_access_key = …
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    /// For how long the URLs are good, at most 7d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    expires: u32,
    /// How large the dump may be, as it is written, with M, G or T
    #[arg(long, value_name = "SIZE", default_value = "4G", value_parser = size)]
    room: u64,
    /// Directory below the target's prefix [default: presigned-TIME]
    #[arg(long, value_name = "NAME")]
    dir: Option<String>,
    /// Dumps and logs are encrypted: `recipients` is set
    #[arg(long)]
    sealed: bool,
    /// Logs are not: `plaintext_log` is set too
    #[arg(long, requires = "sealed")]
    plaintext_log: bool,
    /// The file of URLs, mode 0600 [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let target: TargetSpec = args.target.parse().map_err(anyhow::Error::from)?;
    let shown = || args.credentials.display().to_string();
    let keys = private::read(&args.credentials)?;
    let keys = String::from_utf8_lossy(&keys);
    web::check_credentials(&keys)
        .map_err(anyhow::Error::msg)
        .with_context(shown)?;
    let wish = Wish {
        dir: args.dir.clone(),
        seconds: args.expires,
        room: args.room,
        sealed: args.sealed,
        sealed_log: args.sealed && !args.plaintext_log,
    };
    let text = web::presign(&target, &keys, &wish).map_err(anyhow::Error::msg)?;
    let Some(output) = &args.output else {
        print(&text)?;
        return Ok(ExitCode::SUCCESS);
    };
    image::write_file(output, text.as_bytes()).with_context(|| output.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// A set that is not whole is worth nothing.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).context("standard output")?;
    out.flush().context("standard output")
}

/// A number of seconds, or with s, m, h or d.
fn time(text: &str) -> Result<u32, String> {
    let seconds = match text.strip_suffix('d') {
        Some(days) => words::seconds(&format!("{days}h")).and_then(|hours| hours.checked_mul(24)),
        None => words::seconds(text),
    };
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    seconds
        .filter(|seconds| *seconds <= web::LONGEST)
        .ok_or_else(|| "a time of at most 7d is needed: a number with s, m, h or d".into())
}

/// A number of bytes with M, G or T.
fn size(text: &str) -> Result<u64, String> {
    let unit = match text.as_bytes().last() {
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        _ => 64,
    };
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    number
        .zip(1u64.checked_shl(unit))
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| "a size like 600M, 4G or 1T is needed".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(
            (time("7d"), time("90"), time("12h")),
            (Ok(604_800), Ok(90), Ok(43_200))
        );
        for bad in [
            "",
            "d",
            "8d",
            "0",
            "0d",
            "-1d",
            "1w",
            "9999999999999999999d",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(
            (size("600M"), size("4G"), size("1T")),
            (Ok(600 << 20), Ok(4 << 30), Ok(1 << 40))
        );
        for bad in ["", "G", "4", "0G", "-1G", "4g", "4GiB", "99999999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
