//! Files that a server takes from their start to their end.

use std::io;

/// Sees that bytes for `offset` are what comes next after `written`, in a file of which nothing has failed.
///
/// # Errors
/// What has failed, or that they come out of turn.
pub(super) fn in_turn(failed: Option<&str>, offset: u64, written: u64) -> io::Result<()> {
    match failed {
        Some(why) => Err(io::Error::other(why.to_owned())),
        None if offset != written => Err(io::ErrorKind::NotSeekable.into()),
        None => Ok(()),
    }
}
