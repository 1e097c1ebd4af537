//! `baredumpctl image`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use initramfs::compress::{self, Choice, Compression};
use initramfs::cpio::{Archive, Node};
use initramfs::firmware::{self, Firmware};
use initramfs::image::{self, Contents, Source};
use initramfs::kconfig::KernelConfig;
use initramfs::machine;
use initramfs::modules::{self, Closure, Index, Options, Resolved, Wishes};
use initramfs::strip::strip;

use super::local;
use super::wanted::{self, Wanted};
use super::{host, network, private, say};

pub(super) const CONFIG: &str = "/etc/baredump.toml";
const INSTALLED_BINARY: &str = "/usr/lib/baredump/baredump";

/// Build the capture image: baredump, its configuration, and the modules that the targets need
///
/// On the machine that is to be dumped no option is needed: each target's device is looked up, its drivers are found in sysfs
/// and its file system on the device; drivers of watchdogs that run and of the console are added. For another machine give --no-probe and name modules and file systems. What modules need
/// besides (dependencies, soft dependencies, checksum and character-set modules, firmware) is added; the list is printed.
/// Same input, same bytes.
#[derive(Debug, Default, clap::Args)]
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
    /// Target that replaces those of the configuration, as /var/crash or file:UUID=…:/var/crash (repeatable)
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

impl Args {
    /// What is built for `release` when nothing else is said.
    pub(super) fn of(release: &str, kernel_config: Option<&Path>, target: Vec<String>) -> Self {
        Self {
            kernel_release: Some(release.to_owned()),
            kernel_config: kernel_config.map(Path::to_owned),
            target,
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompressArg {
    Zstd,
    Gzip,
    None,
}

/// An image, and what is said of it.
pub(super) struct Built {
    release: String,
    pub(super) archive: Archive,
    pub(super) bytes: Vec<u8>,
    closure: Closure,
    builtin: BTreeSet<String>,
    warnings: Vec<String>,
    choice: Choice,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if !args.no_probe && !host::is_root() {
        bail!(
            "root is needed: image reads the devices of the targets and keys that only root may read (for another machine give --no-probe)"
        );
    }
    let built = build(args)?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| host::image_path(&built.release));
    let shown = output.display();
    image::write_file(&output, &built.bytes).with_context(|| shown.to_string())?;
    let warnings = built.warnings.iter();
    warnings.for_each(|warning| eprintln!("baredumpctl: {warning}"));
    describe(&built);
    say(&format!(
        "{shown}: {} bytes for kernel {}, {} ({})",
        built.bytes.len(),
        built.release,
        built.choice.compression.name(),
        built.choice.reason
    ));
    Ok(ExitCode::SUCCESS)
}

/// Makes the image in memory. What it was made of is on the disk then: files that were just written may be lost at a panic soon after.
pub(super) fn build(args: &Args) -> Result<Built> {
    let release = host::release(args.kernel_release.as_deref())?;
    let (probe, mut warnings) = (!args.no_probe, Vec::new());
    let config = args.config.as_deref().unwrap_or(Path::new(CONFIG));
    let source = Source {
        // Whoever looks again does it from another directory.
        config: std::path::absolute(config).context("--config")?,
        config_is_needed: args.config.is_some(),
        targets: args.target.clone(),
        builtin: BTreeSet::new(),
    };
    let (config, config_text) = wanted::config(&source, probe)?;
    let mut wanted = Wanted::named(&args.module, &args.filesystem);
    wanted.serve(&config);
    let mut private = private::files(&config)?;
    private::sync(&source.config, &config);
    if let Some(plan) = network::plan(&config, probe, &mut wanted)? {
        private.push((network::FILE, serde_json::to_vec_pretty(&plan)?));
    }
    if probe {
        local::tell(&wanted.examine(&config.targets)?);
        wanted.attend(Path::new("/"));
    }
    let dirs = module_dirs(&release, &args.modules_dir)?;
    let index = Index::read(&dirs)?;
    wanted.settle(|name| index.path(name).is_some());
    warnings.extend(wanted.unwatched(|name| index.resolve(name) == Resolved::Unknown));
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
    warnings.extend(firmware.warnings.iter().cloned());
    let binary = read_binary(args.binary.as_deref())?;
    check_machine(&binary, &release, &closure, kernel_config.as_ref())?;
    let builtin: BTreeSet<_> = closure.builtin.union(&wanted.builtin).cloned().collect();
    let source = Source {
        builtin: builtin.clone(),
        ..source
    };
    let archive = image::assemble(Contents {
        release: &release,
        binary: strip(binary),
        config: config_text,
        modules: &closure,
        options: &options,
        firmware: &firmware,
        private,
        source: probe.then_some(source),
    })?;
    let choice = choose(args, kernel_config.as_ref(), &release);
    let bytes = image::pack(&archive, choice.compression)?;
    Ok(Built {
        release,
        archive,
        bytes,
        closure,
        builtin,
        warnings,
        choice,
    })
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

fn describe(built: &Built) {
    let mut total = 0;
    for (path, entry) in built.archive.entries() {
        if let Node::File(bytes) = &entry.node {
            total += bytes.len();
            say(&format!("{:>10}  /{path}", bytes.len()));
        }
    }
    say(&format!("{total:>10}  unpacked"));
    let list = |words: Vec<&str>| {
        if words.is_empty() {
            "none".to_owned()
        } else {
            words.join(" ")
        }
    };
    let order = built.closure.load.iter().map(|module| module.name.as_str());
    say(&format!("load order: {}", list(order.collect())));
    let builtin = built.builtin.iter().map(String::as_str);
    say(&format!("built in:   {}", list(builtin.collect())));
}
