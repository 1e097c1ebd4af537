//! Help texts.

/// `baredump --help`.
pub(super) const TOP: &str = "\
baredump - crash dumps of a panicked Linux kernel

usage: baredump dump [OPTIONS] VMCORE DUMPFILE   filter and compress a vmcore
       baredump dmesg VMCORE [OUT]               print the dead kernel's log
       baredump info FILE [--json]               what a vmcore or a dump holds
       baredump rearrange [FLATFILE] DUMPFILE    restore the file of a flattened stream
       baredump recover DEVICE DIR               take the dump from a claimed partition
       baredump decrypt FILE|DIR -i IDENTITY     decrypt a dump and restore its file
       baredump verify DUMP|DIR                  check a dump: structure, bitmaps, every page; or all files of a capture
       baredump OPTIONS... VMCORE DUMPFILE       as makedumpfile (also when called by that name)

VMCORE is /proc/vmcore in a capture kernel, or an ELF vmcore file. DUMP is a kdump-compressed file,
which crash, drgn, libkdumpfile and makedumpfile open too.

'baredump COMMAND --help' explains a command. In the capture kernel the same program is PID 1.

  -h, --help               this text
  -V, --version            the version

exit codes: 0 complete, 1 failed, 2 usage or unusable input, 3 partial dump written
";

/// `baredump dump --help`.
pub(super) const DUMP: &str = "\
usage: baredump dump [OPTIONS] VMCORE DUMPFILE
       baredump dump -F|--stream NAME [OPTIONS] VMCORE [DUMPFILE]

Drops the pages that nobody needs, compresses the rest and writes a kdump-compressed file.
While it is written it is DUMPFILE-incomplete, and stays so if it cannot be completed.
A stream (-F, --stream) goes to standard output without DUMPFILE or with '-'; to a device it is written in place.

  -d, --level N            dump level 0 to 31, the sum of what is dropped (default 31):
                           1 zero pages, 2 page cache, 4 private page cache, 8 user pages, 16 free pages;
                           of N,N... the next is tried when the dump does not fit
  -L, --limit SIZE         as if there were room for SIZE bytes (or SIZE K, M, G) only
  -z                       compress pages with zstd (default)
  -c                       compress pages with zlib
  -l                       compress pages with LZO
  -p                       compress pages with snappy
      --compress NAME      zstd, zstd-fast, zlib, lzo, snappy or none
      --format NAME        kdump (default), elf, or raw: the vmcore byte for byte, whatever the level
  -E                       --format elf
  -F, --flatten            write a flattened stream, from which 'baredump rearrange' restores the file
      --stream NAME        write a flattened stream of uncompressed pages in frames of lz4 or zstd
  -f, --force              replace DUMPFILE if it exists
  -i, --vmcoreinfo FILE    VMCOREINFO of this kernel, for a vmcore that has none
      --dry-run            do all but write; DUMPFILE may be missing
      --num-threads N      worker threads; 0 = none, all in one thread (default: one per CPU)
      --non-mmap           read the vmcore with pread(2) only
      --strict-makedumpfile
                           drop the pages that makedumpfile drops, even where it is wrong
      --message-level N    sum of 1 progress, 2 what is done, 4 errors, 16 report (default 23)
  -h, --help               this text

Called as makedumpfile, or with options first, the defaults are makedumpfile's: level 0, no
compression, no worker threads, DUMPFILE written in place, exit codes 0 and 1. In that form only:

  -R                       restore DUMPFILE from a flattened stream on standard input
      --split              write the dump in parts, which readers take together: VMCORE PART...
      --splitblock-size N  a part ends where a block of N KiB of memory does (default 1048576)
      --reassemble         put the parts of a split dump together: PART... DUMPFILE
      --dump-dmesg         write the dead kernel's log to DUMPFILE, no pages
      --partial-dmesg      of the log only what came after the last 'dmesg -c'
      --check-params       only say whether the command line makes sense
      --show-stats         say how many pages of each kind are dropped
      --mem-usage          only say how many pages of each kind there are: VMCORE, or /proc/kcore
      --vtop ADDRESS       also say where a virtual address is
  -D                       also say what is known of the vmcore
  -v                       print the version

Other options of makedumpfile are accepted and have no effect, with a warning where it would have
written another dump; -g and --diskset are refused.

exit codes: 0 complete, 1 failed, 2 usage or unusable input, 3 partial dump kept as DUMPFILE-incomplete
";

/// `baredump dmesg --help`.
pub(super) const DMESG: &str = "\
usage: baredump dmesg [OPTIONS] VMCORE [OUT]

Prints the dead kernel's log, or writes it to OUT, which must not exist. Each message has the thread (T1) or
CPU (C0) that wrote it, if the kernel kept it.

      --raw                facility and level as <N> before each line, bytes as they are
      --json               a JSON object a line
      --no-caller          without thread and CPU
      --partial            only what came after the last 'dmesg -c'
  -h, --help               this text

exit codes: 0 printed, 1 failed, 2 usage or unusable input
";

/// `baredump info --help`.
pub(super) const INFO: &str = "\
usage: baredump info FILE [--json]

Says what a vmcore or a dump is: kernel, host, time of the crash, memory, dump level, pages.

      --json               as one JSON object
  -h, --help               this text

exit codes: 0 printed, 1 failed, 2 usage or unusable input
";

/// `baredump rearrange --help`.
pub(super) const REARRANGE: &str = "\
usage: baredump rearrange [OPTIONS] [FLATFILE] DUMPFILE

Restores the file that a flattened stream holds, from standard input when FLATFILE is missing or '-'.
FLATFILE may be in frames of lz4 or zstd, as --stream writes them. A stream that is cut off gives
a dump that says it is incomplete.

  -f, --force              replace DUMPFILE if it exists
  -h, --help               this text

exit codes: 0 complete, 1 failed, 2 usage or unusable input, 3 partial dump kept as DUMPFILE-incomplete
";

/// `baredump decrypt --help`.
#[cfg(feature = "age")]
pub(super) const DECRYPT: &str = "\
usage: baredump decrypt FILE -i IDENTITY [-f] [-o OUT]
       baredump decrypt DIR -i IDENTITY [-f] [-o OUTDIR]

Decrypts a FILE that was encrypted to age recipients, or every *.age of a DIR. A flattened stream is restored
on the way, so vmcore.flat.age becomes vmcore. The file is written beside FILE, without .age.
A file that is cut off or was changed gives what comes before, as OUT-incomplete.

  -i, --identity IDENTITY  the private key: a file as age-keygen writes it
  -o, --output OUT         write this file, or into this directory; with '-' decrypted only, to standard output
  -f, --force              replace files that exist
  -h, --help               this text

A key pair is made on a machine that is kept safe, not on the one whose dumps are encrypted:
'age-keygen -o key.txt' writes the private key and prints the public one, age1..., which belongs
into /etc/baredump.toml as recipients = [\"age1...\"]. The private key never leaves key.txt.

exit codes: 0 complete, 1 failed, 2 usage or unusable input (also the wrong private key), 3 partial file kept as OUT-incomplete
";

/// `baredump recover --help`.
pub(super) const RECOVER: &str = "\
usage: baredump recover [OPTIONS] DEVICE DIR

Takes the dump that a capture wrote to DEVICE, a partition that was claimed with 'baredumpctl claim', and makes
a directory of it below DIR, as on any other target. Every block is checked. What was interrupted or
does not hold keeps its incomplete name. The partition is then free for the next dump.

  -k, --keep               leave the dump where it is, or read one once more that was taken
  -h, --help               this text

exit codes: 0 complete, 1 failed, 2 usage or unusable input, 3 partial dump recovered
";

/// `baredump verify --help`.
pub(super) const VERIFY: &str = "\
usage: baredump verify DUMP
       baredump verify DIR

Checks a kdump-compressed file: headers, bitmaps, page descriptors, and that every page decompresses.
Of the DIR of a capture first every file that its report.json lists: that it is there, its size and its CRC-32.
Files that are not listed are named. Encrypted ones are checked as they are. Where a capture ended before its report
did, a dump with its final name is checked alone.

  -h, --help               this text

exit codes: 0 everything holds, 1 a fault is named, 2 usage, 3 everything holds, but the dump of DIR is partial
";
