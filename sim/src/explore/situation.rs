//! The digest of a state relative to now: what two ways must have in common to meet.
//!
//! Each node gives its own situation (`hb_core::Node::situation`). What lies between the nodes is added here: how far each
//! has heard the other, frames under way with their numbers relative to who must take them, operations by the time that
//! remains, what runs where, cables. Faults that may still happen are kept apart, see `search.rs`.

use super::flight::Flight;
use super::pair::Pair;
use super::setting::Setting;
use hb_core::digest::StableHasher;
use hb_core::ids::Seq;
use std::hash::{Hash as _, Hasher as _};

/// Numbers are acknowledged by their last digit (WIRE 9.4).
const ACK_EVERY: u64 = 10;

impl Pair {
    /// The digest.
    pub(super) fn situation(&self, setting: &Setting) -> u64 {
        let mut hasher = StableHasher::default();
        for (host, machine) in self.machines.iter().enumerate() {
            match &machine.node {
                Some(node) => hasher.write_u64(node.situation(self.now, self.asked_from(host))),
                None => hasher.write_u8(0),
            }
            machine.running.hash(&mut hasher);
            for operation in &machine.operations {
                (operation.due.since(self.now), operation.work).hash(&mut hasher);
            }
            self.hash_hearing(host, &mut hasher);
        }
        for flight in &self.flying {
            (1_u8, flight.due.since(self.now), self.relative(flight)).hash(&mut hasher);
        }
        // In which order they were delayed means nothing: each arrives when it likes.
        let waits = |flight| (self.relative(flight), setting.expires(flight).since(self.now));
        let mut held: Vec<_> = self.held.iter().map(waits).collect();
        held.sort_unstable();
        (held, self.cut).hash(&mut hasher);
        hasher.finish()
    }

    /// How far `host` has heard the other one: lives and numbers as differences.
    fn hash_hearing(&self, host: usize, hasher: &mut StableHasher) {
        let (generation, newest) = (self.machines[1 - host].generation, self.newest_number(1 - host));
        let known = self.machines[host].heard(1 - host);
        let lives = known.map(|heard| generation.0.saturating_sub(heard.generation.0));
        lives.hash(hasher);
        match known.and_then(|heard| heard.newest) {
            Some(known) if lives == Some(0) => newest.since(known).hash(hasher),
            // It will begin with whatever number comes, which decides what it acknowledges.
            _ => (newest.0 % ACK_EVERY).hash(hasher),
        }
    }

    /// The lowest number of `host` that the other one may still ask for.
    fn asked_from(&self, host: usize) -> Seq {
        let machine = &self.machines[host];
        let open = match self.machines[1 - host].heard(host) {
            Some(heard) if heard.generation == machine.generation && heard.newest.is_some() => heard.lowest_open,
            // It takes the first number that it hears, and asks for none before that.
            _ => {
                let coming = self.frames().filter(|flight| flight.to != host);
                let coming = coming.filter(|flight| flight.says.generation == machine.generation);
                let first = coming.filter_map(|flight| flight.says.seq).min();
                first.unwrap_or(self.newest_number(host).next())
            }
        };
        let asked = self.frames().filter(|flight| flight.to == host && flight.says.asks);
        asked.filter_map(|flight| flight.says.names_yours).fold(open, Ord::min)
    }

    fn frames(&self) -> impl Iterator<Item = &Flight> {
        self.flying.iter().chain(&self.held)
    }

    /// A frame by what it says, with its numbers relative to the newest ones.
    fn relative(&self, flight: &Flight) -> (u64, [u64; 8]) {
        let (to, from, says) = (flight.to, 1 - flight.to, &flight.says);
        let life = self.machines[from].generation.0 - says.generation.0;
        // Of a number in a life that is over only its place among what was heard of that life counts.
        let known = self.machines[to].heard(from).filter(|heard| heard.generation == says.generation);
        let mine = match known.and_then(|heard| heard.newest) {
            Some(newest) => newest,
            None if life == 0 => self.newest_number(from),
            None => Seq(0),
        };
        let distance = |base: Seq, number: Option<Seq>| number.map_or(0, |number| base.0.wrapping_sub(number.0));
        let yours = self.newest_number(to);
        let numbers = [
            u64::from(flight.medium.0),
            to as u64,
            life,
            u64::from(says.seq.is_some()),
            distance(mine, says.seq),
            distance(yours, says.names_yours),
            distance(mine, says.names_mine),
            u64::from(known.is_some()),
        ];
        (says.meaning, numbers)
    }
}
