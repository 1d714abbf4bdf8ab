//! Each message is taken in at most once, and nothing of an earlier life counts (WIRE 9).
//!
//! - *at most once*: a number that was taken in does not change what its receiver knows of the sender's sequence again,
//! - *freshness*: a message of an earlier life than the receiver has heard a heartbeat of changes nothing that the
//!   receiver knows of the sender.

use super::{Arrival, Check, Fact, Moment};
use hb_core::ids::{Generation, Seq};
use std::collections::BTreeSet;

/// Numbers remembered for each pair: twice what a sender keeps.
const REMEMBERED: usize = 1000;

/// Watches what arrives, and what became of it.
#[derive(Clone, Debug)]
pub struct Delivery {
    hosts: usize,
    /// By receiver and sender.
    taken: Vec<Taken>,
    /// The frame on its way into a node, and what the node knew before.
    pending: Option<Pending>,
}

#[derive(Clone, Debug, Default)]
struct Taken {
    receiver_life: u64,
    generation: Generation,
    numbers: BTreeSet<Seq>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    to: usize,
    from: usize,
    generation: Generation,
    seq: Seq,
    before: Known,
}

/// What a node knows of another node's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    generation: Generation,
    newest: Option<Seq>,
    missing: usize,
    heard: Option<hb_core::time::Instant>,
    status: &'static str,
    gone: bool,
}

impl Delivery {
    /// A checker for so many hosts.
    pub fn new(hosts: usize) -> Delivery {
        Delivery { hosts, taken: vec![Taken::default(); hosts * hosts], pending: None }
    }

    fn arrives(&mut self, moment: &Moment<'_>, arrival: &Arrival<'_>) {
        self.pending = None;
        let Some((label, seq)) = arrival.label.and_then(|label| Some((label, label.seq?))) else { return };
        if arrival.to == arrival.from {
            return;
        }
        if let Some(before) = known(moment, arrival.to, arrival.from) {
            let (to, from) = (arrival.to, arrival.from);
            self.pending = Some(Pending { to, from, generation: label.generation, seq, before });
        }
    }

    fn judge(&mut self, moment: &Moment<'_>, pending: Pending, found: &mut Vec<String>) {
        let Pending { to, from, generation, seq, before } = pending;
        let Some(after) = known(moment, to, from) else { return };
        let (receiver, sender) = (moment.name(to), moment.name(from));
        if generation < before.generation && before != after {
            found
                .push(format!("message {seq} of an earlier life of {sender} made {receiver} change its mind about it"));
        }
        let taken = &mut self.taken[to * self.hosts + from];
        if (taken.receiver_life, taken.generation) != (moment.life(to), after.generation) {
            *taken = Taken { receiver_life: moment.life(to), generation: after.generation, numbers: BTreeSet::new() };
        }
        let is_taken = generation == after.generation
            && (before.generation, before.newest, before.missing) != (after.generation, after.newest, after.missing);
        if is_taken && !taken.numbers.insert(seq) {
            found.push(format!("{receiver} took in message {seq} of {sender} twice"));
        }
        if taken.numbers.len() > REMEMBERED {
            taken.numbers.pop_first();
        }
    }
}

fn known(moment: &Moment<'_>, to: usize, from: usize) -> Option<Known> {
    // Hosts are the nodes in the order of the `node` lines.
    let node = moment.node(to)?;
    let name = moment.name(from);
    let peer = node.status().nodes().find(|peer| peer.name == name)?;
    Some(Known {
        generation: peer.generation,
        newest: peer.newest,
        missing: peer.missing,
        heard: peer.heard,
        status: peer.status,
        gone: peer.gone,
    })
}

impl Check for Delivery {
    fn name(&self) -> &'static str {
        "delivered once, and fresh"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        match fact {
            Fact::Arrives(arrival) => self.arrives(moment, arrival),
            Fact::Stepped(host, _) => {
                if let Some(pending) = self.pending.take().filter(|pending| pending.to == *host) {
                    self.judge(moment, pending, found);
                }
            }
            _ => {}
        }
    }
}
