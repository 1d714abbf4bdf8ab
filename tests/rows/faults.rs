//! What the relay of a network loses: of nodes that are deaf, mute or cut from each other, and by luck that is the same in
//! each run.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hb_sim::plan::net::{Change, Loss, NetRule};
use hb_tests::relay::{Crossing, loss};

#[derive(Default)]
struct State {
    deaf: BTreeSet<usize>,
    mute: BTreeSet<usize>,
    /// From whom to whom nothing goes.
    blocked: BTreeSet<(usize, usize)>,
    /// How many of a hundred are lost, by way; the last that fits counts.
    losses: Vec<(NetRule, Luck)>,
}

type Luck = Box<dyn FnMut(&Crossing<'_>) -> bool + Send>;

/// The faults of one network; copies are the same.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// The rule of the relay.
    pub(crate) fn rule(&self) -> impl FnMut(&Crossing<'_>) -> bool + Send + 'static {
        let state = Arc::clone(&self.0);
        move |crossing| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let (from, to) = (crossing.from, crossing.to);
            if state.deaf.contains(&to) || state.mute.contains(&from) || state.blocked.contains(&(from, to)) {
                return true;
            }
            let fits =
                |rule: &NetRule| rule.way.from.is_none_or(|one| one == from) && rule.way.to.is_none_or(|one| one == to);
            state.losses.iter_mut().rev().find(|(rule, _)| fits(rule)).is_some_and(|(_, luck)| luck(crossing))
        }
    }

    /// A node hears nothing any more, or does again.
    pub(crate) fn set_deaf(&self, host: usize, is_deaf: bool) {
        set(&mut self.state().deaf, host, is_deaf);
    }

    /// Nobody hears a node any more, or does again.
    pub(crate) fn set_mute(&self, host: usize, is_mute: bool) {
        set(&mut self.state().mute, host, is_mute);
    }

    /// Nothing goes from one node to another any more, or does again.
    pub(crate) fn set_blocked(&self, from: usize, to: usize, is_blocked: bool) {
        set(&mut self.state().blocked, (from, to), is_blocked);
    }

    /// So many packets are lost from now on.
    pub(crate) fn change(&self, rule: &NetRule) {
        if let Change::Loss(Loss::Independent(share)) = rule.change {
            let luck: Luck = Box::new(loss(u64::from(share.0) / 10_000, 1));
            self.state().losses.push((rule.clone(), luck));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set<T: Ord>(among: &mut BTreeSet<T>, what: T, is_so: bool) {
    if is_so {
        among.insert(what)
    } else {
        among.remove(&what)
    };
}
