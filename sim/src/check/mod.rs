//! Properties judged on the ground truth, one a file.

mod single_owner;

pub use single_owner::SingleOwner;

use crate::ground::Ground;
use hb_core::time::Instant;

/// Watches one property after every event.
pub trait Check {
    /// Looks at the truth at `now`.
    fn look(&mut self, now: Instant, ground: &Ground);

    /// What was violated so far, one sentence each.
    fn violations(&self, now: Instant) -> Vec<String>;
}
