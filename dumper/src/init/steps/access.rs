//! The keys that a step needs for its target, from the image.

use super::RUN;
use crate::config::Config;
use crate::target::Access;
use std::path::Path;

/// What any target may need, for target number `number`. A file that is not there is one that is not needed, or the target says so.
pub(super) fn of(config: &Config, number: u8) -> Access {
    Access {
        secrets: Path::new("/etc/baredump").into(),
        ledger: Path::new(RUN).join(format!("put-{number}.json")),
        timeout: config.device_timeout,
        // Less than PID 1 has: the error then names the server.
        patience: config.stall.mul_f32(0.75),
        // PID 1 ends the wait with the deadline, and the target's own.
        last: config.deadline,
    }
}
