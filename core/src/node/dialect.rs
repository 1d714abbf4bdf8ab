//! The dialect of the cluster: what every live node understands (PRODUCT.md, "Two dialects on one wire").
//!
//! A node announces in each heartbeat the highest version of the native dialect that it speaks. The cluster speaks the
//! lowest that any live node announces, and classic as soon as one announces none: that is a 3.0.6, which takes no notice
//! of the field.

use super::Node;
use crate::event::Event;
use crate::ids::NodeId;

/// The version of the native dialect that this program speaks.
pub(crate) const NATIVE: u32 = 1;

/// What the cluster speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Dialect {
    /// The version of the native dialect; `None` is classic.
    pub(crate) native: Option<u32>,
    /// The first node, in the order of configuration, that allows no more; `None` if that is what we speak ourselves.
    pub(crate) kept_by: Option<NodeId>,
}

impl Node {
    /// What every live node understands now.
    pub(super) fn dialect(&self) -> Dialect {
        let native = self.config.speaks_native().then_some(NATIVE);
        let ours = Dialect { native, kept_by: None };
        let live = self.nodes.others().filter(|(_, peer)| peer.liveness.is_live());
        let each = live.map(|(node, peer)| Dialect { native: peer.native, kept_by: Some(node) });
        // `None` is less than any version.
        each.fold(ours, |lowest, next| if next.native < lowest.native { next } else { lowest })
    }

    /// Tells when the dialect has changed.
    pub(super) fn note_dialect(&mut self) {
        let now = self.dialect();
        if core::mem::replace(&mut *self.spoken, now) != now {
            let kept_by = now.kept_by.map(|node| self.name(node));
            self.report(Event::Dialect { native: now.native, kept_by });
        }
    }
}
