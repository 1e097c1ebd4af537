//! Keys of VMCOREINFO and words of memory, with sentences for what is missing.

use crate::addr::VirtAddr;
use crate::kernel::virt::{VirtError, VirtMem};
use crate::vmcore::VmcoreInfo;

/// No structure of the log is larger.
const MAX_STRUCT: u64 = 4096;
/// No log is larger (`log_buf_len=` takes at most 2 GiB).
const MAX_LOG: u64 = 1 << 31;

/// Offset of a member.
pub(super) fn offset(info: &VmcoreInfo, name: &str) -> Result<u64, String> {
    let found = info.offset(name).map(|o| o as u64);
    found.ok_or_else(|| format!("VMCOREINFO lacks OFFSET({name})"))
}

/// Size of a structure.
pub(super) fn size(info: &VmcoreInfo, name: &str) -> Result<u64, String> {
    match info.size(name) {
        None => Err(format!("VMCOREINFO lacks SIZE({name})")),
        Some(size) if size > MAX_STRUCT => Err(format!("SIZE({name})={size} is nonsense")),
        Some(size) => Ok(size),
    }
}

/// Address of a variable.
pub(super) fn symbol(info: &VmcoreInfo, name: &str) -> Result<VirtAddr, String> {
    let found = info.symbol(name).map(VirtAddr::new);
    found.ok_or_else(|| format!("VMCOREINFO lacks SYMBOL({name})"))
}

/// A sentence for memory that cannot be read.
pub(super) fn unreadable(e: VirtError) -> String {
    format!("the log cannot be read: {e}")
}

/// A 32-bit variable.
pub(super) fn read_u32(mem: &VirtMem<'_>, at: VirtAddr) -> Result<u32, String> {
    let mut bytes = [0; 4];
    mem.read(at, &mut bytes).map_err(unreadable)?;
    Ok(u32::from_le_bytes(bytes))
}

/// A 64-bit variable.
pub(super) fn read_u64(mem: &VirtMem<'_>, at: VirtAddr) -> Result<u64, String> {
    mem.read_u64(at).map_err(unreadable)
}

/// `log_buf` and `log_buf_len`: where the log is and how long.
pub(super) fn log_buf(mem: &VirtMem<'_>, info: &VmcoreInfo) -> Result<(VirtAddr, u64), String> {
    let at = read_u64(mem, symbol(info, "log_buf")?)?;
    let len = u64::from(read_u32(mem, symbol(info, "log_buf_len")?)?);
    if len == 0 || len > MAX_LOG {
        return Err(format!(
            "log_buf_len is {len}: at most {MAX_LOG} makes sense"
        ));
    }
    Ok((VirtAddr::new(at), len))
}

/// The `N` bytes at `at` in `bytes`.
pub(super) fn field<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..)?.first_chunk().copied()
}

/// Text in a field of fixed size, up to the first NUL.
pub(super) fn name(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    let field = bytes.get(at..at.checked_add(usize::try_from(len).ok()?)?)?;
    let text = field.split(|b| *b == 0).next()?;
    (!text.is_empty()).then_some(text)
}
