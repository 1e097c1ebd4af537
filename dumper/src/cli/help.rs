//! Help texts.

/// `baredump --help`.
pub(super) const TOP: &str = "\
baredump - crash dumps of a panicked Linux kernel

usage: baredump dump [OPTIONS] VMCORE DUMPFILE   filter and compress a vmcore
       baredump dmesg VMCORE [OUT]               print the dead kernel's log
       baredump info FILE [--json]               what a vmcore or a dump holds
       baredump verify DUMP                      check a dump: structure, bitmaps, every page
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

Drops the pages that nobody needs, compresses the rest and writes a kdump-compressed file.
While it is written it is DUMPFILE-incomplete, and stays so if it cannot be completed.

  -d, --level N            dump level 0 to 31, the sum of what is dropped (default 31):
                           1 zero pages, 2 page cache, 4 private page cache, 8 user pages, 16 free pages
  -z                       compress pages with zstd (default)
  -c                       compress pages with zlib
  -p                       compress pages with snappy
      --compress NAME      zstd, zlib, snappy or none
  -f, --force              replace DUMPFILE if it exists
      --num-threads N      worker threads; 0 = none, all in one thread (default: one per CPU)
      --non-mmap           read the vmcore with pread(2) only
      --strict-makedumpfile
                           drop the pages that makedumpfile drops, even where it is wrong
      --message-level N    sum of 1 progress, 2 what is done, 4 errors, 16 report (default 23)
  -h, --help               this text

Called as makedumpfile, or with options first, the defaults are makedumpfile's: level 0, no
compression, no worker threads, DUMPFILE written in place, exit codes 0 and 1. In that form only:

      --dump-dmesg         write the dead kernel's log to DUMPFILE, no pages

exit codes: 0 complete, 1 failed, 2 usage or unusable input, 3 partial dump kept as DUMPFILE-incomplete
";

/// `baredump dmesg --help`.
pub(super) const DMESG: &str = "\
usage: baredump dmesg VMCORE [OUT]

Prints the dead kernel's log, or writes it to OUT, which must not exist.

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

/// `baredump verify --help`.
pub(super) const VERIFY: &str = "\
usage: baredump verify DUMP

Checks a kdump-compressed file: headers, bitmaps, page descriptors, and that every page decompresses.

  -h, --help               this text

exit codes: 0 everything holds, 1 the first fault is named, 2 usage
";
