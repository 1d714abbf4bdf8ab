//! The node: the only place where subsystems meet.
//!
//! | file | what happens there |
//! |---|---|
//! | `mod.rs` | dispatch of inputs and deadlines, rearming |
//! | `traffic.rs` | bytes in: authentic, known, in sequence; messages out |
//! | `life.rs` | our own start and end, heartbeats, the life and death of others |
//! | `pings.rs` | ping nodes asked, heard, silent |
//! | `ipfail.rs` | how many ping nodes we reach, told and compared |
//! | `members.rs` | who joins and leaves a running cluster |
//! | `partner.rs` | the same beside a 3.0.6: what the two ipfails say to each other |
//! | `dialect.rs` | what every live node understands |
//! | `fencing.rs` | silent nodes are reset before what they may run is taken |
//! | `guarded.rs` | what is left with the guard in case the daemon dies |
//! | `lateness.rs` | what a node does that was not run in time |
//! | `hearing.rs` | whom we hear and who hears us |
//! | `ownership.rs` | native ownership: the rule asked, its intents carried out |
//! | `claims.rs` | what is said and heard of each group |
//! | `moves.rs` | what operators ask of a native cluster |
//! | `resources.rs` | the classic book's intents carried out, claims heard |
//! | `standby.rs` | conversations about who takes which groups, operators answered |
//! | `clients.rs` | clients of the API: sign-on, questions, leaving |
//! | `relay.rs` | what clients say to the cluster and hear from it |
//! | `reload.rs` | new files for a running node |
//! | `programs.rs` | programs that run beside the daemon |
//! | `status.rs` | the read-only view |
//! | `snapshot.rs` | the state as data, for recordings (feature `trace`) |
//! | `situation.rs` | the state relative to now, for exploration |
//!
//! A packet: `Frame` -> `accept` (cannot change state) -> sender and sequence -> handler of its type -> `decide`
//! until nothing is wanted -> `rearm`. A timer: `Wake` -> every due deadline in order -> the same end.

mod claims;
mod clients;
mod dialect;
mod fencing;
mod guarded;
mod hearing;
mod inspection;
mod ipfail;
mod lateness;
mod life;
mod members;
mod moves;
mod ownership;
mod partner;
mod pings;
mod programs;
mod relay;
mod reload;
mod resources;
mod situation;
#[cfg(feature = "trace")]
pub(crate) mod snapshot;
mod standby;
mod status;
mod traffic;

pub use guarded::Guarded;
pub use situation::Heard;
pub use status::{GroupStatus, LinkStatus, MediumStatus, NodeStatus, PingNodeStatus, Queues, Status};

use crate::action::{Action, Actions, StateFile};
use crate::client::Clients;
use crate::client::programs::Programs;
use crate::config::{Config, Hostcache};
use crate::deadlines::{Deadlines, Timer};
use crate::delivery::Sender;
use crate::digest::{Constant, Derived, digest_of};
use crate::drop_reason::DropKind;
use crate::event::Event;
use crate::ids::{Generation, NodeUuid, OpId};
use crate::input::{Carrier, Command, Input, LoadAverage};
use crate::mark::Aside;
use crate::membership::{Lifecycle, NodeSet, NodeTable, Sent};
use crate::ping::PingTable;
use crate::resource::classic::Book;
use crate::resource::executor::Executor;
use crate::resource::native::{Ledger, Reach};
use crate::rng::Lanes;
use crate::time::{Instant, UnixTime};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// What a node learns from its machine when it starts; with the configuration it determines all that follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Boot {
    /// The monotonic clock now: the node's start.
    pub now: Instant,
    /// The wall clock now.
    pub wall_clock: UnixTime,
    /// The generation of this life, higher than that of every earlier one (WIRE 8).
    pub generation: Generation,
    /// The node's identity.
    pub uuid: NodeUuid,
    /// The seed of all randomness.
    pub seed: [u8; 32],
    /// Who was a member before, and who was removed; of interest to a node without haresources only.
    pub hostcache: Hostcache,
    /// The longest dead time that others announced in an earlier life, where that was longer than `initdead` (OWNERSHIP 2);
    /// zero if it was not.
    pub longest_deadtime: Duration,
    /// Resources, as haresources writes them, whose last start or stop nobody saw succeed: an earlier life began it. How much
    /// of them is up no `status` can tell.
    pub cut_short: Vec<String>,
}

/// One member of the cluster: a function from (state, time, one input) to (state, actions).
#[derive(Clone, Debug, Hash)]
pub struct Node {
    config: Constant<Config>,
    /// What of it decides something stands beside it and in the node table.
    boot: Aside<Boot>,
    started: Instant,
    /// The time of the present step.
    now: Aside<Instant>,
    wall_clock: Aside<(Instant, UnixTime)>,
    load: Aside<LoadAverage>,
    life: Lifecycle,
    vigil: lateness::Vigil,
    /// Who was heard before then need not live any more: our start, or when we last woke late.
    trusted: Instant,
    /// The longest dead time of another node, as far as it is known: a node that was not heard yet may have it.
    longest_deadtime: Duration,
    /// The dialect that was told last.
    spoken: Aside<dialect::Dialect>,
    nodes: NodeTable,
    /// Digests of the files about members, as they were last written.
    written: Aside<BTreeMap<StateFile, u64>>,
    pings: PingTable,
    sender: Sender,
    /// Our heartbeats, for their echoes.
    sent: Sent,
    told: hearing::Verdicts,
    /// How many ping nodes we reach.
    reach: Reach,
    /// Who runs no ipfail, as was told.
    uncounted: Aside<NodeSet>,
    partner: partner::Partner,
    ledger: Ledger,
    moves: Vec<moves::Move>,
    book: Book,
    evidence: Aside<resources::Evidence>,
    executor: Executor,
    /// No rule about membership or resources looks at them.
    clients: Aside<Clients>,
    programs: Programs,
    /// The device at work.
    shot: Option<fencing::Shot>,
    /// No rule looks at it.
    inspection: Aside<inspection::Inspection>,
    /// Programs told of a death that have not ended: nothing waits for them.
    alarms: Vec<OpId>,
    carriers: Vec<Carrier>,
    drops: Aside<BTreeMap<DropKind, traffic::Drops>>,
    lanes: Aside<Lanes>,
    deadlines: Deadlines,
    /// The deadline the shell was last told.
    armed: Option<Instant>,
    /// Empty between steps, so it influences nothing.
    actions: Derived<Vec<Action>>,
}

/// What a subsystem may use of the node around it.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) deadlines: &'a mut Deadlines,
    actions: &'a mut Vec<Action>,
}

#[cfg(test)]
impl<'a> Context<'a> {
    /// Of what a test has.
    pub(crate) fn new(
        now: Instant,
        config: &'a Config,
        deadlines: &'a mut Deadlines,
        actions: &'a mut Vec<Action>,
    ) -> Context<'a> {
        Context { now, config, deadlines, actions }
    }
}

impl Context<'_> {
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn report(&mut self, event: Event) {
        self.actions.push(Action::Report(event));
    }
}

/// Lends the parts of a node that a [`Context`] needs, and leaves the others.
macro_rules! context {
    ($node:expr) => {
        crate::node::Context {
            now: *$node.now,
            config: &$node.config,
            deadlines: &mut $node.deadlines,
            actions: &mut $node.actions.0,
        }
    };
}
use context;

impl Node {
    /// A node that has done nothing yet: its first step is due at once.
    pub fn new(mut config: Config, boot: Boot) -> Node {
        let mut lanes = Lanes::new(boot.seed);
        let mut nodes = NodeTable::new(&config, boot.uuid, boot.now, &mut lanes);
        if !config.manages_resources() {
            members::recall(&mut config, &mut nodes, &boot.hostcache, boot.now, &mut lanes);
        }
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::Boot, boot.now);
        Node {
            started: boot.now,
            now: Aside(boot.now),
            wall_clock: Aside((boot.now, boot.wall_clock)),
            load: Aside::default(),
            life: Lifecycle::Booting,
            vigil: lateness::Vigil::Awake,
            trusted: boot.now,
            longest_deadtime: boot.longest_deadtime,
            spoken: Aside(dialect::Dialect { native: Some(dialect::NATIVE), kept_by: None }),
            nodes,
            written: Aside::default(),
            pings: PingTable::new(&config),
            sender: Sender::default(),
            sent: Sent::default(),
            told: hearing::Verdicts::default(),
            reach: Reach { since: boot.now, ..Reach::default() },
            uncounted: Aside::default(),
            partner: partner::Partner::default(),
            ledger: Ledger::new(config.groups().iter().map(|group| group.key.as_str())),
            moves: Vec::new(),
            book: Book::default(),
            evidence: Aside::default(),
            executor: Executor::new(boot.now, &config),
            clients: Aside::default(),
            programs: Programs::new(config.programs().len()),
            shot: None,
            inspection: Aside::default(),
            alarms: Vec::new(),
            carriers: alloc::vec![Carrier::Up; config.media().len()],
            drops: Aside::default(),
            lanes: Aside(lanes),
            deadlines,
            armed: None,
            actions: Derived(Vec::new()),
            config: Constant::new(config),
            boot: Aside(boot),
        }
    }

    /// Advances the node by one step: `input` happened at `now`. An earlier `now` than in the last step counts as that.
    ///
    /// Nothing that comes from network, script or client makes it fail: it becomes an event and a counter.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Actions<'_> {
        // The caller may have dropped the iterator half-way; what it did not take is lost by its own choice.
        self.actions.0.clear();
        *self.now = self.now.max(now);
        self.notice_lateness();
        match input {
            Input::Frame { medium, bytes } => self.on_frame(medium, bytes),
            Input::Wake => {
                self.end_reading();
                self.run_due_deadlines();
            }
            Input::Carrier { medium, carrier } => self.on_carrier(medium, carrier),
            Input::OpDone { op, outcome, said } => self.on_op_done(op, outcome, said),
            Input::Client { client, request } => self.on_request(client, request),
            Input::Operator(Command::Stop) => self.begin_stop(),
            Input::WallClock(time) => *self.wall_clock = (*self.now, time),
            Input::Load(load) => *self.load = load,
            Input::Accounts(accounts) => self.on_accounts(accounts),
            Input::ApiOpened { client, peer } => self.on_api_opened(client, peer),
            Input::ApiMessage { client, bytes } => self.on_api_message(client, bytes),
            Input::ApiClosed { client, why } => self.on_api_closed(client, why),
            Input::Fifo { bytes } => self.on_fifo(bytes),
            Input::Reload(reload) => self.on_reload(&reload),
            Input::ProgramEnded { program, end } => self.on_program_ended(program, &end),
            Input::NetworkBack { address } => self.executor.announce_address(&mut context!(self), address),
        }
        self.decide();
        self.mind_the_door();
        self.rearm();
        Actions(self.actions.0.drain(..))
    }

    /// The deadline the last [`Action::ArmTimer`] named; `None` before the first and when nothing is due at all.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.armed.filter(|deadline| *deadline != Instant::FAR_FUTURE)
    }

    /// A read-only view for clients, metrics and checkers.
    pub fn status(&self) -> Status<'_> {
        Status::new(self)
    }

    /// A digest over everything that can influence later behaviour, equal on every machine and build.
    pub fn digest(&self) -> u64 {
        digest_of(self)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn run_due_deadlines(&mut self) {
        // What a deadline sets anew lies in the future; the bound makes a mistake there an assertion, not a hang.
        let mut fired = 0_u32;
        while let Some(timer) = self.deadlines.take_due(*self.now) {
            fired = fired.saturating_add(1);
            assert!(fired < 100_000, "{timer:?} sets itself for the present");
            match timer {
                Timer::Boot => self.boot(),
                Timer::Keepalive => self.on_keepalive(),
                Timer::StartGrace => self.send_status(),
                Timer::NodeDead(node) => self.on_node_silent(node),
                Timer::LinkDead(node, medium) => self.on_link_silent(node, medium),
                Timer::PingDead(medium) => self.on_ping_silent(medium),
                Timer::NodeList => self.ask_for_nodes(),
                Timer::Autojoin => self.go_on_joining(),
                Timer::Greet => self.greet_now(),
                Timer::Starting => self.on_starting_unanswered(),
                Timer::Rexmit(node) => self.ask_for_missing(node),
                Timer::Standby => self.on_standby_timeout(),
                Timer::Takeover => self.on_takeover_timeout(),
                Timer::GiveUp => self.on_give_up(),
                // Looking again is what follows every input.
                Timer::Ownership | Timer::Fence => {}
                Timer::Inspection => self.begin_inspection(),
                Timer::Claims => self.ask_for_claims(),
                Timer::StopRetry(group) => self.executor.on_retry(&mut context!(self), group),
                Timer::Monitor(group) => self.executor.on_monitor(&mut context!(self), group),
                Timer::Announce => self.executor.on_announce(&mut context!(self)),
                Timer::Doubt => self.end_doubt(),
                Timer::Contested => self.book.outlasted = self.book.contested,
                Timer::Program(program) => self.on_program_timer(program),
                Timer::Linger => self.on_linger_over(),
            }
        }
    }

    /// Tells the shell the earliest deadline if it is not the one it knows.
    fn rearm(&mut self) {
        let next = self.deadlines.next().unwrap_or(Instant::FAR_FUTURE);
        if self.armed != Some(next) {
            self.armed = Some(next);
            self.actions.0.push(Action::ArmTimer { deadline: next });
        }
    }

    fn report(&mut self, event: Event) {
        self.actions.0.push(Action::Report(event));
    }
}

#[cfg(test)]
mod tests;
