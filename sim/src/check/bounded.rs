//! Bounded queues, timers and output: no peer and no client makes a node keep or send without end.

use super::{Check, Fact, Moment};
use crate::plan::Plan;
use hb_core::time::Instant;
use std::time::Duration;

/// Output is counted over this long.
const WINDOW: Duration = Duration::from_secs(10);
/// A gap of more is not asked for (WIRE 9.2 (5)).
const GAP: u64 = 250;
/// How often each missing message may be asked for in a window: every 250 ms, as long as nobody answers (WIRE 9.3), and what
/// luck adds. A peer that hears us answers the first time.
const REPEATS: u64 = 44;

/// Compares what nodes keep and send with what they may.
#[derive(Clone, Debug)]
pub struct Bounded {
    limits: Vec<Limits>,
    /// By host: frames sent on its first medium since the window began.
    sent: Vec<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    timers: usize,
    history: usize,
    missing: usize,
    announcements: usize,
    effects: usize,
    frames: u64,
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
                frames: peers * (heartbeats * 8 + GAP * REPEATS + 200),
            }
        });
        Bounded { limits: limits.collect(), sent: vec![(Instant::ORIGIN, 0); plan.hosts.len()] }
    }
}

impl Check for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        match fact {
            Fact::Sent(host, medium, _) if medium.index() == 0 => {
                let (begin, frames) = &mut self.sent[*host];
                if moment.now.since(*begin) > WINDOW {
                    (*begin, *frames) = (moment.now, 0);
                }
                *frames += 1;
                if *frames == self.limits[*host].frames + 1 {
                    let (name, limit) = (moment.name(*host), self.limits[*host].frames);
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
}
