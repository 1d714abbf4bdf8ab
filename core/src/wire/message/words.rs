//! The words that fields may hold.

use crate::wire::{STATUS_WORD_MAX, WireError};
use alloc::borrow::Cow;

/// Declares an enum of known words that keeps any other word verbatim.
macro_rules! open_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name<'a> {
            $($(#[$word_doc])* $variant,)*
            /// Any other word, as it came.
            Other(Cow<'a, str>),
        }

        impl<'a> $name<'a> {
            /// The meaning of a word.
            pub fn of(word: Cow<'a, str>) -> $name<'a> {
                match &*word {
                    $($word => $name::$variant,)*
                    _ => $name::Other(word),
                }
            }

            /// The word on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $word,)*
                    $name::Other(word) => word,
                }
            }
        }
    };
}

open_words! {
    /// The state a node announces (WIRE 10.1).
    StatusWord {
        /// Not yet heard, or starting.
        Init = "init",
        /// Running, communication not established.
        Up = "up",
        /// Fully up.
        Active = "active",
        /// Gone; never in a status packet.
        Dead = "dead",
        /// The state of a ping node that answers.
        Ping = "ping",
    }
}

impl<'a> StatusWord<'a> {
    /// The meaning of a received word of at most [`STATUS_WORD_MAX`] bytes.
    pub(super) fn read(word: Cow<'a, str>) -> Result<StatusWord<'a>, WireError> {
        if word.len() > STATUS_WORD_MAX {
            return Err(WireError::FieldTooLong { field: "st" });
        }
        Ok(StatusWord::of(word))
    }
}

open_words! {
    /// What became of fencing a dead node (WIRE 11).
    StonithResult {
        /// It had given up its resources: there was nothing to fence.
        Unneeded = "unneeded",
        /// No device is configured.
        NoDevice = "n_stnth",
        /// It was fenced.
        Ok = "OK",
        /// The device does not know it.
        BadHost = "badhost",
        /// Fencing failed.
        Bad = "bad",
    }
}

/// Which groups a node holds or asks for, from its own view (WIRE 12, `rsc_hold`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Holding {
    /// The groups whose preferred node is the speaker.
    pub local: bool,
    /// All other groups.
    pub foreign: bool,
}

impl Holding {
    /// No group.
    pub const NONE: Holding = Holding { local: false, foreign: false };
    /// The speaker's own groups.
    pub const LOCAL: Holding = Holding { local: true, foreign: false };
    /// The other nodes' groups.
    pub const FOREIGN: Holding = Holding { local: false, foreign: true };
    /// Every group.
    pub const ALL: Holding = Holding { local: true, foreign: true };

    /// The word on the wire: `none`, `local`, `foreign` or `all`.
    pub const fn as_str(self) -> &'static str {
        match (self.local, self.foreign) {
            (false, false) => "none",
            (true, false) => "local",
            (false, true) => "foreign",
            (true, true) => "all",
        }
    }

    /// The meaning of a word.
    pub fn named(word: &str) -> Option<Holding> {
        [Holding::NONE, Holding::LOCAL, Holding::FOREIGN, Holding::ALL]
            .into_iter()
            .find(|holding| holding.as_str() == word)
    }

    /// The same groups from the view of the other node of two.
    #[must_use]
    pub const fn exchanged(self) -> Holding {
        Holding { local: self.foreign, foreign: self.local }
    }

    /// The groups in either.
    #[must_use]
    pub const fn union(self, other: Holding) -> Holding {
        Holding { local: self.local || other.local, foreign: self.foreign || other.foreign }
    }

    /// What is in this and not in `other`.
    #[must_use]
    pub const fn minus(self, other: Holding) -> Holding {
        Holding { local: self.local && !other.local, foreign: self.foreign && !other.foreign }
    }

    /// What is in both.
    #[must_use]
    pub const fn common(self, other: Holding) -> Holding {
        Holding { local: self.local && other.local, foreign: self.foreign && other.foreign }
    }

    /// Whether this includes all of `other`.
    pub const fn contains(self, other: Holding) -> bool {
        (self.local || !other.local) && (self.foreign || !other.foreign)
    }

    /// Whether it is nothing.
    pub const fn is_none(self) -> bool {
        !self.local && !self.foreign
    }
}

/// How far a standby has come (WIRE 12.3, `info` of `ask_resources`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StandbyStep {
    /// The speaker wants to give up.
    Me,
    /// The other node is ready to take them.
    Other,
    /// Given up, or taken.
    Done,
}

impl StandbyStep {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            StandbyStep::Me => "me",
            StandbyStep::Other => "other",
            StandbyStep::Done => "done",
        }
    }

    /// The meaning of a word.
    pub fn named(word: &str) -> Option<StandbyStep> {
        [StandbyStep::Me, StandbyStep::Other, StandbyStep::Done].into_iter().find(|step| step.as_str() == word)
    }
}
