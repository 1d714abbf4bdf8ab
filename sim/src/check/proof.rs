//! Fence before takeover, self-release before takeover: what a silent host ran is started elsewhere only with proof.
//!
//! Which proof a cluster needs is the plan's policy. The proof is looked for in the truth: a device that lied has
//! proved nothing.

use super::{Check, Fact, Moment};
use crate::ground::Power;
use crate::plan::{Event, Proof};

/// Remembers for every resource who ran it last, as long as nothing proves that they do not any more.
#[derive(Clone, Debug)]
pub struct BeforeTakeover {
    proof: Proof,
    /// By resource: the host that ran it last.
    last: Vec<Option<usize>>,
}

impl BeforeTakeover {
    /// The checker of a policy.
    pub fn new(proof: Proof) -> BeforeTakeover {
        BeforeTakeover { proof, last: Vec::new() }
    }

    /// It is certain that a host runs nothing of what it ran; what it starts from now on counts anew.
    fn is_proved(&mut self, host: usize) {
        for last in &mut self.last {
            *last = last.filter(|last| *last != host);
        }
    }
}

impl Check for BeforeTakeover {
    fn name(&self) -> &'static str {
        match self.proof {
            Proof::Fenced => "fence before takeover",
            Proof::None | Proof::Released => "release before takeover",
        }
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        match fact {
            Fact::Fenced(host, true) if moment.ground.power(*host) == Power::Off => self.is_proved(*host),
            // Whoever lost power has released everything.
            Fact::Happened(Event::Crash(host)) if self.proof == Proof::Released => self.is_proved(*host),
            Fact::Runs(host, resource, runs) => {
                if self.last.len() <= *resource {
                    self.last.resize(*resource + 1, None);
                }
                let before = self.last[*resource];
                self.last[*resource] = match (runs, before) {
                    (true, _) => Some(*host),
                    // An orderly release is the best proof.
                    (false, Some(last)) if last == *host => None,
                    (false, _) => before,
                };
                let Some(last) = before.filter(|last| *runs && last != host) else { return };
                let silence = moment.contact.silence(moment.now, *host, last);
                if silence.is_none_or(|silence| silence >= moment.contact.limit(last)) {
                    let (word, taker, silent) = (moment.ground.word(*resource), moment.name(*host), moment.name(last));
                    found.push(format!("{taker} started {word} without proof that {silent} does not run it"));
                }
                // Who is heard is not silent, and says for itself that it runs nothing: its new life, say. That is its word for
                // the whole group, whose next resource may start when it has fallen silent.
                let said = |group: usize| moment.ground.resources(group).contains(resource);
                for group in (0..moment.ground.group_count()).filter(|group| said(*group)) {
                    for resource in moment.ground.resources(group) {
                        if let Some(word) = self.last.get_mut(*resource) {
                            *word = word.filter(|of| *of != last);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}
