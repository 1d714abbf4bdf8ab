//! What can happen next, and which of it need not be tried.
//!
//! Left out, since something else that is tried leads to the same or to worse:
//!
//! - a crash other than in place of a step of that machine: between its steps a machine only goes on owning what it
//!   owns, so the latest moment before the step is the worst,
//! - a cut or heal before anything but a step that sends: until then it changes nothing that anybody could see,
//! - a delayed frame's arrival where it changes nothing, since its number came meanwhile: that is its loss.

use super::pair::{Due, Effect, Pair, Watch};
use super::setting::Setting;
use hb_core::time::Instant;

/// One of the things that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// What is due happens.
    Go,
    /// The frame that is due is lost. A fault.
    Lose,
    /// The frame that is due waits. A fault.
    Delay,
    /// The machine at which something is due crashes instead. A fault.
    Crash,
    /// All cables are cut. A fault.
    Cut,
    /// All cables work again.
    Heal,
    /// The machine that is down starts.
    Start(u8),
    /// The delayed frame at this place arrives.
    Arrive(u8),
}

impl Choice {
    /// Whether it counts against the budget.
    pub(super) fn is_fault(self) -> bool {
        matches!(self, Choice::Lose | Choice::Delay | Choice::Crash | Choice::Cut)
    }
}

impl Pair {
    /// What could happen in this state beside what is due, given what that does.
    pub(super) fn alternatives(&self, due: Due, effect: &Effect, partitions: bool) -> Vec<Choice> {
        let mut choices = Vec::new();
        let is_up = |host: usize| self.machines[host].node.is_some();
        let down = || (0_u8..2).filter(|host| !is_up(usize::from(*host)));
        choices.extend(down().map(Choice::Start));
        choices.extend((0_u8..).zip(&self.held).map(|(at, _)| Choice::Arrive(at)));
        let anything_sends = effect.sent || down().next().is_some() || !self.held.is_empty();
        if self.cut && anything_sends {
            choices.push(Choice::Heal);
        }
        if self.faults > 0 {
            if let Due::Frame { host, .. } = due
                && is_up(host)
            {
                choices.extend([Choice::Lose, Choice::Delay]);
            }
            if is_up(due.host()) {
                choices.push(Choice::Crash);
            }
            if partitions && !self.cut && anything_sends {
                choices.push(Choice::Cut);
            }
        }
        choices
    }

    /// Lets `choice` happen; `at` and `due` are what is [`next`](Pair::next).
    pub(super) fn choose(
        &mut self,
        setting: &Setting,
        (at, due): (Instant, Due),
        choice: Choice,
        watch: &mut impl Watch,
    ) -> Effect {
        if choice.is_fault() {
            self.faults = self.faults.saturating_sub(1);
        }
        let mut effect = Effect::default();
        match (choice, due) {
            (Choice::Go, _) => effect = self.happen(setting, at, due, watch),
            (Choice::Start(host), _) => effect = self.start(setting, usize::from(host), watch),
            (Choice::Arrive(place), _) => {
                let flight = self.held.remove(usize::from(place));
                effect = self.arrive(setting, &flight, watch);
            }
            (Choice::Lose, Due::Frame { at: place, .. }) => {
                self.now = at;
                self.flying.remove(place);
            }
            (Choice::Delay, Due::Frame { at: place, .. }) => {
                self.now = at;
                let flight = self.flying.remove(place);
                self.held.push(flight);
            }
            (Choice::Crash, _) => {
                self.now = at;
                self.crash(due.host());
            }
            (Choice::Cut, _) => self.cut = true,
            (Choice::Heal, _) => self.cut = false,
            // Only frames are lost and delayed, as `alternatives` has it.
            (Choice::Lose | Choice::Delay, Due::Done { .. } | Due::Wake { .. }) => {}
        }
        self.forget_late(setting);
        effect
    }
}
