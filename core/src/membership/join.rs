//! Our own way into the cluster and out of it (WIRE 10.2, CLUSTER b.2, b.4).

/// The node list is asked for this often before we go on without an answer.
///
/// *Ours*: the original asks for ever, and hangs when the other side does not know us (CLUSTER k.12). Going on is safe:
/// resources wait for the answer to `starting`, which a node that does not know us never gives.
pub(crate) const NODE_LIST_TRIES: u32 = 5;

/// Where in its life this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Lifecycle {
    /// Nothing was said yet.
    Booting,
    /// Heartbeats go out; some node is neither heard nor dead.
    Joining(Join),
    /// Fully up.
    Active,
    /// Giving up resources.
    Stopping,
    /// All is given up and said.
    Lingering,
    /// Nothing more to do; the exit was reported.
    Ended,
}

/// The steps before communication is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Join {
    /// Some configured node was neither heard nor declared dead.
    Listening,
    /// Everybody is known; the node list was asked for this many times.
    AskingNodes {
        /// How often.
        tries: u32,
    },
}

impl Lifecycle {
    /// The status word we announce (WIRE 10.1). A leaving node goes on saying `active` (WIRE 15).
    pub(crate) const fn status_word(self) -> &'static str {
        match self {
            Lifecycle::Booting => "init",
            Lifecycle::Joining(_) => "up",
            Lifecycle::Active | Lifecycle::Stopping | Lifecycle::Lingering | Lifecycle::Ended => "active",
        }
    }

    /// Whether our start is complete (WIRE 10.2): until then only membership messages are processed.
    pub(crate) const fn is_started(self) -> bool {
        !matches!(self, Lifecycle::Booting | Lifecycle::Joining(_))
    }
}
