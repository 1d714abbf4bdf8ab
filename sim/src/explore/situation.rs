//! The digest of a state relative to now: what two ways must have in common to meet.
//!
//! Each node gives its own situation (`hb_core::Node::situation`). What lies between the nodes is added here: how far each
//! has heard each other, frames under way with their numbers relative to who must take them, operations by the time that
//! remains, what runs where, cables. Faults that may still happen are kept apart, see `search.rs`.

use super::cluster::Cluster;
use super::flight::{Flight, Named};
use super::setting::{NODES_MAX, Setting};
use hb_core::digest::StableHasher;
use hb_core::ids::Seq;
use std::hash::{Hash as _, Hasher as _};

/// Numbers are acknowledged by their last digit (WIRE 9.4).
const ACK_EVERY: u64 = 10;

impl Cluster {
    /// The digest.
    pub(super) fn situation(&self, setting: &Setting) -> u64 {
        let mut hasher = StableHasher::default();
        for (host, machine) in self.machines.iter().enumerate() {
            match &machine.node {
                Some(node) => {
                    let asked_from = self.asked_from(host);
                    hasher.write_u64(node.situation(self.now, asked_from));
                    if setting.count() > 2 {
                        // They name numbers of third nodes. What is under way besides says so itself, as differences.
                        node.hash_sent(asked_from, self.under_way_from(host), &mut hasher);
                    }
                }
                None => hasher.write_u8(0),
            }
            machine.running.hash(&mut hasher);
            for operation in &machine.operations {
                (operation.due.since(self.now), operation.work).hash(&mut hasher);
            }
            for other in self.others(host) {
                self.hash_hearing(host, other, &mut hasher);
            }
        }
        for flight in &self.flying {
            (1_u8, flight.due.since(self.now), self.relative(flight)).hash(&mut hasher);
        }
        // In which order they were delayed means nothing: each arrives when it likes.
        let waits = |flight| (self.relative(flight), setting.expires(flight).since(self.now));
        let mut held: Vec<_> = self.held.iter().map(waits).collect();
        held.sort_unstable();
        (held, self.broken).hash(&mut hasher);
        hasher.finish()
    }

    fn others(&self, host: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.machines.len()).filter(move |other| *other != host)
    }

    /// How far `host` has heard `other`: lives and numbers as differences.
    fn hash_hearing(&self, host: usize, other: usize, hasher: &mut StableHasher) {
        let (generation, newest) = (self.machines[other].generation, self.newest_number(other));
        let known = self.machines[host].heard(other);
        let lives = known.map(|heard| generation.0.saturating_sub(heard.generation.0));
        lives.hash(hasher);
        match known.and_then(|heard| heard.newest) {
            Some(known) if lives == Some(0) => newest.since(known).hash(hasher),
            // It will begin with whatever number comes, which decides what it acknowledges.
            _ => (newest.0 % ACK_EVERY).hash(hasher),
        }
    }

    /// The lowest number of `host` that another one may still ask for.
    fn asked_from(&self, host: usize) -> Seq {
        let open = self.others(host).map(|other| self.open_at(other, host)).min();
        let asked = self.frames().filter(|flight| flight.says.asks);
        let asked = asked.filter_map(|flight| flight.says.names[host]).map(|named| named.seq);
        asked.chain(open).min().unwrap_or(self.newest_number(host).next())
    }

    /// The number of `host` from which on a copy of each message is under way.
    fn under_way_from(&self, host: usize) -> Seq {
        let life = self.machines[host].generation;
        let is_under_way = |number: Seq| {
            let mut copies = self.frames().filter(|flight| flight.from == host && flight.says.generation == life);
            copies.any(|flight| flight.says.seq == Some(number))
        };
        let mut from = self.newest_number(host).next();
        while from > Seq(1) && is_under_way(Seq(from.0 - 1)) {
            from = Seq(from.0 - 1);
        }
        from
    }

    /// The lowest number of `host` that `other` may still ask for.
    fn open_at(&self, other: usize, host: usize) -> Seq {
        let machine = &self.machines[host];
        match self.machines[other].heard(host) {
            Some(heard) if heard.generation == machine.generation && heard.newest.is_some() => heard.lowest_open,
            // It takes the first number that it hears, and asks for none before that.
            _ => {
                let coming = self.frames().filter(|flight| (flight.from, flight.to) == (host, other));
                let coming = coming.filter(|flight| flight.says.generation == machine.generation);
                let first = coming.filter_map(|flight| flight.says.seq).min();
                first.unwrap_or(self.newest_number(host).next())
            }
        }
    }

    fn frames(&self) -> impl Iterator<Item = &Flight> {
        self.flying.iter().chain(&self.held)
    }

    /// A frame by what it says, with its numbers relative to the newest ones.
    fn relative(&self, flight: &Flight) -> Relative {
        let (to, from, says) = (flight.to, flight.from, &flight.says);
        let life = self.machines[from].generation.0 - says.generation.0;
        // Of a number in a life that is over only its place among what was heard of that life counts.
        let known = self.machines[to].heard(from).filter(|heard| heard.generation == says.generation);
        let mine = match known.and_then(|heard| heard.newest) {
            Some(newest) => newest,
            None if life == 0 => self.newest_number(from),
            None => Seq(0),
        };
        let distance = |base: Seq, number: Seq| base.0.wrapping_sub(number.0);
        let mut names = [None; NODES_MAX];
        for (host, (place, named)) in names.iter_mut().zip(says.names).enumerate() {
            let Some(Named { generation, seq }) = named else { continue };
            let age = generation.map_or(0, |generation| self.machines[host].generation.0.wrapping_sub(generation.0));
            *place = Some(match age {
                _ if host == from => (0, distance(mine, seq)),
                0 => (0, distance(self.newest_number(host), seq)),
                // Numbers of a life that is over stand as they are.
                age => (age, seq.0),
            });
        }
        Relative {
            meaning: says.meaning,
            way: (flight.medium.0, from, to),
            life,
            seq: says.seq.map(|seq| distance(mine, seq)),
            names,
            is_known: known.is_some(),
        }
    }
}

/// A frame relative to what was heard and sent.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Relative {
    meaning: u64,
    way: (u16, usize, usize),
    /// How many lives of its sender ago it was sent.
    life: u64,
    seq: Option<u64>,
    /// What it names of each node: how many lives ago, and the distance to the newest number.
    names: [Option<(u64, u64)>; NODES_MAX],
    /// Its receiver has heard of that life of its sender.
    is_known: bool,
}
