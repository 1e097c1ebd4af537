//! The keys that a step needs for its target, from the image.

use super::Context;
use crate::config::Config;
use crate::target::Access;
use std::path::Path;

/// What `target` may need. A file that is not there is one that is not needed, or the target says so.
pub(super) fn of(config: &Config, _context: &Context) -> Access {
    Access {
        secrets: Path::new("/etc/baredump").into(),
        timeout: config.device_timeout,
        // Less than PID 1 has: the error then names the server.
        patience: config.stall.mul_f32(0.75),
    }
}
