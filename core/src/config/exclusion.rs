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

use super::Config;
use super::diagnostic::{Code, Report, Span};
use super::haresources::OWNERS_MAX;
use super::text::Word;
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

    /// Whether groups can be shared natively: in larger clusters there are none, and nobody tells whom it hears.
    pub(crate) fn shares_groups(&self) -> bool {
        self.manages_resources() && self.present().count() <= OWNERS_MAX
    }

    /// What a start of the group needs; of a group of others, the strictest.
    pub fn exclusion(&self, group: Option<GroupId>) -> Exclusion {
        let quorum = self.settings.quorum.is_some();
        let fencing = self.demands_proof();
        let key = group.and_then(|group| self.groups.get(group.index())).map(|group| group.key.as_str());
        let lines = || self.settings.ownership.iter().rev();
        let named = lines().find(|line| key.is_some_and(|key| line.keys.iter().any(|named| named == key)));
        let line = named.or_else(|| lines().find(|line| line.keys.is_empty()));
        let at_most_one = line.map_or(quorum || fencing, |line| line.at_most_one);
        Exclusion { quorum: quorum && at_most_one, fencing: fencing && at_most_one, silence: !at_most_one }
    }

    /// A digest of what a group is: its home and its resources. Equal on all nodes that list it alike.
    pub fn definition(&self, group: GroupId) -> Option<u64> {
        self.groups.get(group.index()).map(|group| group.definition)
    }

    /// The longest time that the release of all groups with at most one owner may take, in parallel: S of OWNERSHIP 5.
    pub fn release_limit(&self) -> Duration {
        let groups = (0..).map(GroupId).zip(&self.groups).filter(|(id, _)| !self.exclusion(Some(*id)).silence);
        let longest = groups.map(|(id, group)| self.limits(id).release(&group.resources)).max();
        longest.unwrap_or_default().saturating_add(SLACK)
    }

    /// After this long without an echo a node gives way, if its dead time is `deadtime` (OWNERSHIP 5): so early that it has
    /// released everything before others may start it, whatever the clocks do. `(D_self + S)(1 + rho) <= D (1 - rho)`.
    ///
    /// Where nothing demands at most one owner an eighth of the dead time is left for the release, and three heartbeats
    /// always pass.
    pub fn self_deadline(&self, deadtime: Duration) -> Duration {
        let drift = deadtime.checked_div(DRIFT).unwrap_or_default().saturating_mul(2);
        let until_taken = deadtime.saturating_sub(drift);
        if self.settings.quorum.is_some() {
            return until_taken.saturating_sub(self.release_limit());
        }
        until_taken.saturating_sub(deadtime.checked_div(8).unwrap_or_default()).max(self.least_self_deadline())
    }

    /// Three heartbeats may be late, and a round trip must fit.
    fn least_self_deadline(&self) -> Duration {
        self.timing.keepalive().saturating_mul(3).saturating_add(ROUND_TRIP)
    }
}

/// Whether a majority can be had, and lost in time (OWNERSHIP 5).
pub(super) fn check(config: &Config, report: &mut Report) {
    let Some(span) = config.settings.quorum else { return };
    let nodes = config.present().count();
    if nodes < 3 {
        let message = format_args!("quorum majority of {nodes} nodes: the loss of any node would stop every group");
        report.advise(
            Code::QuorumOfTwo,
            span,
            message,
            "configure a third node, be it without groups, or remove the line",
        );
    }
    let deadtime = config.timing.deadtime();
    let (deadline, least) = (config.self_deadline(deadtime), config.least_self_deadline());
    if deadline < least {
        let release = config.release_limit();
        let enough = release.saturating_add(least).saturating_mul(DRIFT).checked_div(DRIFT.saturating_sub(2));
        let message = format_args!(
            "a node that is cut off has {} ms of its deadtime for noticing it, after {} ms for the release of its groups; \
             three heartbeats and a round trip take {} ms",
            deadline.as_millis(),
            release.as_millis(),
            least.as_millis()
        );
        let help = format_args!(
            "write `deadtime {}ms` or more, or shorter limits: `script_limit start 5`, `script_limit stop 5`, and so for `status` and `monitor`",
            enough.unwrap_or_default().as_millis().saturating_add(1)
        );
        report.advise(Code::ReleaseTooSlow, span, message, help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceText, Sources};

    fn read(ha_cf: &str) -> (Option<Config>, Vec<&'static str>) {
        let ha_cf = alloc::format!("{ha_cf}\nbcast eth0\nauto_failback off\nlogfacility none\n");
        let text = |name, text: &'static str| SourceText { name, bytes: text.as_bytes() };
        let reading = Config::read(&Sources {
            local_name: "a",
            ha_cf: SourceText { name: "ha.cf", bytes: ha_cf.as_bytes() },
            haresources: Some(text("haresources", "a 10.0.0.1 Tst::A\nb 10.0.0.2\n")),
            authkeys: text("authkeys", "auth 1\n1 sha1 k\n"),
        });
        (reading.config, reading.diagnostics.iter().map(|one| one.code.text()).collect())
    }

    const QUICK: &str = "script_limit start 2\nscript_limit stop 1\nscript_limit status 1\nscript_limit monitor 1\n";

    #[test]
    fn what_a_start_needs_follows_from_quorum_and_ownership() {
        let silence = |config: &Config, group| config.exclusion(Some(GroupId(group))).silence;
        let plain = read("node a b c").0.unwrap();
        assert!(silence(&plain, 0) && silence(&plain, 1));
        let quorum = read(&alloc::format!("node a b c\nquorum majority\n{QUICK}")).0.unwrap();
        assert_eq!(quorum.exclusion(Some(GroupId(0))), Exclusion { quorum: true, fencing: false, silence: false });
        assert!(quorum.exclusion(None).quorum, "of a group of others the strictest");
        let mixed = read("node a b\nownership at-most-one\nownership at-least-one 10.0.0.2").0.unwrap();
        assert!(!silence(&mixed, 0) && silence(&mixed, 1));
    }

    #[test]
    fn a_majority_must_exist_and_be_lost_in_time() {
        assert_eq!(read("node a b\nquorum majority\ndeadtime 3000").1, ["E0126"]);
        assert_eq!(read("node a b c\nquorum majority").1, ["E0127"], "scripts may take minutes");
        assert_eq!(read(&alloc::format!("node a b c\nquorum majority\n{QUICK}")).1, [""; 0]);
        assert_eq!(read("node a b c\nownership sometimes").1, ["E0102"]);
    }

    #[test]
    fn whoever_gives_way_has_released_before_others_take() {
        let config = read(&alloc::format!("node a b c\nquorum majority\n{QUICK}")).0.unwrap();
        for secs in [20, 30, 100] {
            let deadtime = Duration::from_secs(secs);
            let whole = config.self_deadline(deadtime).saturating_add(config.release_limit());
            assert!(whole.mul_f64(1.01) <= deadtime.mul_f64(0.99), "{secs}");
        }
    }
}
