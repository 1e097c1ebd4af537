//! A dead kernel that never lived: physical memory with page tables, mem_section, struct pages, utsname and a printk ring, as an
//! ELF vmcore, together with what a dump of it must hold.

mod btf;
pub mod elf;
pub mod generation;
mod huge;
pub mod kallsyms;
pub mod kind;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod paging;
pub mod printk;
mod vmcore;
mod vmcoreinfo;
mod zoo;

pub use generation::Generation;
pub use huge::{HugeMachine, Idle};
pub use kallsyms::Kallsyms;
pub use kind::{Kind, Rules};
pub use machine::{Arm64, Machine};
pub use vmcore::FakeVmcore;

use elf::Segment;
use generation::Compound;
use layout::{Addresses, IMAGE_SIZE, Layout};
use memory::Memory;
use paging::Tables;
use printk::{Places, Record};
use std::ops::Range;

/// Pages that the kernel holds as one.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// First page.
    pub pfn: u64,
    /// What for.
    pub kind: Kind,
    /// Pages in it.
    pub pages: u64,
    /// The order that the kernel's fields claim; `None` for a single page.
    pub order: Option<u64>,
    /// Pages that go when it is dropped.
    pub dropped: u64,
}

/// A synthetic kernel under construction.
#[derive(Clone, Debug)]
pub struct FakeKernel {
    generation: Generation,
    machine: Machine,
    layout: Layout,
    ram: Vec<Range<u64>>,
    blocks: Vec<Block>,
    records: Vec<Record>,
    vmcoreinfo: bool,
    without_keys: Vec<String>,
    other_lines: Vec<(String, String)>,
    mem_section_by_pointer: bool,
    btf: bool,
    kallsyms: Option<Kallsyms>,
}

impl FakeKernel {
    /// An x86_64 kernel with 4-level page tables whose memory is all its own, and a short log.
    pub fn new(generation: Generation) -> Self {
        Self::on(Machine::X86 { levels: 4 }, generation)
    }

    /// The same on any machine.
    pub fn on(machine: Machine, generation: Generation) -> Self {
        let layout = Layout::new(machine);
        Self {
            generation,
            machine,
            ram: layout.ram.to_vec(),
            layout,
            blocks: Vec::new(),
            records: zoo::log(),
            vmcoreinfo: true,
            without_keys: Vec::new(),
            other_lines: Vec::new(),
            mem_section_by_pointer: false,
            btf: false,
            kallsyms: None,
        }
    }

    /// Page tables of 5 levels.
    pub fn five_levels(mut self) -> Self {
        self.machine = Machine::X86 { levels: 5 };
        self
    }

    /// More physical memory. In section 3 it has struct pages, beyond there is no mem_map.
    pub fn ram(mut self, range: Range<u64>) -> Self {
        self.ram.push(range);
        self
    }

    /// A single page.
    pub fn page(mut self, pfn: u64, kind: Kind) -> Self {
        let order = match kind {
            Kind::BuddyAbsurd => Some(11 + pfn % 90),
            kind if kind.is_free_block() => Some(0),
            _ => None,
        };
        self.blocks.push(Block {
            pfn,
            kind,
            pages: 1,
            order,
            dropped: 1,
        });
        self
    }

    /// A compound page.
    pub fn compound(mut self, pfn: u64, order: u64, kind: Kind) -> Self {
        self.blocks.push(Block {
            pfn,
            kind,
            pages: 1 << order,
            order: Some(order),
            dropped: 1 << order,
        });
        self
    }

    /// A compound page of 2^`order` pages whose fields claim `claimed`, which no reader may believe.
    pub fn odd_compound(mut self, pfn: u64, order: u64, claimed: u64, kind: Kind) -> Self {
        self.blocks.push(Block {
            pfn,
            kind,
            pages: 1 << order,
            order: Some(claimed),
            dropped: 1,
        });
        self
    }

    /// A free block.
    pub fn free(mut self, pfn: u64, order: u64) -> Self {
        self.blocks.push(Block {
            pfn,
            kind: Kind::Buddy,
            pages: 1 << order,
            order: Some(order),
            dropped: 1 << order,
        });
        self
    }

    /// A block of unaccepted memory: always of the allocator's largest order.
    pub fn unaccepted(mut self, pfn: u64) -> Self {
        self.blocks.push(Block {
            pfn,
            kind: Kind::Unaccepted,
            pages: 1024,
            order: Some(3),
            dropped: 1024,
        });
        self
    }

    /// Another log.
    pub fn log(mut self, records: Vec<Record>) -> Self {
        self.records = records;
        self
    }

    /// No VMCOREINFO note.
    pub fn without_vmcoreinfo(mut self) -> Self {
        self.vmcoreinfo = false;
        self
    }

    /// Leaves the line that begins with `KEY=` out of VMCOREINFO.
    pub fn without_key(mut self, key: &str) -> Self {
        self.without_keys.push(format!("{key}="));
        self
    }

    /// Another value of `NUMBER(name)`.
    pub fn with_number(mut self, name: &str, value: &str) -> Self {
        let key = format!("NUMBER({name})=");
        self.other_lines.push((key, value.to_owned()));
        self
    }

    /// The first page for tests.
    pub fn test_low(&self) -> u64 {
        self.layout.test_low.start
    }

    /// `SYMBOL(mem_section)` is the address of the variable, as in the first releases of 4.15.
    pub fn mem_section_by_pointer(mut self) -> Self {
        self.mem_section_by_pointer = true;
        self
    }

    /// BTF in the image.
    pub fn btf(mut self) -> Self {
        self.btf = true;
        self
    }

    /// Tables of symbols in the image, and where they are in VMCOREINFO (6.0 and later).
    pub fn kallsyms(mut self, form: Kallsyms) -> Self {
        self.kallsyms = Some(form);
        self
    }

    /// Lays everything out.
    pub fn build(self) -> FakeVmcore {
        let a = Addresses::new(self.machine, &self.layout, self.generation);
        let mut memory = Memory::new(self.layout.page);
        for range in &self.ram {
            memory.add(range);
        }
        let tables_end = self.page_tables(&mut memory, &a);
        self.sections(&mut memory, &a);
        self.struct_pages(&mut memory);
        self.utsname(&mut memory, &a);
        self.own_tables(&mut memory, &a);
        let log = self.printk(&mut memory, &a);
        FakeVmcore::new(self, &a, memory, log, tables_end)
    }

    /// Every section with struct pages, as far as there is memory in it.
    fn mapped_sections(&self) -> impl Iterator<Item = (u64, u64)> {
        let has_ram = |section: u64| {
            self.ram
                .iter()
                .any(|r| r.start >> self.layout.section_bits == section)
        };
        self.layout
            .vmemmap
            .into_iter()
            .filter(move |(section, _)| has_ram(*section))
    }

    fn page_tables(&self, memory: &mut Memory, a: &Addresses) -> u64 {
        let layout = &self.layout;
        let mut tables = Tables::new(
            memory,
            self.machine,
            a.image(a.page_table),
            layout.tables()..layout.log_text(),
        );
        let base_shift = layout.page.trailing_zeros();
        let image_shift = if layout.is_small() { base_shift } else { 21 };
        for at in (0..2 << 20).step_by(1 << image_shift) {
            tables.map(memory, a.text + at, layout.image + at, image_shift);
        }
        let ram = layout.base * layout.page;
        match self.machine {
            Machine::X86 { levels: 5 } => tables.map(memory, a.direct(0), 0, 30),
            Machine::X86 { .. } => {
                (0..256).for_each(|i| tables.map(memory, a.direct(i << 21), i << 21, 21))
            }
            Machine::Arm64(cpu) => {
                let block = [30, 25, 29][(cpu.page_shift as usize - 12) / 2];
                tables.map(memory, a.direct(ram), ram, block);
            }
        }
        for (section, start) in layout.vmemmap {
            let map = layout.section_map();
            let virt = a.vmemmap.wrapping_add(section * map);
            let has_pages = self.generation == Generation::V6_1 && section == layout.vmemmap[1].0;
            let shift = if layout.is_small() || has_pages {
                base_shift
            } else {
                21
            };
            for at in (0..map).step_by(1 << shift) {
                tables.map(memory, virt + at, start + at, shift);
            }
        }
        tables.used_up_to()
    }

    fn sections(&self, memory: &mut Memory, a: &Addresses) {
        let page = self.layout.page;
        let (array, root) = (self.layout.heap.start, self.layout.heap.start + page);
        memory.zero(array, 2 * page);
        memory.write_u64(array, a.direct(root));
        memory.write_u64(a.image(a.mem_section_pointer), a.mem_section);
        for (section, _) in self
            .mapped_sections()
            .filter(|(section, _)| *section != self.layout.unmapped_section)
        {
            memory.write_u64(root + section * a.mem_section_size, a.vmemmap | 0xf);
        }
    }

    fn struct_pages(&self, memory: &mut Memory) {
        for (_, start) in self.layout.vmemmap {
            memory.zero(start, self.layout.section_map());
        }
        let page = self.layout.page;
        for pfn in self
            .ram
            .iter()
            .flat_map(|r| r.start / page..r.end.div_ceil(page))
        {
            self.struct_page(memory, pfn, Kind::Kernel, 0);
        }
        for block in &self.blocks {
            let private = block
                .order
                .filter(|_| block.kind.is_free_block())
                .unwrap_or(0);
            self.struct_page(memory, block.pfn, block.kind, private);
            (1..block.pages).for_each(|i| self.struct_page(memory, block.pfn + i, Kind::Kernel, 0));
            if let Some(order) = block.order.filter(|_| !block.kind.is_free_block()) {
                self.compound_fields(memory, block, order);
            }
        }
    }

    fn struct_page(&self, memory: &mut Memory, pfn: u64, kind: Kind, private: u64) {
        if let Some(at) = self.layout.struct_page(pfn) {
            self.struct_page_at(memory, at, kind, private);
        }
    }

    /// The struct page at physical `at`.
    fn struct_page_at(&self, memory: &mut Memory, at: u64, kind: Kind, private: u64) {
        let fields = kind.fields(self.generation);
        memory.write_u64(at, fields.flags);
        memory.write_u64(at + 8, 0xdead_0000_0000_0100);
        memory.write_u64(at + 16, 0xdead_0000_0000_0122);
        memory.write_u64(at + 24, fields.mapping);
        memory.write_u64(at + 40, private);
        memory.write(at + 48, &fields.mapcount.to_le_bytes());
        memory.write(at + 52, &1u32.to_le_bytes());
    }

    fn compound_fields(&self, memory: &mut Memory, block: &Block, order: u64) {
        if let Some(head) = self.layout.struct_page(block.pfn) {
            let tails = (1..block.pages).filter_map(|i| self.layout.struct_page(block.pfn + i));
            self.compound_fields_at(memory, (head, block.pfn), tails, block.kind, order);
        }
    }

    /// The flag of the head at a physical address and pfn, order and destructor in the first tail page, and tails that look like
    /// pages of everybody else.
    fn compound_fields_at(
        &self,
        memory: &mut Memory,
        (head, pfn): (u64, u64),
        tails: impl Iterator<Item = u64>,
        kind: Kind,
        order: u64,
    ) {
        let flags = self.generation.flags();
        memory.write_u64(head, memory.read_u64(head) | 1 << flags.head);
        let word = if self.generation >= Generation::V7_1 {
            0xffff_ffff_ffff_ffc1
        } else {
            0xffff_f1c3_4000_0001 | pfn << 6
        };
        for at in tails {
            memory.write_u64(at, 1 << flags.lru);
            memory.write_u64(at + 8, word);
            memory.write_u64(at + 24, 0xdead_0000_0000_0401);
        }
        let tail = head + 64;
        let hugetlb = kind == Kind::Hugetlb;
        match self.generation.compound() {
            Compound::PageFields | Compound::FolioFields => {
                memory.write(tail + 16, &[1 + u8::from(hugetlb), order as u8])
            }
            Compound::TailFlag => memory.write_u64(tail, order | u64::from(hugetlb) << 8),
            Compound::PageType => memory.write_u64(tail, order),
        }
    }

    fn utsname(&self, memory: &mut Memory, a: &Addresses) {
        let at = a.image(a.uts)
            + if self.generation == Generation::V5_10 {
                4
            } else {
                0
            };
        memory.zero(a.image(a.uts), 512);
        let fields = [
            "Linux",
            "dead-node.example",
            self.generation.release(),
            "#1 SMP Fake 1.2.3-1 (2026-01-01)",
            self.machine.name(),
            "(none)",
        ];
        for (i, field) in (0..).zip(fields) {
            memory.write(at + i * 65, field.as_bytes());
        }
    }

    /// What the kernel says about its own symbols and types.
    fn own_tables(&self, memory: &mut Memory, a: &Addresses) {
        if self.btf {
            let blob = btf::blob(self.generation, a);
            assert!(kallsyms::BTF + blob.len() as u64 <= IMAGE_SIZE);
            memory.write(a.image(a.text + kallsyms::BTF), &blob);
        }
        if let Some(form) = self.kallsyms {
            kallsyms::write(memory, self.machine, form, a);
        }
    }

    fn printk(&self, memory: &mut Memory, a: &Addresses) -> String {
        let text = self.layout.log_text();
        let places = Places {
            ring: a.image(a.ring),
            descs: (a.image(a.text + 0x2_2000), a.text + 0x2_2000),
            infos: (a.image(a.text + 0x2_3000), a.text + 0x2_3000),
            text: (text, a.direct(text)),
            text_ring: a.text_ring(self.generation),
        };
        memory.write_u64(a.image(a.prb), a.ring);
        memory.write_u64(a.image(a.text + 0x2_8080), a.direct(text));
        memory.write_u64(a.image(a.text + 0x2_8088), printk::TEXT);
        memory.zero(a.image(a.text + 0x2_1800), 24);
        printk::write(
            memory,
            &places,
            &self.records,
            self.generation.printk_block_may_end_at_ring_end(),
        )
    }

    fn segments(&self, a: &Addresses) -> Vec<Segment> {
        let text = Segment {
            virt: a.text,
            phys: self.layout.image,
            size: IMAGE_SIZE,
        };
        let ram = self.ram.iter().map(|r| Segment {
            virt: a.direct(r.start),
            phys: r.start,
            size: r.end - r.start,
        });
        std::iter::once(text).chain(ram).collect()
    }
}
