//! What can happen next, and which of it need not be tried.
//!
//! Left out, since something else that is tried leads to the same or to worse:
//!
//! - a crash other than in place of a step of that machine: between its steps a machine only goes on owning what it
//!   owns, so the latest moment before the step is the worst,
//! - a cut or heal before anything but a step that sends by what is cut or heals: until then it changes nothing that
//!   anybody could see; what is under way arrives whatever happens to the cables behind it,
//! - a delayed frame's arrival where it changes nothing, since its number came meanwhile: that is its loss.

use super::cables::{Broken, Senders};
use super::cluster::{Cluster, Due, Effect, Watch};
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
    /// Cables break in the way at this place. A fault.
    Cut(u8),
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
        matches!(self, Choice::Lose | Choice::Delay | Choice::Crash | Choice::Cut(_))
    }
}

impl Cluster {
    /// What could happen in this state beside what is due, given what that does.
    pub(super) fn alternatives(&self, setting: &Setting, due: Due, effect: &Effect, partitions: bool) -> Vec<Choice> {
        let mut choices = Vec::new();
        let is_up = |host: usize| self.machines[host].node.is_some();
        let down = || (0_u8..).zip(&self.machines).filter(|(_, machine)| machine.node.is_none()).map(|(host, _)| host);
        choices.extend(down().map(Choice::Start));
        choices.extend((0_u8..).zip(&self.held).map(|(at, _)| Choice::Arrive(at)));
        // Who may send before anything else is chosen: by what is due, by a start, or by what arrives late.
        let mut senders = Senders::default();
        down().map(usize::from).chain(self.held.iter().map(|flight| flight.to)).for_each(|host| senders.add(host));
        if effect.sent {
            senders.add(due.host());
        }
        if self.broken.concern(senders) {
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
            if partitions {
                let matters = |ways: Broken| ways.but(self.broken).concern(senders);
                let cuts = (0_u8..).zip(setting.cuts()).filter(|(_, cut)| matters(cut.ways));
                choices.extend(cuts.map(|(at, _)| Choice::Cut(at)));
            }
        }
        choices
    }

    /// Lets `choice` happen; `at` and `due` are what is [`next`](Cluster::next).
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
            (Choice::Cut(at), _) => self.broken = self.broken.and(setting.cuts()[usize::from(at)].ways),
            (Choice::Heal, _) => self.broken = Broken::default(),
            // Only frames are lost and delayed, as `alternatives` has it.
            (Choice::Lose | Choice::Delay, Due::Done { .. } | Due::Wake { .. }) => {}
        }
        self.forget_late(setting);
        effect
    }
}
