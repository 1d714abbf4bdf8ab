//! What a start of a group needs to be sure that nobody else runs it, and the times that follow. Read OWNERSHIP 3 and 5.
//!
//! Directives of ours, which a 3.0.6 refuses:
//!
//! | directive | meaning |
//! |---|---|
//! | `quorum majority` | groups start only with the consent of a majority of the nodes |
//! | `ownership at-most-one [KEY...]` | these groups (all without keys) start only with proof that nobody else runs them |
//! | `ownership at-least-one [KEY...]` | they also start when the other is silent for its dead time, as with 3.0.6 |
//! | `dialect classic` | this node speaks as a 3.0.6 even among our own |

use super::diagnostic::{Code, Report, Span};
use super::text::Word;
use super::{Config, Group};
use crate::digest::digest_of;
use crate::ids::GroupId;
use crate::resource::native::Exclusion;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

/// Clock rates of machines differ by at most one in this many.
const DRIFT: u32 = 100;
/// What waking up, timers and the guard may take.
const SLACK: Duration = Duration::from_millis(50);
/// A round trip that the self deadline leaves room for beside three heartbeats.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// One `ownership` line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// `at-most-one`.
    pub at_most_one: bool,
    /// The groups it is about; all if there are none.
    pub keys: Vec<String>,
    /// The line.
    pub span: Span,
}

/// Reads the words of an `ownership` line.
pub(super) fn ownership(words: &[Word<'_>], report: &mut Report) -> Option<Ownership> {
    let (first, keys) = words.split_first()?;
    let at_most_one = match first.text {
        "at-most-one" => true,
        "at-least-one" => false,
        other => {
            let message = format_args!("Illegal value [{other}] for ownership");
            report.advise(Code::IllegalValue, first.span, message, "write `at-most-one` or `at-least-one`");
            return None;
        }
    };
    Some(Ownership { at_most_one, keys: keys.iter().map(|key| key.text.to_string()).collect(), span: first.span })
}

impl Config {
    /// Whether this node announces and speaks the native dialect.
    pub fn speaks_native(&self) -> bool {
        self.settings.native
    }

    /// What a start of the group needs; of a group of others, the strictest.
    pub fn exclusion(&self, group: Option<GroupId>) -> Exclusion {
        let quorum = self.settings.quorum;
        let fencing = false;
        let key = group.and_then(|group| self.groups.get(group.index())).map(|group| group.key.as_str());
        let lines = || self.settings.ownership.iter().rev();
        let named = lines().find(|line| key.is_some_and(|key| line.keys.iter().any(|named| named == key)));
        let line = named.or_else(|| lines().find(|line| line.keys.is_empty()));
        let at_most_one = line.map_or(quorum || fencing, |line| line.at_most_one);
        Exclusion { quorum: quorum && at_most_one, fencing: fencing && at_most_one, silence: !at_most_one }
    }

    /// A digest of what a group is: its home and its resources. Equal on all nodes that list it alike.
    pub fn definition(&self, group: GroupId) -> Option<u64> {
        let Group { home, resources, .. } = self.groups.get(group.index())?;
        let home = self.node(*home)?.name.as_str();
        let words: Vec<&str> = resources.iter().map(super::Resource::word).collect();
        Some(digest_of(&(home, words)))
    }

    /// The longest time that the release of groups may take: S of OWNERSHIP 5. Groups are released in parallel.
    pub fn release_limit(&self) -> Duration {
        SLACK
    }

    /// After this long without an echo a node gives way, if its dead time is `deadtime` (OWNERSHIP 5): so early that it has
    /// released everything before others may start it, whatever the clocks do. `(D_self + S)(1 + rho) <= D (1 - rho)`.
    ///
    /// Where nothing demands at most one owner an eighth of the dead time is left for the release, and three heartbeats
    /// always pass.
    pub fn self_deadline(&self, deadtime: Duration) -> Duration {
        let drift = deadtime.checked_div(DRIFT).unwrap_or_default().saturating_mul(2);
        let until_taken = deadtime.saturating_sub(drift);
        let least = self.timing.keepalive().saturating_mul(3).saturating_add(ROUND_TRIP);
        if self.settings.quorum {
            return until_taken.saturating_sub(self.release_limit());
        }
        until_taken.saturating_sub(deadtime.checked_div(8).unwrap_or_default()).max(least)
    }
}
