//! What the guard has to bring down, and how far it is: a queue for each group, as the core's executor has them. Read
//! CLUSTER d.5 and d.6 first.
//!
//! ```text
//! left: a b c --stop c--> done: left a b ... --> empty
//!                    +--> failed: again after a second, eleven times --status--> not running: done
//!                                                                        +-----> stuck: the farewell is never said
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use hb_core::config::{ScriptCall, ScriptClass};
use hb_core::ids::{GroupId, OpId};
use hb_core::time::Instant;
use hb_core::{Failure, Outcome, Verb};

use super::word::{Held, What};

/// A failed stop is tried this often ...
const ATTEMPTS: u32 = 11;
/// ... this far apart (CLUSTER d.6), as the daemon does.
const RETRY: Duration = Duration::from_secs(1);
/// The time limit of a script's `status`.
const STATUS_LIMIT: Duration = Duration::from_mins(1);

/// Everything that is still to be brought down.
#[derive(Debug, Default)]
pub(super) struct Release {
    queues: BTreeMap<GroupId, Queue>,
    last_op: u64,
}

#[derive(Debug)]
struct Queue {
    /// In the order in which they were started.
    left: Vec<Held>,
    attempts: u32,
    /// Not before then.
    at: Instant,
    op: Option<(OpId, Verb, Duration)>,
    is_stuck: bool,
}

/// The next thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Address { group: GroupId, word: String, address: IpAddr },
    Script { op: OpId, call: ScriptCall, verb: Verb, limit: Duration },
}

impl Release {
    pub(super) fn new(held: Vec<Held>) -> Release {
        let mut release = Release::default();
        for held in held {
            let fresh = || Queue { left: Vec::new(), attempts: 0, at: Instant::ORIGIN, op: None, is_stuck: false };
            release.queues.entry(held.group).or_insert_with(fresh).left.push(held);
        }
        release
    }

    /// All addresses, whatever stands to the right of them: they go at once, and what is stopped after that is stopped
    /// for nobody.
    pub(super) fn addresses(&self) -> Vec<(GroupId, String, IpAddr)> {
        let held = self.queues.values().flat_map(|queue| queue.left.iter().rev());
        held.filter_map(|held| match held.what {
            What::Address(address) => Some((held.group, held.word.clone(), address)),
            What::Script { .. } => None,
        })
        .collect()
    }

    /// A resource is down, wherever it stands in its group.
    pub(super) fn is_down(&mut self, group: GroupId, word: &str) {
        if let Some(queue) = self.queues.get_mut(&group) {
            queue.left.retain(|held| held.word != word);
            (queue.attempts, queue.at) = (0, Instant::ORIGIN);
        }
    }

    /// An address could not be removed.
    pub(super) fn failed(&mut self, now: Instant, group: GroupId) {
        if let Some(queue) = self.queues.get_mut(&group) {
            queue.attempts += 1;
            queue.at = now.plus(RETRY);
            queue.is_stuck = queue.attempts >= ATTEMPTS;
        }
    }

    /// Something that can be begun now, if there is anything.
    pub(super) fn next(&mut self, now: Instant) -> Option<Step> {
        let ready = |queue: &&mut Queue| queue.op.is_none() && !queue.is_stuck && queue.at <= now;
        let queue = self.queues.values_mut().filter(ready).find(|queue| !queue.left.is_empty())?;
        let Held { group, word, what } = queue.left.last()?.clone();
        match what {
            What::Address(address) => Some(Step::Address { group, word, address }),
            What::Script { call, limit } => {
                self.last_op += 1;
                let op = OpId(self.last_op);
                let (verb, limit) =
                    if queue.attempts < ATTEMPTS { (Verb::Stop, limit) } else { (Verb::Status, STATUS_LIMIT) };
                queue.op = Some((op, verb, limit));
                Some(Step::Script { op, call, verb, limit })
            }
        }
    }

    /// Of which class the script of an operation is, what it was asked to do, and in which time.
    pub(super) fn order(&self, op: OpId) -> Option<(ScriptClass, Verb, Duration)> {
        let mut under_way = self.queues.values().filter_map(|queue| Some((queue.op?, queue.left.last()?)));
        let ((_, verb, limit), held) = under_way.find(|((other, ..), _)| *other == op)?;
        match &held.what {
            What::Script { call, .. } => Some((call.class.clone(), verb, limit)),
            What::Address(_) => None,
        }
    }

    /// An operation is over; the word of its resource if that is down now.
    pub(super) fn on_done(&mut self, now: Instant, op: OpId, outcome: &Outcome) -> Option<String> {
        let queue = self.queues.values_mut().find(|queue| queue.op.is_some_and(|(other, ..)| other == op))?;
        let (_, verb, _) = queue.op.take()?;
        match (verb, outcome) {
            // A script that is not there runs nothing (scenarios T18, T19).
            (Verb::Status, Outcome::NotRunning | Outcome::Failed(Failure::NoScript)) | (Verb::Stop, Outcome::Done) => {
                queue.attempts = 0;
                queue.left.pop().map(|held| held.word)
            }
            // What cannot be said to have stopped may run.
            (Verb::Status, _) => {
                queue.is_stuck = true;
                None
            }
            _ => {
                queue.attempts += 1;
                let pause = if queue.attempts < ATTEMPTS { RETRY } else { Duration::ZERO };
                queue.at = now.plus(pause);
                None
            }
        }
    }

    /// When to look again, if something waits for its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.queues.values().filter(|queue| queue.op.is_none() && !queue.is_stuck);
        waiting.filter(|queue| !queue.left.is_empty()).map(|queue| queue.at).min()
    }

    /// Whether nothing more can be done.
    pub(super) fn is_over(&self) -> bool {
        self.queues.values().all(|queue| queue.op.is_none() && (queue.left.is_empty() || queue.is_stuck))
    }

    /// What could not be brought down.
    pub(super) fn stuck(&self) -> Vec<&str> {
        self.queues.values().filter_map(|queue| queue.left.last()).map(|held| held.word.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::Span;

    fn script(group: u16, name: &str) -> Held {
        let call = ScriptCall {
            name: name.into(),
            args: vec![],
            class: ScriptClass::Heartbeat,
            word: name.into(),
            span: Span::FILE,
        };
        let what = What::Script { call, limit: Duration::from_mins(5) };
        Held { group: GroupId(group), word: name.into(), what }
    }

    fn address(group: u16, text: &str) -> Held {
        Held { group: GroupId(group), word: text.into(), what: What::Address(text.parse().unwrap()) }
    }

    fn at(secs: u64) -> Instant {
        Instant::after_origin(Duration::from_secs(secs))
    }

    /// Begins all that can be begun: name and operation.
    fn begun(release: &mut Release, now: Instant) -> Vec<(String, OpId, Verb)> {
        let steps = std::iter::from_fn(|| release.next(now));
        steps
            .map(|step| match step {
                Step::Script { op, call, verb, .. } => (call.name, op, verb),
                Step::Address { .. } => panic!("{step:?}"),
            })
            .collect()
    }

    #[test]
    fn addresses_go_first_then_each_group_stops_from_the_right_beside_the_others() {
        let held = vec![script(0, "A"), address(0, "10.0.0.1"), script(1, "B"), script(0, "C"), address(1, "::1")];
        let mut release = Release::new(held);
        let addresses = release.addresses();
        assert_eq!(addresses.iter().map(|(_, word, _)| word.as_str()).collect::<Vec<_>>(), ["10.0.0.1", "::1"]);
        for (group, word, _) in addresses {
            release.is_down(group, &word);
        }
        let first = begun(&mut release, at(1));
        assert_eq!(first.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["C", "B"]);
        assert!(begun(&mut release, at(1)).is_empty(), "one at a time in a group");
        assert_eq!(release.on_done(at(1), first[0].1, &Outcome::Done).as_deref(), Some("C"));
        let second = begun(&mut release, at(1));
        assert_eq!(second[0].0, "A");
        assert!(!release.is_over());
        release.on_done(at(1), second[0].1, &Outcome::Done);
        release.on_done(at(1), first[1].1, &Outcome::Done);
        assert!(release.is_over() && release.stuck().is_empty());
    }

    #[test]
    fn a_stop_is_tried_eleven_times_and_what_may_still_run_is_stuck() {
        for (status, stuck) in [(Outcome::Running, 1), (Outcome::NotRunning, 0)] {
            let mut release = Release::new(vec![script(0, "A")]);
            let failed = Outcome::Failed(Failure::ExitCode(1));
            for attempt in 0..11 {
                let steps = begun(&mut release, at(attempt));
                assert_eq!((steps.len(), steps[0].2), (1, Verb::Stop));
                assert!(release.on_done(at(attempt), steps[0].1, &failed).is_none());
                assert!(attempt == 10 || begun(&mut release, at(attempt)).is_empty(), "a second apart");
            }
            let asked = begun(&mut release, at(10));
            assert_eq!(asked[0].2, Verb::Status);
            release.on_done(at(10), asked[0].1, &status);
            assert!(release.is_over());
            assert_eq!(release.stuck().len(), stuck, "{status:?}");
        }
    }

    #[test]
    fn an_address_that_cannot_be_removed_is_tried_again_and_given_up() {
        let mut release = Release::new(vec![address(0, "10.0.0.1")]);
        for attempt in 0..11 {
            assert!(matches!(release.next(at(attempt)), Some(Step::Address { .. })), "{attempt}");
            release.failed(at(attempt), GroupId(0));
            assert_eq!(release.next(at(attempt)), None);
        }
        assert!(release.is_over());
        assert_eq!(release.stuck(), ["10.0.0.1"]);
    }
}
