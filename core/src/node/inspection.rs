//! Whether the fencing device works is found out before it is needed. Read CLUSTER f.1 first.
//!
//! A device is asked when the node becomes active, and every hour: a plugin once for all nodes, a fence agent for each,
//! whose parameters may be another device. Nothing is decided by what it says, but the log says when it fails.

use super::Node;
use crate::action::Action;
use crate::deadlines::Timer;
use crate::event::{Event, FenceStep};
use crate::ids::{NodeId, OpId};
use crate::input::{Failure, Outcome};
use crate::membership::Lifecycle;
use crate::resource::Transcript;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// CLUSTER f.1.
const EVERY: Duration = Duration::from_hours(1);

/// A question under way.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Question {
    op: OpId,
    /// About whom.
    node: NodeId,
    /// It is not wanted any more, and its end is waited for.
    ceased: bool,
}

/// What devices were asked, and what they said.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Inspection {
    asked: Option<Question>,
    /// Why each could not be reset, as was said last; nothing if it could.
    failures: BTreeMap<NodeId, Option<Failure>>,
}

impl Inspection {
    /// Whom the device could not reset when it was last asked, and why.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (NodeId, &Failure)> {
        self.failures.iter().filter_map(|(node, failure)| Some((*node, failure.as_ref()?)))
    }
}

impl Node {
    /// Asks the device, about the first node, if there is one and it is not at work.
    pub(super) fn begin_inspection(&mut self) {
        if self.life == Lifecycle::Active && self.inspection.asked.is_none() {
            let first = self.to_inspect().first().copied();
            self.inspect_next(first);
        }
    }

    /// Asks about a node; without one, or where the device has something better to do, again in an hour.
    fn inspect_next(&mut self, node: Option<NodeId>) {
        match node.filter(|_| self.shot.is_none()) {
            Some(node) => self.inspect(node),
            None if self.may_shoot() => self.deadlines.set(Timer::Inspection, self.now.plus(EVERY)),
            None => {}
        }
    }

    /// The nodes that the device is asked about.
    fn to_inspect(&self) -> Vec<NodeId> {
        let Some(device) = self.config.fence_device().filter(|_| self.may_shoot()) else { return Vec::new() };
        let others = self.nodes.others().map(|(node, _)| node);
        others.take(if device.is_agent() { usize::MAX } else { 1 }).collect()
    }

    fn inspect(&mut self, node: NodeId) {
        let Some(device) = self.config.fence_device().cloned() else { return };
        let (op, limit) = (self.executor.next_op(), self.config.fence_limit());
        self.inspection.asked = Some(Question { op, node, ceased: false });
        self.actions.0.push(Action::Inspect { op, node: self.name(node), device, limit });
    }

    /// The device is needed now, and many serve one at a time, or nobody will hear it: a question is taken back, and asked
    /// again in an hour.
    pub(super) fn end_inspection(&mut self) {
        if let Some(question) = self.inspection.asked.as_mut().filter(|question| !question.ceased) {
            question.ceased = true;
            self.actions.0.push(Action::CeaseFire { op: question.op });
        }
    }

    /// An operation ended; whether it was a question.
    pub(super) fn on_inspected(&mut self, op: OpId, outcome: &Outcome, said: &Transcript) -> bool {
        let Some(Question { node, ceased, .. }) = self.inspection.asked.take_if(|asked| asked.op == op) else {
            return false;
        };
        if ceased {
            self.inspect_next(None);
            return true;
        }
        let failure = match outcome {
            Outcome::Failed(failure) => Some(failure.clone()),
            Outcome::Done | Outcome::Running | Outcome::NotRunning => None,
        };
        let before = self.inspection.failures.insert(node, failure.clone());
        let device = self.config.fence_device().map_or_else(String::new, |device| device.kind.clone());
        let step = match (failure, before) {
            (Some(failure), _) => Some(FenceStep::OutOfOrder { device, failure, said: said.clone() }),
            (None, Some(None)) => None,
            (None, _) => Some(FenceStep::InOrder { device }),
        };
        if let Some(step) = step {
            self.report(Event::Fence { node: self.name(node), step });
        }
        let next = self.to_inspect().into_iter().find(|other| *other > node);
        self.inspect_next(next);
        true
    }
}
