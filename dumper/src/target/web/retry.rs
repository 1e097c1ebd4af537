//! Trying again: so often and so long as PID 1 does not take it for a capture that hangs.

use super::failure::Failure;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A request is sent so often.
const TRIES: u32 = 5;
/// The first pause between two tries; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(500);

/// Tries until it succeeds, or cannot, or it was tried often or long enough. `again` hears why there is another try.
pub(super) fn persist<S, T>(
    state: &mut S,
    limit: Duration,
    mut attempt: impl FnMut(&mut S) -> Result<T, Failure>,
    mut again: impl FnMut(&mut S, &Failure),
) -> Result<T, Failure> {
    let (since, mut pause) = (Instant::now(), PAUSE);
    for _ in 1..TRIES {
        let failure = match attempt(state) {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        if since.elapsed() + pause >= limit || !failure.passes() {
            return Err(failure);
        }
        again(state, &failure);
        sleep(pause);
        pause *= 2;
    }
    attempt(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        let run = |status: u16, limit: u64| {
            let failing = move |tried: &mut u32| -> Result<(), Failure> {
                *tried += 1;
                let code = String::new();
                Err(Failure::Status { status, code })
            };
            let mut tried = 0;
            let limit = Duration::from_millis(limit);
            assert!(persist(&mut tried, limit, failing, |_, _| {}).is_err());
            tried
        };
        assert_eq!((run(403, 9999), run(503, 0), run(503, 600)), (1, 1, 2));
    }
}
