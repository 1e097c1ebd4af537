//! `baredumpctl image`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use initramfs::compress::{self, Choice, Compression};
use initramfs::cpio::{Archive, Node};
use initramfs::firmware::{self, Firmware};
use initramfs::image::{self, Contents};
use initramfs::kconfig::KernelConfig;
use initramfs::machine;
use initramfs::modules::{self, Closure, Index, Options, Resolved, Wishes};
use initramfs::strip::strip;

use super::wanted::{self, Wanted};
use super::{host, network, private, say};

const CONFIG: &str = "/etc/baredump.toml";
const INSTALLED_BINARY: &str = "/usr/lib/baredump/baredump";

/// Build the capture image: baredump, its configuration, and the modules that the targets need
///
/// On the machine that is to be dumped no option is needed: each target's device is looked up, its drivers are found in sysfs
/// and its file system on the device; drivers of watchdogs that run and of the console are added. For another machine give --no-probe and name modules and file systems. What modules need
/// besides (dependencies, soft dependencies, checksum and character-set modules, firmware) is added; the list is printed.
/// Same input, same bytes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Release of the capture kernel [default: that of the running kernel]
    #[arg(long, value_name = "RELEASE")]
    kernel_release: Option<String>,
    /// Directory of its modules (repeatable for packages unpacked separately) [default: /lib/modules/RELEASE or /usr/lib/modules/RELEASE]
    #[arg(long, value_name = "DIR")]
    modules_dir: Vec<PathBuf>,
    /// Its configuration [default: /boot/config-RELEASE or `config` in the module directory]
    #[arg(long, value_name = "FILE")]
    kernel_config: Option<PathBuf>,
    /// Configuration of the capture [default: /etc/baredump.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Target that replaces those of the configuration, as file:UUID=…:/var/crash (repeatable)
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Add this module (repeatable)
    #[arg(long, value_name = "NAME")]
    module: Vec<String>,
    /// Add what this file system needs (repeatable)
    #[arg(long, value_name = "TYPE")]
    filesystem: Vec<String>,
    /// Don't look at this machine's devices: add only what --module and --filesystem name
    #[arg(long)]
    no_probe: bool,
    /// The static baredump binary [default: beside baredumpctl, else /usr/lib/baredump/baredump]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where firmware is looked for (repeatable) [default: as the kernel does, below /lib/firmware]
    #[arg(long, value_name = "DIR")]
    firmware_dir: Vec<PathBuf>,
    /// Where module options are looked for (repeatable) [default: as modprobe does: /etc/modprobe.d, …]
    #[arg(long, value_name = "DIR")]
    modprobe_dir: Vec<PathBuf>,
    /// Compression [default: the best that the kernel's configuration allows]
    #[arg(long, value_enum)]
    compress: Option<CompressArg>,
    /// The image file, mode 0600 [default: /var/lib/baredump/RELEASE.img]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressArg {
    Zstd,
    Gzip,
    None,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let release = host::release(args.kernel_release.as_deref())?;
    let config_path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let (config, config_text) = wanted::config(config_path, args.config.is_some(), &args.target)?;
    let (config, config_text) = wanted::with_claims(config, config_text, !args.no_probe)?;
    let mut wanted = Wanted::named(&args.module, &args.filesystem);
    wanted.serve(&config);
    let mut private = private::files(&config)?;
    if let Some(plan) = network::plan(&config, !args.no_probe, &mut wanted)? {
        private.push((network::FILE, serde_json::to_vec_pretty(&plan)?));
    }
    if !args.no_probe {
        config
            .targets
            .iter()
            .try_for_each(|target| wanted.probe(target))?;
        wanted.attend(Path::new("/"));
    }
    let dirs = module_dirs(&release, &args.modules_dir)?;
    let index = Index::read(&dirs)?;
    wanted.settle(|name| index.path(name).is_some());
    if let Some(warning) = wanted.unwatched(|name| index.resolve(name) == Resolved::Unknown) {
        eprintln!("baredumpctl: {warning}");
    }
    let kernel_config = kernel_config(args, &release, &dirs)?;
    let options = Options::read(&or_default(&args.modprobe_dir, || {
        modules::DEFAULT_DIRS.map(PathBuf::from).to_vec()
    }))
    .context("modprobe.d")?;
    let closure = modules::close(
        &index,
        &Wishes {
            modules: &wanted.modules,
            filesystems: &wanted.filesystems,
            options: Some(&options),
            config: kernel_config.as_ref(),
        },
    )?;
    let firmware = find_firmware(
        &closure,
        &or_default(&args.firmware_dir, || firmware::default_dirs(&release)),
    )?;
    let binary = read_binary(args.binary.as_deref())?;
    check_machine(&binary, &release, &closure, kernel_config.as_ref())?;
    let archive = image::assemble(Contents {
        release: &release,
        binary: strip(binary),
        config: config_text,
        modules: &closure,
        options: &options,
        firmware: &firmware,
        private,
    })?;
    let choice = choose(args, kernel_config.as_ref(), &release);
    let bytes = image::pack(&archive, choice.compression)?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| host::image_path(&release));
    image::write_file(&output, &bytes).with_context(|| output.display().to_string())?;
    firmware
        .warnings
        .iter()
        .for_each(|warning| eprintln!("baredumpctl: {warning}"));
    describe(&archive, &closure, &wanted);
    say(&format!(
        "{}: {} bytes for kernel {release}, {} ({})",
        output.display(),
        bytes.len(),
        choice.compression.name(),
        choice.reason
    ));
    Ok(ExitCode::SUCCESS)
}

fn or_default(given: &[PathBuf], default: impl FnOnce() -> Vec<PathBuf>) -> Vec<PathBuf> {
    if given.is_empty() {
        default()
    } else {
        given.to_vec()
    }
}

fn module_dirs(release: &str, given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let places = [
        format!("/lib/modules/{release}"),
        format!("/usr/lib/modules/{release}"),
    ];
    match places.iter().find(|place| Path::new(place).is_dir()) {
        Some(place) => Ok(vec![PathBuf::from(place)]),
        None => bail!(
            "no modules of kernel {release} in {}: name their directory with --modules-dir",
            places.join(" or ")
        ),
    }
}

fn kernel_config(args: &Args, release: &str, dirs: &[PathBuf]) -> Result<Option<KernelConfig>> {
    match &args.kernel_config {
        Some(path) => Ok(Some(
            KernelConfig::read(path).with_context(|| path.display().to_string())?,
        )),
        None => Ok(KernelConfig::find(release, dirs)),
    }
}

fn choose(args: &Args, config: Option<&KernelConfig>, release: &str) -> Choice {
    let asked = |compression| Choice {
        compression,
        reason: "asked for".to_owned(),
    };
    match args.compress {
        Some(CompressArg::Zstd) => asked(Compression::Zstd),
        Some(CompressArg::Gzip) => asked(Compression::Gzip),
        Some(CompressArg::None) => asked(Compression::None),
        None => compress::choose(config, release),
    }
}

fn find_firmware(closure: &Closure, dirs: &[PathBuf]) -> Result<Firmware> {
    let mut firmware = Firmware::default();
    for module in &closure.load {
        firmware::collect(&mut firmware, &module.name, &module.info.firmware, dirs)?;
    }
    Ok(firmware)
}

fn read_binary(given: Option<&Path>) -> Result<Vec<u8>> {
    let beside = std::env::current_exe()
        .ok()
        .map(|path| path.with_file_name("baredump"));
    let path = match (given, beside) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) if path.is_file() => path,
        _ => PathBuf::from(INSTALLED_BINARY),
    };
    let shown = path.display();
    let bytes = std::fs::read(&path)
        .with_context(|| format!("{shown}: name the baredump binary with --binary"))?;
    match image::is_static_elf(&bytes) {
        Some(true) => Ok(bytes),
        Some(false) => bail!(
            "{shown} needs a dynamic loader, which is not in the image: take the static build"
        ),
        None => bail!("{shown} is no 64-bit ELF program and can't be PID 1"),
    }
}

/// A PID 1 for other processors would only fail at the crash. What the kernel is for, its modules say, else its configuration.
fn check_machine(
    binary: &[u8],
    release: &str,
    closure: &Closure,
    config: Option<&KernelConfig>,
) -> Result<()> {
    let module = closure.load.first();
    let kernel = module
        .and_then(|module| machine::of_elf(&module.bytes))
        .or_else(|| config.and_then(machine::of_config));
    match (kernel, machine::of_elf(binary)) {
        (Some(kernel), Some(program)) if kernel != program => bail!(
            "kernel {release} is for {}, but the baredump binary is for {}: name one for {} with --binary",
            machine::name(kernel),
            machine::name(program),
            machine::name(kernel)
        ),
        _ => Ok(()),
    }
}

fn describe(archive: &Archive, closure: &Closure, wanted: &Wanted) {
    let mut total = 0;
    for (path, entry) in archive.entries() {
        if let Node::File(bytes) = &entry.node {
            total += bytes.len();
            say(&format!("{:>10}  /{path}", bytes.len()));
        }
    }
    say(&format!("{total:>10}  unpacked"));
    let order: Vec<_> = closure
        .load
        .iter()
        .map(|module| module.name.as_str())
        .collect();
    let list = |words: &[&str]| {
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(" ")
        }
    };
    say(&format!("load order: {}", list(&order)));
    let builtin: Vec<_> = closure
        .builtin
        .union(&wanted.builtin)
        .map(String::as_str)
        .collect();
    say(&format!("built in:   {}", list(&builtin)));
}
