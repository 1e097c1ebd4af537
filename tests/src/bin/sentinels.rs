//! `sentinels VMCORE BAREDUMP`: dumps a raw vmcore of the production guest at every level and judges each dump by its sentinel pages.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::dump_reader::Dump;
use tests::sentinels::{CLASSES, Sentinels};

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let vmcore = args.next().context("usage: sentinels VMCORE BAREDUMP")?;
    let baredump = args.next().context("usage: sentinels VMCORE BAREDUMP")?;
    let sentinels = Sentinels::find(&vmcore)?;
    let scratch = tempfile::tempdir_in(vmcore.parent().unwrap_or(Path::new(".")))?;
    let names: String = CLASSES.iter().map(|c| format!(" {:>13}", c.name)).collect();
    println!("level{names}");
    for level in 0..=31u8 {
        let out = scratch.path().join("vmcore");
        let status = Command::new(&baredump)
            .args([
                "dump",
                "-f",
                "--message-level",
                "4",
                "--compress",
                "snappy",
                "-d",
            ])
            .arg(level.to_string())
            .args([&vmcore, &out])
            .status()?;
        ensure!(
            status.success(),
            "level {level}: {} ended with {status}",
            baredump.display()
        );
        let verdicts = sentinels.judge(&Dump::open(&out)?, level)?;
        let line: String = verdicts
            .iter()
            .map(|v| format!(" {:>8}/{:<4}", v.kept, v.made))
            .collect();
        println!("{level:5}{line}");
        for verdict in &verdicts {
            for (why, count) in &verdict.left {
                let what = if verdict.dropped { "left" } else { "gone" };
                println!("      {count} {} pages {what}: {why}", verdict.class);
            }
        }
    }
    println!("every level: what must be there is there, what is left is explained");
    Ok(())
}
