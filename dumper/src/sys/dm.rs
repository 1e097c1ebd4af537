//! The device-mapper's ioctls.
//!
//! Source: include/uapi/linux/dm-ioctl.h, interface version 4, Linux 2.6 and later.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `sizeof(struct dm_ioctl)`.
pub const HEADER: usize = 312;
/// Where `data_size` is in it.
const SIZE_AT: usize = 12;

/// `_IOWR(DM_IOCTL, command, struct dm_ioctl)` on the control node. `buffer` begins with a `struct dm_ioctl`.
///
/// # Errors
/// As ioctl(2), and when the buffer does not say its own length.
pub fn command(control: &File, command: u8, buffer: &mut [u8]) -> io::Result<()> {
    let said = buffer.get(SIZE_AT..).and_then(<[u8]>::first_chunk);
    let said = said.map(|bytes| u32::from_ne_bytes(*bytes) as usize);
    if buffer.len() < HEADER || said != Some(buffer.len()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let request = (3u32 << 30) | (312 << 16) | (0xfd << 8) | u32::from(command);
    // SAFETY: the kernel reads and writes at most `data_size` bytes of the buffer, which is its length.
    let done = unsafe { libc::ioctl(control.as_raw_fd(), request as _, buffer.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_must_say_its_length() {
        let file = tempfile::tempfile().unwrap();
        let mut buffer = vec![0; HEADER];
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(
            kind(command(&file, 0, &mut buffer)),
            io::ErrorKind::InvalidInput
        );
        buffer[SIZE_AT..SIZE_AT + 4].copy_from_slice(&312u32.to_ne_bytes());
        assert_ne!(
            kind(command(&file, 0, &mut buffer)),
            io::ErrorKind::InvalidInput
        );
    }
}
