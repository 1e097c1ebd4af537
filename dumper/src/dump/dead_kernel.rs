//! The dead kernel as far as it can be understood.

use super::{DmesgSummary, DumpError, Judging, search};
use crate::addr::{PageSize, VirtAddr};
use crate::arch::{self, Arch, Evidence, PageTables};
use crate::filter::DumpLevel;
use crate::kernel::memmap::{self, MemMap};
use crate::kernel::page::PageRules;
use crate::kernel::utsname::Utsname;
use crate::kernel::virt::VirtMem;
use crate::kernel::{Basics, layout, printk};
use crate::vmcore::{Pages, PhysMem, Vmcore, VmcoreInfo};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// Facts about the dead kernel for names and reports; everything that could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `utsname.nodename`, raw: hostile input.
    pub nodename: Option<String>,
    /// `OSRELEASE` or `utsname.release`.
    pub release: Option<String>,
    /// `BUILD-ID`.
    pub build_id: Option<String>,
    /// `CRASHTIME`, seconds since 1970.
    pub crash_time: Option<i64>,
}

/// An opened vmcore and what its notes and memory say.
pub struct DeadKernel {
    core: Vmcore,
    info: VmcoreInfo,
    page_size: PageSize,
    arch: Option<&'static dyn Arch>,
    pub(super) tables: Result<Box<dyn PageTables>, String>,
    utsname: Option<Utsname>,
    identity: Identity,
    warnings: Vec<String>,
    pub(super) mmap: bool,
}

impl DeadKernel {
    /// Opens a vmcore and learns what it can. What cannot be learned is in [`DeadKernel::warnings`] and lowers the level later.
    ///
    /// # Errors
    /// When the file is neither an ELF vmcore nor a dump, or has no memory in it.
    pub fn open(vmcore: &Path, mmap: bool) -> Result<Self, DumpError> {
        Ok(Self::understand(
            super::open(&[vmcore])?.into_vmcore(),
            mmap,
        ))
    }

    /// Learns what it can of the kernel whose memory `core` is.
    #[must_use]
    pub fn understand(mut core: Vmcore, mmap: bool) -> Self {
        let mut warnings = core.warnings().to_vec();
        let others = core.notes().other_infos.len();
        // Of several notes the one of the kernel in the memory; where none is, the first again.
        for _ in 0..=others {
            if others == 0 || is_of(&core, &noted(&core)) {
                break;
            }
            core.next_info();
        }
        if others != 0 {
            warnings.push(
                "the vmcore has several VMCOREINFO notes: the one that fits its memory is taken"
                    .into(),
            );
        }
        let said = noted(&core);
        let info = whose(&mut core, said, &mut warnings);
        Self::learn(core, info, warnings, mmap)
    }

    /// The same by another VMCOREINFO than the vmcore's.
    #[must_use]
    pub fn understand_by(core: Vmcore, vmcoreinfo: &[u8], mmap: bool) -> Self {
        let warnings = core.warnings().to_vec();
        Self::learn(core, VmcoreInfo::parse(vmcoreinfo), warnings, mmap)
    }

    fn learn(
        mut core: Vmcore,
        mut info: VmcoreInfo,
        mut warnings: Vec<String>,
        mmap: bool,
    ) -> Self {
        if info.is_empty() {
            warnings.push("the vmcore has no VMCOREINFO note, and its memory holds none: its pages cannot be told apart, its log cannot be found".into());
        }
        let arch = find_arch(&mut core, &info, &mut warnings);
        let page_size = page_size(&mut core, &info, arch, &mut warnings);
        let tables = find_tables(&core, &info, arch, page_size, &mut warnings);
        let utsname = match &tables {
            Ok(tables) => {
                let reader = core.reader(mmap);
                let mem = VirtMem::new(&reader, tables.as_ref());
                warnings.extend(layout::complete(&mut info, &mem));
                Utsname::read(&mem, &info)
            }
            Err(why) => Err(why.clone()),
        };
        let utsname = utsname
            .map_err(|why| {
                if !info.is_empty() {
                    warnings.push(why)
                }
            })
            .ok()
            .or_else(|| core.origin().and_then(Utsname::of_dump));
        let field = |index| {
            utsname
                .as_ref()
                .and_then(|u| u.field(index))
                .map(str::to_owned)
        };
        let identity = Identity {
            nodename: field(1),
            release: info
                .text("OSRELEASE")
                .map(str::to_owned)
                .or_else(|| field(2)),
            build_id: info.text("BUILD-ID").map(str::to_owned),
            crash_time: info
                .text("CRASHTIME")
                .and_then(|t| t.parse().ok())
                .or_else(|| core.origin().map(|o| o.crash_time).filter(|t| *t != 0)),
        };
        Self {
            core,
            info,
            page_size,
            arch,
            tables,
            utsname,
            identity,
            warnings,
            mmap,
        }
    }

    /// What was not as it should be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Names and times.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The vmcore.
    #[must_use]
    pub fn core(&self) -> &Vmcore {
        &self.core
    }

    /// VMCOREINFO.
    #[must_use]
    pub fn info(&self) -> &VmcoreInfo {
        &self.info
    }

    /// Its page size.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Its architecture, when it is one that is read.
    #[must_use]
    pub fn arch(&self) -> Option<&'static dyn Arch> {
        self.arch
    }

    /// Its utsname.
    #[must_use]
    pub fn utsname(&self) -> Option<&Utsname> {
        self.utsname.as_ref()
    }

    /// The stack pointers of the first CPUs at the crash.
    pub(super) fn stacks(&self) -> impl Iterator<Item = VirtAddr> + '_ {
        let statuses = self.core.notes().statuses.iter();
        statuses.filter_map(|(at, size)| {
            let offset = self.arch?.stack_in_status();
            let mut pointer = [0; 8];
            let read =
                offset + 8 <= *size && self.core.read_notes(at + offset, &mut pointer).is_ok();
            read.then(|| VirtAddr::new(u64::from_le_bytes(pointer)))
        })
    }

    pub(super) fn phys_base(&self) -> u64 {
        let known = self
            .arch
            .map_or(0, |a| a.phys_base(&self.info, self.core.segments()));
        match self.core.origin() {
            Some(origin) if known == 0 => origin.phys_base,
            _ => known,
        }
    }

    /// Writes the dead kernel's log.
    ///
    /// # Errors
    /// When the log cannot be found or `out` fails.
    pub fn dmesg(&self, out: &mut dyn Write) -> Result<DmesgSummary, DumpError> {
        self.dmesg_as(printk::Style::default(), out)
    }

    /// Writes the dead kernel's log in another form.
    ///
    /// # Errors
    /// As [`DeadKernel::dmesg`].
    pub fn dmesg_as(
        &self,
        style: printk::Style,
        out: &mut dyn Write,
    ) -> Result<DmesgSummary, DumpError> {
        super::dmesg::write(self, style, out)
    }

    /// What is needed to judge pages.
    ///
    /// # Errors
    /// A sentence that says why no page can be judged.
    pub(super) fn judging<'a>(
        &'a self,
        reader: &'a dyn PhysMem,
        level: DumpLevel,
        strict: bool,
        max_mapnr: u64,
    ) -> Result<Judging<'a>, String> {
        if self.info.is_empty() {
            return Err("the vmcore has no VMCOREINFO note".into());
        }
        let arch = self.arch.ok_or_else(|| {
            format!(
                "vmcores of ELF machine {} are not understood",
                self.core.machine()
            )
        })?;
        let tables = self.tables.as_ref().map_err(String::clone)?;
        let rules = PageRules::new(&self.info, level, strict)?;
        let virt = VirtMem::new(reader, tables.as_ref());
        let basics = Basics {
            arch,
            page_size: self.page_size,
            kernel_base: tables.kernel_base(),
        };
        let map = MemMap::read(&virt, &basics, &self.info, self.core.extents(), max_mapnr)?;
        Ok((virt, map, rules))
    }

    /// Bytes of memory that was added too late to be in the vmcore.
    pub(super) fn added(&self, reader: &dyn PhysMem) -> u64 {
        let (Some(arch), Ok(tables)) = (self.arch, self.tables.as_ref()) else {
            return 0;
        };
        let basics = Basics {
            arch,
            page_size: self.page_size,
            kernel_base: tables.kernel_base(),
        };
        let virt = VirtMem::new(reader, tables.as_ref());
        memmap::added(&virt, &basics, &self.info, self.core.extents())
    }

    /// Virtual memory of the dead kernel, for tools.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    pub fn virt<'a>(&'a self, reader: &'a dyn PhysMem) -> Result<VirtMem<'a>, String> {
        let tables = self.tables.as_ref().map_err(String::clone)?;
        Ok(VirtMem::new(reader, tables.as_ref()))
    }

    /// The lowest address that a pointer to data can have; `None` when the page tables are not known.
    #[must_use]
    pub fn kernel_base(&self) -> Option<VirtAddr> {
        self.tables.as_ref().ok().map(|t| t.kernel_base())
    }
}

/// VMCOREINFO of the kernel whose memory this is: what the note says, else what is found in the memory. In a capture kernel the note is
/// of the kernel that has died.
fn whose(core: &mut Vmcore, said: VmcoreInfo, warnings: &mut Vec<String>) -> VmcoreInfo {
    let in_capture = core.file().is_some_and(|file| file.to_map().is_some());
    if !said.is_empty() && (in_capture || is_of(core, &said)) {
        return said;
    }
    let found = search::search(core);
    let mut found = found.into_iter().filter(|found| is_of(core, &found.info));
    let (Some(first), second) = (found.next(), found.next()) else {
        return said;
    };
    let release = |info: &VmcoreInfo| info.text("OSRELEASE").unwrap_or_default().to_owned();
    let (name, at) = (release(&first.info), first.at);
    warnings.push(if said.is_empty() {
        format!("the vmcore has no VMCOREINFO note; that of kernel {name} is in its memory, at physical {at}")
    } else {
        let other = release(&said);
        format!("the VMCOREINFO note is of kernel {other}, which is not in the memory; that of kernel {name} is, at physical {at}")
    });
    if let Some(second) = second {
        let (other, there) = (release(&second.info), second.at);
        warnings.push(format!(
            "the memory holds two kernels, {name} and {other} (VMCOREINFO at physical {there}): the first is taken; the other's text in a file and -i FILE takes that"
        ));
    }
    drop(found);
    core.add_vmcoreinfo(&first.text);
    first.info
}

/// Whether the kernel that this VMCOREINFO is of is in the memory.
fn is_of(core: &Vmcore, info: &VmcoreInfo) -> bool {
    let proof = prove(core, info);
    proof.is_some_and(|(_, utsname)| utsname.field(2) == info.text("OSRELEASE"))
}

/// The architecture whose page tables lead to the kernel's utsname, the one that the headers name first.
fn prove(core: &Vmcore, info: &VmcoreInfo) -> Option<(&'static dyn Arch, Utsname)> {
    let said = said_page_size(info);
    arch::all_from(core.machine()).find_map(|arch| {
        let sizes = arch.page_sizes();
        let mut sizes = said.iter().chain(sizes).filter(|s| sizes.contains(s));
        let utsname = sizes.find_map(|size| utsname_by(core, info, arch, *size))?;
        Some((arch, utsname))
    })
}

/// The architecture that is proved, else the one that the headers name: QEMU does not name it in its newer dumps, and a header can be
/// damaged. Where neither is known, a key of VMCOREINFO decides.
fn find_arch(
    core: &mut Vmcore,
    info: &VmcoreInfo,
    warnings: &mut Vec<String>,
) -> Option<&'static dyn Arch> {
    let said = core.machine();
    let of_headers = arch::by_elf_machine(said);
    if info.is_empty() {
        return of_headers;
    }
    let has_key = |arch: &&dyn Arch| info.text(arch.own_key()).is_some();
    let arch = prove(core, info)
        .map(|(arch, _)| arch)
        .or(of_headers)
        .or_else(|| arch::all_from(said).find(has_key).filter(|_| said == 0))?;
    if arch.elf_machine() != said {
        let name = arch::name_of(said).map_or_else(|| format!("ELF machine {said}"), str::to_owned);
        if said != 0 {
            let own = arch.name();
            warnings.push(format!(
                "the headers say {name}; the kernel is one of {own}"
            ));
        }
        core.set_machine(arch.elf_machine());
    }
    Some(arch)
}

/// The page size that VMCOREINFO says, unless the page tables make sense with another one only. A dump has blocks, which can hold
/// several pages.
fn page_size(
    core: &mut Vmcore,
    info: &VmcoreInfo,
    arch: Option<&'static dyn Arch>,
    warnings: &mut Vec<String>,
) -> PageSize {
    if let Some(block) = core.pages().map(Pages::page_size) {
        let sizes = arch.map_or(&[][..], Arch::page_sizes);
        let said = said_page_size(info);
        let mut all = said.iter().chain(sizes).copied();
        let page = arch.filter(|_| !info.is_empty()).and_then(|arch| {
            all.find(|s| {
                sizes.contains(s)
                    && s.shift() < block.shift()
                    && utsname_by(core, info, arch, *s).is_some()
            })
        });
        return page.filter(|page| core.divide(*page)).unwrap_or(block);
    }
    let said = said_page_size(info);
    let Some(arch) = arch.filter(|_| !info.is_empty()) else {
        return said.unwrap_or(PageSize::K4);
    };
    let sizes = arch.page_sizes();
    let said_first = said.iter().chain(sizes).filter(|s| sizes.contains(s));
    let found = match sizes {
        [only] => Some(*only),
        _ => said_first
            .copied()
            .find(|s| utsname_by(core, info, arch, *s).is_some()),
    };
    let size = found.or(said).unwrap_or(PageSize::K4);
    if said != Some(size) {
        let bytes = size.bytes();
        warnings.push(format!(
            "VMCOREINFO has no usable PAGESIZE; {bytes} is assumed"
        ));
    }
    size
}

/// The kernel's utsname by page tables with pages of this size.
fn utsname_by(
    core: &Vmcore,
    info: &VmcoreInfo,
    arch: &dyn Arch,
    page_size: PageSize,
) -> Option<Utsname> {
    let mem = core.reader(false);
    let dead = Evidence {
        info,
        segments: core.segments(),
        page_size,
        mem: &mem,
    };
    let tables = arch.page_tables(&dead, &mut Vec::new()).ok()?;
    Utsname::read(&VirtMem::new(&mem, tables.as_ref()), info).ok()
}

/// The VMCOREINFO of the notes.
fn noted(core: &Vmcore) -> VmcoreInfo {
    let text = core.notes().vmcoreinfo.as_ref();
    VmcoreInfo::parse(text.map_or(&[], |(_, text)| text))
}

fn said_page_size(info: &VmcoreInfo) -> Option<PageSize> {
    PageSize::new(info.text("PAGESIZE")?.parse().ok()?)
}

fn find_tables(
    core: &Vmcore,
    info: &VmcoreInfo,
    arch: Option<&'static dyn Arch>,
    page_size: PageSize,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn PageTables>, String> {
    if info.is_empty() {
        return Err("the vmcore has no VMCOREINFO note".into());
    }
    if core.pages().is_some() && said_page_size(info).is_some_and(|said| said != page_size) {
        return Err(format!(
            "the dump has blocks of {} bytes, the kernel had pages of another size",
            page_size.bytes()
        ));
    }
    let arch = arch.ok_or_else(|| {
        format!(
            "vmcores of ELF machine {} are not understood",
            core.machine()
        )
    })?;
    if arch.page_sizes().len() > 1
        && said_page_size(info).is_none()
        && utsname_by(core, info, arch, page_size).is_none()
    {
        return Err(
            "VMCOREINFO has no usable PAGESIZE, and nothing else tells the size of a page".into(),
        );
    }
    let dead = Evidence {
        info,
        segments: core.segments(),
        page_size,
        mem: &core.reader(false),
    };
    arch.page_tables(&dead, warnings)
}
