//! `baredumpctl arm`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use baredump::config::Config;
use baredump::target::web::{self, Ends};
use initramfs::cmdline::{self, Change, CommandLine, Request};
use initramfs::cpio::Archive;
use initramfs::loader::{self, Kernel};
use initramfs::{image, memory};

use super::fit::{self, Fit};
use super::{NOT_ARMED, estimate, host, local, private, say};

/// Load the capture kernel and its image, to be started by a panic
///
/// The capture kernel's command line is the running kernel's without what would harm or is of no use (crashkernel=, root=,
/// hugepages=, …), and with what a capture kernel needs; --print shows each change with its reason and loads nothing. The targets of the image are
/// looked up on this machine once more, and compared with the configuration. Exit code 3: it is loaded, but does not fit this machine any
/// more.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Kernel image to start at a panic [default: that of --kernel-release in /boot or its module directory]
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Capture image [default: /var/lib/baredump/RELEASE.img]
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Release of the capture kernel [default: that of the running kernel]
    #[arg(long, value_name = "RELEASE")]
    kernel_release: Option<String>,
    /// Put this word at the end of the capture kernel's command line (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Leave out this key, or this key=value, whoever put it there (repeatable)
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    remove: Vec<String>,
    /// Show the command line and each change, and load nothing
    #[arg(long)]
    print: bool,
    /// Load once more what is loaded, with the command line that it has, when the machine's memory is not what it was: for udev
    #[arg(long, conflicts_with_all = ["kernel", "image", "kernel_release", "append", "remove", "print"])]
    again: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let root = Path::new("/");
    if args.again {
        return again(root);
    }
    check_words(args)?;
    if args.print {
        let release = host::release(args.kernel_release.as_deref())?;
        let image = fit::read(&image_path(args, &release)).ok();
        let archive = image.as_ref().map(|(_, archive)| archive);
        print(&command_line(args, archive)?);
        return Ok(ExitCode::SUCCESS);
    }
    if !host::is_root() {
        bail!("root is needed: only root may load a capture kernel");
    }
    let kernel = find_kernel(args.kernel.as_deref(), args.kernel_release.as_deref())?;
    let path = image_path(args, &kernel.header.release);
    let (bytes, archive) = fit::read(&path)?;
    let presigned = check_image(&path, &archive, &kernel)?;
    let line = command_line(args, Some(&archive))?;
    line.check(kernel.header.cmdline_size)?;
    let record = loader::arm(root, &kernel, &path, &line.text, presigned)?;
    say(&format!(
        "armed: {} ({}) with {} ({} bytes) in {} MiB",
        record.kernel.display(),
        record.kernel_release,
        path.display(),
        record.image_bytes,
        loader::reserved(root)? >> 20
    ));
    if let Some(ends) = presigned.filter(|ends| ends.is_near()) {
        eprintln!("baredumpctl: {}", private::expiring(ends));
    }
    if let Some(warning) = estimate::too_small(&kernel, bytes.len(), &archive) {
        eprintln!("baredumpctl: {warning}");
    }
    Ok(judge(&Fit::of(&archive)))
}

/// An image that does not fit any more is better than none: it is loaded, and what does not fit is said.
fn judge(fit: &Fit) -> ExitCode {
    local::tell(&fit.seen);
    for fault in &fit.faults {
        eprintln!("baredumpctl: the image does not fit this machine any more: {fault}");
    }
    if fit.faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("baredumpctl: {}", fit::REMEDY);
    ExitCode::from(NOT_ARMED)
}

/// Where nothing is loaded, or by somebody else, nothing is done.
fn again(root: &Path) -> Result<ExitCode> {
    let Some(record) = loader::status(root)?.loaded else {
        return Ok(ExitCode::SUCCESS);
    };
    if memory::changed(root, record.memory).is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let kernel = Kernel::open(&record.kernel)?;
    loader::arm(
        root,
        &kernel,
        &record.image,
        &record.command_line,
        record.presigned,
    )?;
    say("armed again, with the memory as it is now");
    Ok(ExitCode::SUCCESS)
}

fn image_path(args: &Args, release: &str) -> PathBuf {
    let named = args.image.clone();
    named.unwrap_or_else(|| host::image_path(release))
}

/// The whole capture's, as the image and the words have it.
fn deadline(image: Option<&Archive>, words: &[String]) -> Duration {
    let text = image.and_then(|archive| {
        let text = archive.file_bytes("etc/baredump.toml")?;
        Some(String::from_utf8_lossy(text))
    });
    let (config, _) = Config::load(text.as_deref(), &words.join(" "));
    config.deadline
}

fn check_words(args: &Args) -> Result<()> {
    cmdline::check_quotes(&args.append)?;
    Config::from_words_strict(&args.append.join(" ")).context("--append")?;
    Ok(())
}

fn command_line(args: &Args, image: Option<&Archive>) -> Result<CommandLine> {
    let production = std::fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    let (boot_id, machine_id) = (host::boot_id(), host::machine_id());
    Ok(CommandLine::build(&Request {
        production: &production,
        boot_id: boot_id.as_deref(),
        machine_id: machine_id.as_deref(),
        memory_end: memory::end(Path::new("/")),
        deadline: Some(deadline(image, &args.append)),
        remove: &args.remove,
        append: &args.append,
    }))
}

fn print(line: &CommandLine) {
    let list = |title: &str, changes: &[Change]| {
        say(&format!("\n{title}:"));
        for change in changes {
            say(&format!("  {:<42} {}", change.word, change.reason));
        }
    };
    say(&line.text);
    list("left out", &line.dropped);
    list("added", &line.added);
}

/// The kernel image that is named, or that of a release.
pub(super) fn find_kernel(path: Option<&Path>, release: Option<&str>) -> Result<Kernel> {
    if let Some(path) = path {
        return Ok(Kernel::open(path)?);
    }
    let release = host::release(release)?;
    let places = Kernel::places(&release, host::machine_id().as_deref());
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        let searched: Vec<_> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "no image of kernel {release} at {}: name it with --kernel",
            searched.join(", ")
        );
    };
    Ok(Kernel::open(path)?)
}

/// An image with another kernel's modules, or without a program, would only fail at the crash. Gives the end of its pre-signed URLs.
fn check_image(path: &Path, archive: &Archive, kernel: &Kernel) -> Result<Option<Ends>> {
    let shown = path.display();
    match image::release(archive) {
        None => eprintln!(
            "baredumpctl: {shown} doesn't say for which kernel it was built; it is loaded as it is"
        ),
        Some(release) if release != kernel.header.release => bail!(
            "{shown} was built for kernel {release}, but {} is {}: build an image for it with baredumpctl image --kernel-release {}",
            kernel.path.display(),
            kernel.header.release,
            kernel.header.release
        ),
        Some(_) => image::check(archive).with_context(|| {
            format!("{shown} can't be loaded: build it anew with baredumpctl image")
        })?,
    }
    let urls = archive.file_bytes(&format!("etc/baredump/{}", private::PRESIGNED));
    Ok(urls.and_then(|urls| web::presigned_end(&String::from_utf8_lossy(urls))))
}
