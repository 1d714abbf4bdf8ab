//! The state of a node as data, for a recording that begins in the middle of its life.
//!
//! The configuration stays out: it is read again from its texts, so that no secret gets into a recording. What
//! [`Derived`] holds stays out too: it is empty between two steps.

use super::dialect::Dialect;
use super::fencing::Shot;
use super::hearing::Verdicts;
use super::inspection::Inspection;
use super::lateness::Vigil;
use super::moves::Move;
use super::partner::Partner;
use super::{Boot, Node, resources, traffic};
use crate::action::{Frame, StateFile};
use crate::client::Clients;
use crate::client::programs::Programs;
use crate::config::{Config, Roster};
use crate::deadlines::Deadlines;
use crate::delivery::Sender;
use crate::digest::{Constant, Derived};
use crate::drop_reason::DropKind;
use crate::ids::OpId;
use crate::input::{Carrier, LoadAverage};
use crate::mark::Aside;
use crate::membership::{Lifecycle, NodeSet, NodeTable, Sent};
use crate::ping::PingTable;
use crate::resource::classic::Book;
use crate::resource::executor::Executor;
use crate::resource::native::{Ledger, Reach};
use crate::rng::Lanes;
use crate::time::{Instant, UnixTime};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// Everything of a [`Node`] but its configuration.
#[derive(Clone, Debug, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct Parts {
    /// The members, of whom the texts of the configuration know those of the start.
    roster: Roster,
    boot: Aside<Boot>,
    started: Instant,
    now: Aside<Instant>,
    wall_clock: Aside<(Instant, UnixTime)>,
    load: Aside<LoadAverage>,
    life: Lifecycle,
    vigil: Vigil,
    trusted: Instant,
    longest_deadtime: Duration,
    spoken: Aside<Dialect>,
    nodes: NodeTable,
    written: Aside<BTreeMap<StateFile, u64>>,
    pings: PingTable,
    sender: Sender,
    sent: Sent,
    told: Verdicts,
    reach: Reach,
    uncounted: Aside<NodeSet>,
    partner: Partner,
    ledger: Ledger,
    moves: Vec<Move>,
    book: Book,
    evidence: Aside<resources::Evidence>,
    executor: Executor,
    clients: Aside<Clients>,
    programs: Programs,
    shot: Option<Shot>,
    inspection: Aside<Inspection>,
    alarms: Vec<OpId>,
    carriers: Vec<Carrier>,
    drops: Aside<BTreeMap<DropKind, traffic::Drops>>,
    lanes: Aside<Lanes>,
    deadlines: Deadlines,
    armed: Option<Instant>,
}

impl Parts {
    /// A copy of the state; cheap, since frames are shared.
    pub(crate) fn of(node: &Node) -> Parts {
        // Without `..`: a new field must be thought of here.
        let Node {
            config,
            boot,
            started,
            now,
            wall_clock,
            load,
            life,
            vigil,
            trusted,
            longest_deadtime,
            spoken,
            nodes,
            written,
            pings,
            sender,
            sent,
            told,
            reach,
            uncounted,
            partner,
            ledger,
            moves,
            book,
            evidence,
            executor,
            clients,
            programs,
            shot,
            inspection,
            alarms,
            carriers,
            drops,
            lanes,
            deadlines,
            armed,
            actions: _,
        } = node.clone();
        Parts {
            roster: config.roster().clone(),
            boot,
            started,
            now,
            wall_clock,
            load,
            life,
            vigil,
            trusted,
            longest_deadtime,
            spoken,
            nodes,
            written,
            pings,
            sender,
            sent,
            told,
            reach,
            uncounted,
            partner,
            ledger,
            moves,
            book,
            evidence,
            executor,
            clients,
            programs,
            shot,
            inspection,
            alarms,
            carriers,
            drops,
            lanes,
            deadlines,
            armed,
        }
    }

    /// The node again; `None` if the state is not one of a node with this configuration.
    pub(crate) fn with_config(self, config: Config) -> Option<Node> {
        let media = config.media().len();
        let config = config.with_roster(self.roster.clone())?;
        let fits = self.nodes.fits(&config)
            && self.pings.fits(&config)
            && self.carriers.len() == media
            && self.executor.queue_count() == config.groups().len()
            && self.ledger.listed() == config.groups().len()
            && self.programs.len() == config.programs().len();
        let Parts {
            roster: _,
            boot,
            started,
            now,
            wall_clock,
            load,
            life,
            vigil,
            trusted,
            longest_deadtime,
            spoken,
            nodes,
            written,
            pings,
            sender,
            sent,
            told,
            reach,
            uncounted,
            partner,
            ledger,
            moves,
            book,
            evidence,
            executor,
            clients,
            programs,
            shot,
            inspection,
            alarms,
            carriers,
            drops,
            lanes,
            deadlines,
            armed,
        } = self;
        fits.then(|| Node {
            config: Constant::new(config),
            boot,
            started,
            now,
            wall_clock,
            load,
            life,
            vigil,
            trusted,
            longest_deadtime,
            spoken,
            nodes,
            written,
            pings,
            sender,
            sent,
            told,
            reach,
            uncounted,
            partner,
            ledger,
            moves,
            book,
            evidence,
            executor,
            clients,
            programs,
            shot,
            inspection,
            alarms,
            carriers,
            drops,
            lanes,
            deadlines,
            armed,
            actions: Derived(Vec::new()),
        })
    }

    /// The time of the last step.
    pub(crate) fn now(&self) -> Instant {
        *self.now
    }

    /// The wall clock when it was last read, and when that was.
    pub(crate) fn wall_clock(&self) -> (Instant, UnixTime) {
        *self.wall_clock
    }

    /// All packets that are kept: ours for retransmission, those of others for clients.
    pub(crate) fn frames_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.sender.history_mut().frames_mut().chain(self.clients.frames_mut())
    }

    /// The last message sent, if any is kept.
    pub(crate) fn newest_frame(&self) -> Option<&Frame> {
        self.sender.history().newest_frame()
    }
}
