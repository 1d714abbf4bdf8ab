//! Links: a link is a peer heard over a medium (CLUSTER a.2).
//!
//! Links exist for status and log only: nothing is sent about them and no resource moves because of them.

use crate::ids::MediumId;
use crate::mark::Aside;
use crate::time::Instant;
use alloc::vec::Vec;

/// The links of one peer, by medium.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Links(Vec<Link>);

/// One link.
#[derive(Clone, Copy, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Link {
    /// Whether it is up.
    pub(crate) up: bool,
    /// When anything was last accepted from the peer over the medium.
    pub(crate) heard: Aside<Option<Instant>>,
}

impl Links {
    pub(crate) fn new(media: usize) -> Links {
        Links(alloc::vec![Link::default(); media])
    }

    /// Something of the peer was heard over `medium`; whether the link came up by it.
    pub(crate) fn hear(&mut self, now: Instant, medium: MediumId) -> bool {
        let Some(link) = self.0.get_mut(medium.index()) else { return false };
        link.heard = Aside(Some(now));
        !core::mem::replace(&mut link.up, true)
    }

    /// The link was silent for too long; whether it was up.
    pub(crate) fn bury(&mut self, medium: MediumId) -> bool {
        self.0.get_mut(medium.index()).is_some_and(|link| core::mem::replace(&mut link.up, false))
    }

    /// All links in the order of the media.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MediumId, Link)> + '_ {
        (0..).map(MediumId).zip(self.0.iter().copied())
    }
}
