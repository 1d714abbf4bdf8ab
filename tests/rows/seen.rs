//! What was seen of a run, compared with what the scenario expects: by the simulator's own judge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hb_core::time::Instant;
use hb_sim::Plan;
use hb_sim::ground::{Change, Share};
use hb_sim::judge::{Leeway, Witness, judge};
use hb_sim::plan::net::Change as NetChange;
use hb_sim::plan::{Event, Proof, Scope};
use hb_sim::run::Verdict;

use crate::watch::Groups;

/// How much later than in the simulator a group may be where it must be: this computer plays several scenarios at once.
const LATE: Duration = Duration::from_millis(500);
/// How much longer a client may miss an address.
const LATE_CLIENT: Duration = Duration::from_millis(100);

/// Everything that was seen; times count from the watcher's beginning.
pub(crate) struct Seen {
    pub(crate) groups: Groups,
    pub(crate) changes: Vec<Change>,
    pub(crate) zero: Instant,
    pub(crate) end: Instant,
    /// By key, what clients missed at most.
    pub(crate) gaps: BTreeMap<String, Duration>,
    pub(crate) calls: Vec<usize>,
    pub(crate) logs: Vec<String>,
    pub(crate) answers: Vec<(usize, String)>,
    pub(crate) holdings: Vec<(String, bool)>,
    pub(crate) fenced: Vec<(Instant, usize)>,
    /// The longest of all nodes.
    pub(crate) keepalive: Duration,
}

impl Witness for Seen {
    fn zero(&self) -> Instant {
        self.zero
    }

    fn changes(&self, key: &str) -> Vec<Change> {
        let group = self.groups.groups.iter().position(|(known, _)| known == key);
        self.changes.iter().filter(|change| Some(change.group) == group).copied().collect()
    }

    fn longest_gap(&self, key: &str) -> Duration {
        self.gaps.get(key).copied().unwrap_or_default()
    }

    fn calls(&self, host: usize) -> u32 {
        self.calls[host].try_into().unwrap_or(u32::MAX)
    }

    fn has_said(&self, host: usize, phrase: &str) -> bool {
        let answered = |(by, text): &(usize, String)| *by == host && format!("answer: {text}").contains(phrase);
        self.logs[host].contains(phrase) || self.answers.iter().any(answered)
    }

    fn holding(&self, host: usize) -> (String, bool) {
        self.holdings[host].clone()
    }

    fn leeway(&self) -> Leeway {
        Leeway { placement: LATE, gap: LATE_CLIENT, phase: self.keepalive }
    }
}

impl Seen {
    /// A verdict for everything that the scenario expects of nodes of ours.
    pub(crate) fn verdicts(&self, plan: &Plan) -> Vec<Verdict> {
        let applying = plan.expectations.iter().filter(|one| one.scope.includes(Scope::Ours));
        let mut verdicts: Vec<Verdict> = applying.map(|one| judge(plan, self, &one.what)).collect();
        if !plan.policy.hazards {
            verdicts.extend((0..self.groups.groups.len()).map(|group| self.owners(plan, group)));
        }
        if plan.policy.proof == Proof::Fenced {
            verdicts.push(self.proof(plan));
        }
        verdicts
    }

    /// What the scenario asks for and nobody looked at.
    pub(crate) fn unchecked(plan: &Plan) -> Vec<&'static str> {
        let mut unchecked = Vec::new();
        if plan.policy.hazards {
            unchecked.push("owners: which overlaps a hazard of the rule book explains is known to the simulator only");
        }
        if plan.policy.proof == Proof::Released {
            unchecked.push(
                "proof released: that a silent node has released what is taken, beyond that there are no two owners",
            );
        }
        let is_loss = |event: &Event| matches!(event, Event::Net(rule) if matches!(rule.change, NetChange::Loss(_)));
        if !plan.net.is_empty() || plan.events.iter().any(|(_, event)| is_loss(event)) {
            unchecked.push("luck: as many packets are lost, but not those of the simulator's seed");
        }
        unchecked
    }

    /// How long a group had two owners since zero.
    fn owners(&self, plan: &Plan, group: usize) -> Verdict {
        let mut shares = vec![Share::Nothing; plan.hosts.len()];
        let (mut since, mut total) = (None, Duration::ZERO);
        let mut add = |since: Option<Instant>, until: Instant| {
            total += since.map_or(Duration::ZERO, |since| until.since(self.zero.max(since)));
        };
        for change in self.changes.iter().filter(|change| change.group == group) {
            shares[change.host] = change.share;
            let is_crowded = shares.iter().filter(|share| **share != Share::Nothing).count() > 1;
            if !is_crowded {
                add(since.take(), change.at);
            } else if since.is_none() {
                since = Some(change.at);
            }
        }
        add(since, self.end);
        let allowed = plan.policy.overlap;
        let limit = if allowed.is_zero() { allowed } else { allowed + LATE };
        let missed = (total > limit).then(|| format!("{:.1} ms", total.as_secs_f64() * 1000.0));
        let key = &self.groups.groups[group].0;
        Verdict { what: format!("{key} has two owners for at most {} ms", allowed.as_millis()), missed }
    }

    /// What a machine had when it lost power is taken only after its device said that it was reset.
    fn proof(&self, plan: &Plan) -> Verdict {
        let mut missed = None;
        for group in 0..self.groups.groups.len() {
            let of_group: Vec<&Change> = self.changes.iter().filter(|change| change.group == group).collect();
            for pair in
                of_group.windows(2).filter(|pair| pair[0].share == Share::Nothing && pair[1].host != pair[0].host)
            {
                let (lost, taken) = (pair[0], pair[1]);
                let crashes = |(at, event): &(Duration, Event)| {
                    *event == Event::Crash(lost.host)
                        && self.zero.plus(*at) <= lost.at
                        && lost.at.since(self.zero.plus(*at)) < Duration::from_secs(1)
                };
                let is_fenced = self.fenced.iter().any(|(at, host)| *host == lost.host && *at <= taken.at);
                if plan.events.iter().any(crashes) && !is_fenced {
                    missed =
                        Some(format!("{} of {} was taken without", self.groups.groups[group].0, plan.name(lost.host)));
                }
            }
        }
        Verdict { what: "what a crashed node ran is taken after its reset only".to_owned(), missed }
    }

    /// What went where, a line each, and what the nodes logged: for a run that failed.
    pub(crate) fn tell(&self, plan: &Plan) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let seconds = (i128::from(change.at.as_nanos()) - i128::from(self.zero.as_nanos())) / 1000;
            let (key, host) = (&self.groups.groups[change.group].0, plan.name(change.host));
            let _infallible = writeln!(text, "  {:>12} us  {host} has {:?} of {key}", seconds, change.share);
        }
        let says_late = |log: &String| log.contains("this node did not run in time");
        if self.logs.iter().any(says_late) && !plan.events.iter().any(|(_, event)| matches!(event, Event::Suspend(_))) {
            text.push_str("  a daemon was held up: is this computer too busy for so many rows at once?\n");
        }
        for (host, answer) in &self.answers {
            let _infallible = writeln!(text, "  a client of {} was answered: {answer}", plan.name(*host));
        }
        for (host, log) in self.logs.iter().enumerate() {
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" debug: ")).collect();
            let _infallible = writeln!(text, "--- {}\n{}", plan.name(host), lines.join("\n"));
        }
        text
    }
}
