//! Bounded queues, timers and output: no peer and no client makes a node keep or send without end.

use super::{Check, Fact, Moment};
use crate::plan::{EngineKind, Plan};
use hb_core::time::Instant;
use std::time::Duration;

/// Output is counted over this long.
const WINDOW: Duration = Duration::from_secs(10);
/// How often each missing message may be asked for in a window: every 250 ms, as long as nobody answers (WIRE 9.3), and what
/// luck adds. A peer that hears us answers the first time.
const REPEATS: u64 = 44;
/// What a node of the original may miss, who does not say how much it is: a larger gap is not asked for (WIRE 9.2 (5)).
const GAP: usize = 250;

/// Compares what nodes keep and send with what they may.
#[derive(Clone, Debug)]
pub struct Bounded {
    limits: Vec<Limits>,
    /// By host: how many numbers it misses.
    missing: Vec<usize>,
    /// By host: what was sent since its window began.
    sent: Vec<Sent>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    begin: Instant,
    /// Frames on the first medium.
    frames: u64,
    /// Numbers that anybody missed in this window and in the one before it: each may be asked for and answered, and answers
    /// may be late.
    missed: usize,
    missed_before: usize,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    timers: usize,
    history: usize,
    missing: usize,
    announcements: usize,
    effects: usize,
    /// In a window in which nothing is missing.
    frames: u64,
    /// For each missing number: by each medium comes a request, and each may be refused.
    frames_per_missing: u64,
}

impl Bounded {
    /// The checker of a plan.
    pub fn new(plan: &Plan) -> Bounded {
        let limits = plan.configs().map(|config| {
            let (nodes, media, groups) = (config.nodes().len(), config.media().len(), config.groups().len());
            let addresses = config.groups().iter().map(|group| group.resources.len()).sum();
            let heartbeats =
                u64::try_from(WINDOW.as_nanos() / config.timing().keepalive().as_nanos().max(1)).unwrap_or(0);
            let peers = nodes as u64;
            Limits {
                // One of each kind, and for each node, link and group those that it has.
                timers: 16 + nodes * (2 + media) + groups,
                history: 500,
                missing: 500 * nodes,
                announcements: addresses,
                // The answer to one request is 50 messages on every medium (WIRE 9.1); a restart of everything is less.
                effects: 100 + media * 60 + groups * 20 + nodes * media * 500,
                frames: peers * (heartbeats * 8 + 200),
                frames_per_missing: media as u64 * REPEATS,
            }
        });
        let hosts = plan.hosts.len();
        let missing = plan.hosts.iter().map(|host| if host.kind == EngineKind::Model { GAP * hosts } else { 0 });
        let missing: Vec<usize> = missing.collect();
        let sent = Sent { missed: missing.iter().sum(), ..Sent::default() };
        Bounded { limits: limits.collect(), missing, sent: vec![sent; hosts] }
    }

    /// One more frame of a host; its limit, if that is now exceeded.
    fn count(&mut self, now: Instant, host: usize) -> Option<u64> {
        let (sent, limits) = (&mut self.sent[host], &self.limits[host]);
        if now.since(sent.begin) > WINDOW {
            let missed = self.missing.iter().sum();
            *sent = Sent { begin: now, frames: 0, missed, missed_before: sent.missed };
        }
        let limit = limits.frames + limits.frames_per_missing * (sent.missed + sent.missed_before) as u64;
        sent.frames += 1;
        (sent.frames == limit + 1).then_some(limit)
    }

    /// A host misses so many numbers now.
    fn miss(&mut self, host: usize, missing: usize) {
        let before = std::mem::replace(&mut self.missing[host], missing);
        for sent in &mut self.sent {
            sent.missed += missing.saturating_sub(before);
        }
    }
}

impl Check for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        match fact {
            Fact::Sent(host, medium, _) if medium.index() == 0 => {
                if let Some(limit) = self.count(moment.now, *host) {
                    let name = moment.name(*host);
                    found.push(format!("{name} sent more than {limit} messages in {} s", WINDOW.as_secs()));
                }
            }
            Fact::Stepped(host, effects) => {
                let (limits, name) = (&self.limits[*host], moment.name(*host));
                let mut compare = |what: &str, is: usize, limit: usize| {
                    if is > limit {
                        found.push(format!("{name} has {is} {what}, at most {limit} are right"));
                    }
                };
                compare("effects of one step", *effects, limits.effects);
                let Some(node) = moment.node(*host) else { return };
                let queues = node.status().queues();
                compare("timers", queues.timers, limits.timers);
                compare("messages in its history", queues.history, limits.history);
                compare("missing numbers", queues.missing, limits.missing);
                compare("addresses to announce", queues.announcements, limits.announcements);
                self.miss(*host, queues.missing);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Detail;
    use crate::run::play_watched;
    use std::collections::BTreeSet;

    /// A node that keeps a little of everything: a group moves, and messages are lost and asked for again.
    const BUSY: &str = "base C2\nset auto_failback off\nboot h1 h2\nnet loss 0.3\nat 2 standby h1\nhazards\nend 30\n";

    /// What of h1 is too much, if it may have no more than `tighten` leaves it.
    fn too_much(tighten: fn(&mut Limits)) -> Vec<String> {
        let plan = Plan::parse("canary", BUSY).unwrap();
        let mut strict = Bounded::new(&plan);
        tighten(&mut strict.limits[0]);
        let (world, _) = play_watched(&plan, 1, Detail::Quiet, |world| world.watch(Box::new(strict)));
        let whats =
            world.violations.iter().map(|violation| violation.what.split(", at most").next().unwrap().to_owned());
        // Without the numbers.
        let whats = whats.map(|what| what.chars().filter(|char| !char.is_ascii_digit()).collect::<String>());
        whats.collect::<BTreeSet<String>>().into_iter().collect()
    }

    #[test]
    fn each_limit_is_looked_at() {
        type Tighten = fn(&mut Limits);
        let rows: [(Tighten, &str); 6] = [
            (|limits| limits.timers = 0, "h has  timers"),
            (|limits| limits.history = 0, "h has  messages in its history"),
            (|limits| limits.missing = 0, "h has  missing numbers"),
            (|limits| limits.announcements = 0, "h has  addresses to announce"),
            (|limits| limits.effects = 0, "h has  effects of one step"),
            (|limits| limits.frames = 5, "h sent more than  messages in  s"),
        ];
        for (tighten, expected) in rows {
            assert_eq!(too_much(tighten), [expected]);
        }
        assert_eq!(too_much(|_| {}), [""; 0]);
    }

    #[test]
    fn what_is_missing_anywhere_may_be_asked_for_in_this_window_and_the_next() {
        let plan = Plan::parse("canary", BUSY).unwrap();
        let mut bounded = Bounded::new(&plan);
        let Limits { frames, frames_per_missing, .. } = bounded.limits[0];
        // How many frames of h1 in the window that begins then are too many.
        let limit = |bounded: &mut Bounded, window: u32| {
            let at = Instant::ORIGIN.plus(WINDOW * window * 2);
            (0..1_000_000).find_map(|_| bounded.count(at, 0))
        };
        assert_eq!(limit(&mut bounded, 1), Some(frames));
        bounded.miss(1, 3);
        assert_eq!(limit(&mut bounded, 1), Some(frames + 3 * frames_per_missing));
        bounded.miss(1, 0);
        assert_eq!(limit(&mut bounded, 2), Some(frames + 3 * frames_per_missing));
        assert_eq!(limit(&mut bounded, 3), Some(frames));
    }
}
