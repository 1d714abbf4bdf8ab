//! The smallest plan that still breaks the same property.
//!
//! All luck is drawn by name (link and packet number), and faults are data: taking one away leaves the others as they
//! were. So a plan can be shrunk by trying (Zeller and Hildebrandt 2002, ddmin, over events), then by making everything
//! else usual, one thing at a time. Each try is a whole run; the search is deterministic and ends.

use super::swarm::examine;
use crate::check::Violation;
use crate::plan::{Event, HostPlan, Plan, configure};
use hb_core::config::Config;
use std::time::Duration;

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// What it breaks.
    pub violation: Violation,
    /// Runs it took.
    pub tries: u32,
}

struct Shrinker {
    seed: u64,
    check: &'static str,
    best: Plan,
    violation: Violation,
    tries: u32,
}

/// Shrinks a plan that breaks a property with this seed; `progress` hears of every try and of the events left.
pub fn shrink(plan: &Plan, seed: u64, violation: Violation, mut progress: impl FnMut(u32, usize)) -> Shrunk {
    let mut shrinker = Shrinker { seed, check: violation.check, best: plan.clone(), violation, tries: 0 };
    // Each round may make room for another; a round that changes nothing is the last.
    loop {
        let before = shrinker.best.to_string();
        shrinker.end_early();
        shrinker.fewer_events(&mut progress);
        shrinker.usual_machines();
        shrinker.unread_files();
        shrinker.usual_rest();
        shrinker.smaller_files();
        shrinker.rounder_times(&mut progress);
        if shrinker.best.to_string() == before {
            break;
        }
    }
    Shrunk { plan: shrinker.best, violation: shrinker.violation, tries: shrinker.tries }
}

impl Shrinker {
    /// Takes the plan over if it still breaks the same property.
    fn attempt(&mut self, plan: Plan) -> bool {
        self.tries += 1;
        match examine(&plan, self.seed, None).1 {
            Some(violation) if violation.check == self.check => {
                (self.best, self.violation) = (plan, violation);
                true
            }
            _ => false,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.clone();
        change(&mut plan);
        plan.to_string() != self.best.to_string() && self.attempt(plan)
    }

    /// Nothing after the violation matters, nor does the calm, unless it is what was violated.
    fn end_early(&mut self) {
        self.change(|plan| plan.calm = None);
        let zero = hb_core::time::Instant::after_origin(Duration::from_secs(100));
        let at = self.violation.at.since(zero);
        if at.is_zero() {
            return;
        }
        // Whole seconds later, since a check may look a little after it saw.
        let end = Duration::from_secs(at.as_secs() + 2);
        self.change(|plan| {
            plan.events.retain(|(event, _)| *event <= end);
            plan.calm = plan.calm.filter(|calm| *calm <= end);
            plan.end = plan.end.min(end);
        });
    }

    /// Delta debugging over the events.
    fn fewer_events(&mut self, progress: &mut impl FnMut(u32, usize)) {
        let mut parts = 2;
        while self.best.events.len() > 1 {
            let size = self.best.events.len().div_ceil(parts);
            let mut removed = false;
            let mut from = 0;
            while from < self.best.events.len() {
                let to = (from + size).min(self.best.events.len());
                if self.change(|plan| drop(plan.events.drain(from..to))) {
                    removed = true;
                } else {
                    from = to;
                }
                progress(self.tries, self.best.events.len());
            }
            if size == 1 && !removed {
                break;
            }
            parts = if removed { 2.max(parts - 1) } else { (parts * 2).min(self.best.events.len()) };
        }
        if self.best.events.len() == 1 {
            self.change(|plan| plan.events.clear());
        }
    }

    fn usual_machines(&mut self) {
        let resets: [fn(&mut HostPlan); 4] = [
            |host| host.drift_ppm = 0,
            |host| host.wall_offset = 0,
            |host| host.lag = Duration::ZERO,
            |host| host.device = None,
        ];
        for host in 0..self.best.hosts.len() {
            for reset in resets {
                self.change(|plan| reset(&mut plan.hosts[host]));
            }
            // What belongs to a promise of one owner stays where it has something to do.
            let strikes = |(_, event): &(Duration, Event)| {
                [Event::Kill(host), Event::Suspend(host), Event::Stall(host)].contains(event)
            };
            if self.best.policy.hazards || !self.best.events.iter().any(strikes) {
                self.change(|plan| plan.hosts[host].guard = None);
                self.change(|plan| plan.hosts[host].watchdog = None);
            }
        }
    }

    /// Files that nobody reads again.
    fn unread_files(&mut self) {
        self.change(|plan| {
            let reads = |number: usize| {
                let again = [Event::Reload(number), Event::Restart(number)];
                plan.events.iter().any(|(_, event)| again.contains(event))
            };
            let unread: Vec<usize> = (0..plan.hosts.len()).filter(|number| !reads(*number)).collect();
            for number in unread {
                plan.hosts[number].rewritten.clear();
            }
        });
    }

    fn usual_rest(&mut self) {
        // What a property does not ask for.
        self.change(|plan| plan.expectations.clear());
        let mut at = 0;
        while at < self.best.net.len() {
            if !self.change(|plan| drop(plan.net.remove(at))) {
                at += 1;
            }
        }
        let mut at = 0;
        while at < self.best.quirks.len() {
            if !self.change(|plan| drop(plan.quirks.remove(at))) {
                at += 1;
            }
        }
    }

    /// Fewer groups, fewer resources, fewer media.
    fn smaller_files(&mut self) {
        // Without what promises one owner the plan would demand what its cluster does not promise.
        let promises = ["node", "quorum", "ownership", "stonith"];
        for (file, keep) in [(0, &promises[..]), (1, &[])] {
            let mut line = 0;
            while line < self.best.hosts[0].texts[file].lines().count() {
                let is_kept = |text: &str| keep.iter().any(|word| text.starts_with(word));
                let text = self.best.hosts[0].texts[file].lines().nth(line).unwrap_or_default().to_owned();
                if is_kept(&text) || !self.rewrite(file, |lines| drop(lines.remove(line))) {
                    let words: Vec<&str> = text.split(' ').collect();
                    // Scripts at the end of a group's line.
                    let shorter = words[..words.len().saturating_sub(1)].join(" ");
                    if file == 1 && words.len() > 2 && self.rewrite(file, |lines| lines[line] = shorter) {
                        continue;
                    }
                    line += 1;
                }
            }
        }
    }

    /// Changes a file that is the same on all hosts; a configuration that is refused changes nothing.
    fn rewrite(&mut self, file: usize, change: impl FnOnce(&mut Vec<String>)) -> bool {
        let text = self.best.hosts[0].texts[file].clone();
        // A scenario's rewritten files may not differ in nodes, media or groups.
        if self.best.hosts.iter().any(|host| host.texts[file] != text || !host.rewritten.is_empty()) {
            return false;
        }
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let mut plan = self.best.clone();
        for host in &mut plan.hosts {
            host.texts[file].clone_from(&text);
            match configure(host.config.local_name(), &host.texts) {
                Ok(config) => host.config = config,
                Err(_) => return false,
            }
        }
        let known: Vec<String> = plan
            .configs()
            .flat_map(Config::groups)
            .flat_map(|group| group.resources.iter().map(|resource| resource.word().to_owned()))
            .collect();
        plan.quirks.retain(|quirk| known.contains(&quirk.resource));
        let mut labels = std::mem::take(&mut plan.groups);
        labels.retain(|(_, key)| plan.configs().flat_map(Config::groups).any(|group| group.key == *key));
        plan.groups = labels;
        self.attempt(plan)
    }

    /// Times that are easy to read, and early.
    fn rounder_times(&mut self, progress: &mut impl FnMut(u32, usize)) {
        // Everything earlier by what nothing happens at the beginning.
        if let Some((first, _)) = self.best.events.first().cloned() {
            for lead in [Duration::from_secs(10), Duration::from_secs(30)] {
                let shift = Duration::from_secs(first.saturating_sub(lead).as_secs());
                if !shift.is_zero()
                    && self.change(|plan| {
                        for (at, _) in &mut plan.events {
                            *at -= shift;
                        }
                        plan.calm = plan.calm.map(|calm| calm.saturating_sub(shift));
                        plan.end = plan.end.saturating_sub(shift);
                    })
                {
                    break;
                }
            }
        }
        for event in 0..self.best.events.len() {
            for grain in [1000, 100] {
                let at = self.best.events[event].0;
                let rounded = Duration::from_millis(u64::try_from(at.as_millis() / grain * grain).unwrap_or(0));
                if rounded == at || self.change(|plan| plan.events[event].0 = rounded) {
                    break;
                }
            }
            progress(self.tries, self.best.events.len());
        }
        let mut plan = self.best.clone();
        plan.events.sort_by_key(|(at, _)| *at);
        self.best = plan;
    }
}
