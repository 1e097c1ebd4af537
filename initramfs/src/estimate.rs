//! How much a capture kernel must have reserved: what is held at the two moments that decide, in parts.
//!
//! The first is the unpacking of the image, before PID 1: the compressed image, its files, the kernel's start-up code and all of its
//! first allocations are there at once. The second is the dump. Source: kernel/kexec_file.c, init/initramfs.c, mm/sparse-vmemmap.c,
//! arch/x86/boot/header.S, Linux 5.10 to 7.2; the constants are measured, see docs/capture-kernel.md and kernel-config/floors.toml.

mod buffers;

pub use buffers::{Buffers, Source, buffers};

use crate::bzimage::BzImage;
use crate::cpio::{Archive, Node};
use crate::decompress;
use crate::image;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Memory of a section (`SECTION_SIZE_BITS` of x86_64 and arm64 with 4K pages): descriptors are there for all of its pages.
const SECTION: u64 = 128 * MIB;
/// `sizeof(struct page)`.
const DESCRIPTOR: u64 = 64;
/// Headers of the vmcore, purgatory and boot parameters: `CONFIG_CRASH_MAX_MEMORY_RANGES` headers are reserved, used or not.
const HEADERS: u64 = 900 * KIB;
/// Start-up code and gaps between its parts, a tenth of it, are given back before PID 1 starts.
const GIVEN_BACK: u64 = 10;
/// An ELF note of each processor.
const NOTE: u64 = 512;
/// Slab, stacks, percpu and page tables of a kernel that has started its drivers, and what it keeps free; less the gaps in the kernel that it
/// has given back by then.
const START: u64 = 7 * MIB;
/// The same of a kernel that says it is small, with `CONFIG_SLUB_TINY`.
const START_TINY: u64 = 5 * MIB;
/// Inode and page rounding of a file in the unpacked image.
const INODE: u64 = KIB;
/// What the dump takes at least, which makes do with what there is, with page cache for the file; and a worker.
const DUMP: u64 = 4 * MIB;
const WORKER: u64 = MIB;
/// One boot differs from the next by so much.
const SPREAD: u64 = 2 * MIB;
/// A kernel must find so much more than its own size in one piece.
const ALIGNMENT: u64 = 2 * MIB;

/// What it depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Bytes from the kernel's first to its last.
    pub kernel: u64,
    /// Room in one piece that it needs while it unpacks itself.
    pub init_size: u64,
    /// Whether it was built to be small.
    pub tiny: bool,
    /// Bytes of the image file.
    pub image: u64,
    /// Its files in memory.
    pub unpacked: u64,
    /// Bytes of its modules.
    pub modules: u64,
    /// What the drivers in it allocate.
    pub buffers: Vec<Buffers>,
    /// Processors of the machine.
    pub cpus: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Worker threads of the dump.
    pub threads: u64,
}

/// A part and why it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// Its size when the image is unpacked.
    pub unpacking: u64,
    /// Its size during the dump.
    pub dumping: u64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// What is held, largest first.
    pub parts: Vec<Part>,
    /// The smallest reservation in MiB that is expected to work.
    pub smallest: u64,
    /// What to reserve in MiB: a quarter more, in steps of 16, for the drivers of a machine that nobody has measured.
    pub reserve: u64,
}

impl Machine {
    /// Takes over what a kernel image says of itself.
    pub fn set_kernel(&mut self, header: &BzImage, file: &[u8]) {
        self.init_size = header.init_size.into();
        // An arm64 image is what it needs; of an x86 one nine tenths stay when it cannot be looked into.
        self.kernel = match span(file) {
            Some(span) => span,
            None if file.get(0x202..0x206) == Some(b"HdrS") => self.init_size * 9 / 10,
            None => self.init_size,
        };
    }

    /// Takes over what an unpacked image holds.
    pub fn set_image(&mut self, file_size: u64, archive: &Archive) {
        self.image = file_size;
        let page = self.page_size.max(1);
        for (path, entry) in archive.entries() {
            let Node::File(bytes) = &entry.node else {
                continue;
            };
            let size = bytes.len() as u64;
            self.unpacked += size.next_multiple_of(page) + INODE;
            if path.ends_with(".ko") {
                self.modules += size;
            }
        }
        let modules = archive.entries().filter_map(|(path, entry)| {
            let (_, name) = path.rsplit_once('/')?;
            match &entry.node {
                Node::File(bytes) => buffers::of_module(name.strip_suffix(".ko")?, bytes),
                _ => None,
            }
        });
        // What is built in has the same devices.
        let builtin = image::source(archive).unwrap_or_default().builtin;
        let names = builtin
            .iter()
            .map(String::as_str)
            .chain(buffers::clients(archive));
        self.buffers = modules.chain(buffers(names)).collect();
    }

    /// Adds it up.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let start = if self.tiny { START_TINY } else { START };
        let buffers: u64 = self.buffers.iter().map(|one| one.mebibytes * MIB).sum();
        let part = |name, unpacking, dumping| Part {
            name,
            unpacking,
            dumping,
        };
        let mut parts = vec![
            part(
                "kernel",
                self.kernel,
                self.kernel - self.kernel / GIVEN_BACK,
            ),
            part("its first allocations", start, start),
            part("page descriptors", 0, 0),
            part("compressed image", self.image, 0),
            part("image, unpacked", self.unpacked, self.unpacked),
            part("modules, loaded", 0, self.modules),
            part("drivers' buffers", 0, buffers),
            part(
                "vmcore headers",
                HEADERS + self.cpus * NOTE,
                HEADERS + self.cpus * NOTE,
            ),
            part("dump", 0, DUMP + self.threads * WORKER),
            part("spread of boots", SPREAD, SPREAD),
        ];
        let sum = |parts: &[Part]| {
            let unpacking: u64 = parts.iter().map(|part| part.unpacking).sum();
            let dumping: u64 = parts.iter().map(|part| part.dumping).sum();
            unpacking.max(dumping)
        };
        let descriptors = self.descriptors(sum(&parts));
        parts[2] = part("page descriptors", descriptors, descriptors);
        let contiguous = self.init_size + ALIGNMENT + self.image + HEADERS;
        let smallest = sum(&parts).max(contiguous).div_ceil(MIB);
        parts.sort_by_key(|part| std::cmp::Reverse(part.unpacking.max(part.dumping)));
        Estimate {
            parts,
            smallest,
            reserve: (smallest + smallest / 4).next_multiple_of(16),
        }
    }

    /// Those of the section of the first megabyte, and of the sections that the reservation is in: one more when it crosses a border,
    /// which a small one rarely does.
    fn descriptors(&self, reservation: u64) -> u64 {
        let of_section = SECTION / self.page_size.max(1) * DESCRIPTOR;
        (1 + reservation.div_ceil(SECTION)) * of_section
    }
}

/// From the first to the last byte of the kernel in a bzImage, when its compression is known here.
fn span(file: &[u8]) -> Option<u64> {
    let vmlinux = payload(file)?;
    if !vmlinux.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64_at(&vmlinux, 32)?).ok()?;
    let count = usize::from(u16::from_le_bytes(*vmlinux.get(56..)?.first_chunk()?));
    let headers = vmlinux.get(table..)?.chunks_exact(56).take(count);
    let loaded = headers.filter(|header| header.starts_with(&1_u32.to_le_bytes()));
    let (mut first, mut last) = (u64::MAX, 0);
    for header in loaded {
        let at = u64_at(header, 24)?;
        first = first.min(at);
        last = last.max(at.checked_add(u64_at(header, 40)?)?);
    }
    last.checked_sub(first)
}

/// The kernel in a bzImage. Behind a payload of zstd or xz its size follows in four bytes.
fn payload(file: &[u8]) -> Option<Vec<u8>> {
    if file.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let number = |at: usize| {
        let bytes = file.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let setup = (usize::from(*file.get(0x1f1)?) + 1) * 512;
    let start = setup.checked_add(number(0x248)?)?;
    let packed = file.get(start..start.checked_add(number(0x24c)?)?)?;
    let without_size = packed.get(..packed.len().checked_sub(4)?)?;
    match packed {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => decompress::zstd(without_size).ok(),
        [0xfd, b'7', b'z', ..] => decompress::xz(without_size).ok(),
        [0x1f, 0x8b, ..] => decompress::gzip(packed).ok(),
        _ => None,
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOORS: &str = include_str!("../../kernel-config/floors.toml");

    /// The values of a table of floors.toml: numbers, and the name.
    fn value<'a>(table: &'a str, key: &str) -> &'a str {
        let line = table
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("{key} is missing in {table}"))
            .trim_matches('"')
    }

    #[test]
    fn recorded_floors_are_met_and_not_exceeded_by_much() {
        let mut seen = 0;
        for table in FLOORS.split("[[floor]]").skip(1) {
            let number = |key| value(table, key).parse::<u64>().unwrap();
            let machine = Machine {
                kernel: number("kernel"),
                init_size: number("init_size"),
                tiny: value(table, "tiny") == "true",
                image: number("image"),
                unpacked: number("unpacked"),
                modules: number("modules"),
                buffers: buffers(value(table, "drivers").split('"')),
                cpus: 1,
                page_size: 4096,
                ..Machine::default()
            };
            let (floor, estimate) = (number("floor"), machine.estimate());
            let name = value(table, "name");
            assert!(
                estimate.smallest >= floor,
                "{name}: {} < {floor}",
                estimate.smallest
            );
            assert!(
                estimate.smallest <= floor + 8,
                "{name}: {} > {floor} + 8",
                estimate.smallest
            );
            assert!(estimate.reserve >= floor + 8, "{name}");
            seen += 1;
        }
        assert!(seen >= 2);
    }

    #[test]
    fn the_document_has_the_recorded_sizes() {
        const DOCUMENT: &str = include_str!("../../docs/capture-kernel.md");
        let of = |name: &str, key: &str| {
            let mut tables = FLOORS.split("[[floor]]").skip(1);
            let table = tables.find(|table| value(table, "name") == name);
            value(table.unwrap(), key).parse::<u64>().unwrap()
        };
        for (key, row) in [
            ("unpacked", "| the image, unpacked |"),
            ("image", "| the image, compressed: free again"),
        ] {
            let line = DOCUMENT.lines().find(|line| line.starts_with(row)).unwrap();
            let tenths = |name| (of(name, key) * 10 + MIB / 2) / MIB;
            let shown = ["6.1", "6.12", "own"].map(tenths);
            let shown = shown.map(|tenths| format!(" {}.{} |", tenths / 10, tenths % 10));
            assert!(line.ends_with(&shown.concat()), "{line}: {shown:?}");
        }
    }

    #[test]
    fn parts_are_what_is_added() {
        let machine = Machine {
            kernel: 40 * MIB,
            init_size: 45 * MIB,
            image: MIB,
            unpacked: 3 * MIB,
            cpus: 4,
            page_size: 4096,
            ..Machine::default()
        };
        let estimate = machine.estimate();
        let sum: u64 = estimate.parts.iter().map(|part| part.unpacking).sum();
        assert_eq!(estimate.smallest, sum.div_ceil(MIB));
        assert_eq!(estimate.parts[0].name, "kernel");
        let more = |change: &dyn Fn(&mut Machine)| {
            let mut machine = machine.clone();
            change(&mut machine);
            machine.estimate().smallest
        };
        assert_eq!(
            more(&|machine| machine.unpacked += 10 * MIB),
            estimate.smallest + 10
        );
        let many = || buffers(["mlx5_core", "sd_mod"].into_iter());
        assert!(more(&|machine| machine.buffers = many()) > estimate.smallest + 20);
        assert!(more(&|machine| machine.init_size = 90 * MIB) > 90);
        assert!(more(&|machine| machine.threads = 64) > estimate.smallest);
        let names: Vec<_> = many().into_iter().map(|one| one.driver).collect();
        assert_eq!(names, ["mlx5_core"]);
    }

    #[test]
    fn no_kernel_is_no_panic() {
        assert_eq!(span(b""), None);
        let mut file = vec![0xff; 0x400];
        file[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(span(&file), None);
    }
}
