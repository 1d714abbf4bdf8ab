//! A model of a Heartbeat 3.0.6 peer in managed mode: what the original does, its weaknesses included.
//!
//! Written from the observations of 3.0.6 (CLUSTER b, c, d, j; WIRE 9 to 12) and from recorded packets, to have somebody to
//! compare with and to talk to. It shares no decision with the production core: it takes from it only the wire format, the
//! keyring and the configuration. It must *reproduce* what CLUSTER k lists, never mend it.
//!
//! | file | what | source |
//! |---|---|---|
//! | `mod.rs` | inputs, the turns of the main loop | recordings |
//! | `traffic.rs` | packets in and out, requests for lost ones | WIRE 7, 9 |
//! | `peer.rs` | what is known of a node; its sequence | CLUSTER a.1, WIRE 9.2 |
//! | `life.rs` | start, heartbeats, death of others, stop, restart after a partition | CLUSTER b, WIRE 10 |
//! | `holdings.rs` | who holds what: the state machine | CLUSTER c |
//! | `children.rs` | processes: jobs of the queue beside those started directly; scripts | CLUSTER c.2, d |
//! | `costs.rs` | what processes and shell scripts cost | chosen |
//!
//! The recordings show what no text says: the main loop sleeps until the next heartbeat, a signal, the end of a child or a
//! timer of its own. A packet or a message in the FIFO does not wake it; it is taken up at the next turn. This explains most
//! delays of the original, and the order of its messages.

mod children;
mod costs;
mod holdings;
mod life;
mod peer;
mod traffic;

use children::{Announcer, Child, Fifo, Job};
use hb_core::config::Config;
use hb_core::digest::{Constant, Derived, digest_of};
use hb_core::ids::{Generation, MediumId, OpId};
use hb_core::time::{Instant, UnixTime};
use hb_core::{Action, Boot, Command, Frame, Input, Level, LoadAverage, Request, Response};
use holdings::Holdings;
use life::{Ending, Joining};
use peer::{Peer, Word};
use std::collections::VecDeque;
use std::time::Duration;
use traffic::Sent;

/// Packets that a socket keeps until they are read; the kernel drops what comes beyond.
const INBOX_MAX: usize = 277;

/// What the model does to its host.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An action, as of the production core.
    Do(Action),
    /// A log line, in the words of CLUSTER j.
    Say(Level, String),
    /// It has begun a new life by itself: this generation is on its disk now.
    Generation(Generation),
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    /// It reads its files and forks; the first packet leaves then.
    Loads(Instant),
    Runs,
    /// It waits to execute itself again, so that others notice (CLUSTER b.7).
    Sleeps(Instant),
    /// It has ended.
    Gone,
}

/// A node that behaves as Heartbeat 3.0.6.
#[derive(Clone, Debug, Hash)]
pub struct Model {
    config: Constant<Config>,
    boot: Boot,
    now: Instant,
    wall_clock: (Instant, UnixTime),
    load: LoadAverage,
    process: Process,
    /// Draws so far.
    draws: u64,

    // Heartbeats, members and the way in and out of the cluster.
    /// When a heartbeat would be sent by an exact clock.
    rhythm: Instant,
    next_tick: Instant,
    peers: Vec<Peer>,
    joining: Joining,
    ending: Ending,
    sent: Sent,
    /// What arrived since the last turn.
    inbox: VecDeque<(MediumId, Frame)>,

    // Resources.
    holdings: Holdings,
    /// Processes under way.
    children: Vec<Child>,
    /// Jobs that wait until no resource process runs.
    jobs: VecDeque<Job>,
    /// Messages from scripts and commands, not yet read.
    fifo: VecDeque<Fifo>,
    /// Commands that will write into the FIFO.
    commands: Vec<(Instant, Fifo)>,
    announcers: Vec<Announcer>,
    last_op: OpId,

    armed: Option<Instant>,
    /// Empty between steps.
    effects: Derived<Vec<Effect>>,
}

impl Model {
    /// A node that has done nothing yet: its first step is due at once.
    pub fn new(config: Config, boot: Boot) -> Model {
        Model::begin(Constant::new(config), boot, OpId(0))
    }

    fn begin(config: Constant<Config>, boot: Boot, last_op: OpId) -> Model {
        let mut model = Model {
            now: boot.now,
            wall_clock: (boot.now, boot.wall_clock),
            load: LoadAverage::default(),
            process: Process::Loads(boot.now),
            draws: 0,
            rhythm: boot.now,
            next_tick: Instant::FAR_FUTURE,
            peers: Vec::new(),
            joining: Joining::Listens,
            ending: Ending::default(),
            sent: Sent::default(),
            inbox: VecDeque::new(),
            holdings: Holdings::default(),
            children: Vec::new(),
            jobs: VecDeque::new(),
            fifo: VecDeque::new(),
            commands: Vec::new(),
            announcers: Vec::new(),
            last_op,
            armed: None,
            effects: Derived(Vec::new()),
            config,
            boot,
        };
        let spread = Duration::from_micros(model.draw(costs::START_SPREAD));
        model.process = Process::Loads(model.now.plus(costs::START).plus(spread));
        let media = model.config.media().len();
        let names: Vec<String> = model.config.nodes().iter().map(|node| node.name.clone()).collect();
        for name in names {
            let trigger = model.draw(10);
            let uuid = if name == model.config.local_name() { model.boot.uuid } else { hb_core::ids::NodeUuid::ZERO };
            model.peers.push(Peer::new(&name, uuid, media, trigger));
        }
        model
    }

    /// One step: `input` happened at `now`. The effects are to be carried out in order.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Vec<Effect> {
        self.now = self.now.max(now);
        match input {
            Input::Frame { medium, bytes } => {
                if self.process == Process::Runs && self.inbox.len() < INBOX_MAX {
                    self.inbox.push_back((medium, Frame::from(bytes)));
                }
            }
            Input::Wake => self.on_wake(),
            Input::OpDone { op, outcome, .. } => {
                if self.process == Process::Runs && self.on_result(op, &outcome) {
                    self.turn();
                }
            }
            Input::Client { client, request } => {
                // The commands return success whatever comes of it (CLUSTER k, observability).
                self.effects.0.push(Effect::Do(Action::Reply { client, response: Response::Done }));
                let message = match request {
                    Request::Standby(which) => Fifo::standby(which),
                    Request::Takeover(which) => Fifo::Takeover(which),
                    // It has no such command.
                    Request::Cleanup(_) | Request::Confirm(_) | Request::Give { .. } | Request::Take { .. } => {
                        return std::mem::take(&mut self.effects.0);
                    }
                };
                self.commands.push((self.now.plus(costs::COMMAND), message));
            }
            Input::Operator(Command::Stop) => {
                self.ending.ask_to_stop();
                if self.process == Process::Runs {
                    self.turn();
                }
            }
            Input::WallClock(time) => self.wall_clock = (self.now, time),
            Input::Load(load) => self.load = load,
            // What it does then is decided by its host: it rereads authkeys, restarts, or exits (CLUSTER b.7).
            Input::Reload(reload) => {
                if let Some(new) = reload.config() {
                    self.config = Constant::new(self.config.renewed(new));
                }
            }
            // Clients of the API and programs are no part of the model.
            Input::Carrier { .. }
            | Input::Accounts(_)
            | Input::ApiOpened { .. }
            | Input::ApiMessage { .. }
            | Input::ApiClosed { .. }
            | Input::Fifo { .. }
            | Input::ProgramEnded { .. }
            | Input::NetworkBack { .. } => {}
        }
        self.rearm();
        std::mem::take(&mut self.effects.0)
    }

    /// The deadline that the last [`Action::ArmTimer`] named; `None` before the first, and when nothing is due at all.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.armed.filter(|deadline| *deadline != Instant::FAR_FUTURE)
    }

    /// A digest of all state.
    pub fn digest(&self) -> u64 {
        digest_of(self)
    }

    /// What `cl_status rscstatus` prints: `none`, `local`, `foreign`, `all` or `transition` (CLUSTER c.2).
    pub fn rscstatus(&self) -> &'static str {
        if self.is_stable() { self.holdings.hold.as_str() } else { "transition" }
    }

    /// Whether no resource work is under way as far as it knows (CLUSTER c.2).
    pub fn is_stable(&self) -> bool {
        self.process == Process::Runs && self.is_calm()
    }

    /// The word that it announces: `init`, `up`, `active`; `dead` between two lives.
    pub fn status_word(&self) -> &'static str {
        match (self.process, self.peers[self.local()].word) {
            (Process::Sleeps(_) | Process::Gone, _) => "dead",
            (Process::Runs, Word::Up) => "up",
            (Process::Runs, Word::Active) => "active",
            _ => "init",
        }
    }

    /// The generation of its present life.
    pub fn generation(&self) -> Generation {
        self.boot.generation
    }

    // --- time

    fn on_wake(&mut self) {
        match self.process {
            Process::Loads(until) if until <= self.now => self.begin_life(),
            Process::Sleeps(until) if until <= self.now => self.execute_again(),
            Process::Runs => {
                self.announce();
                self.run_commands();
                let ended = self.run_children();
                if ended || self.next_turn() <= self.now {
                    self.turn();
                }
            }
            _ => {}
        }
    }

    /// One turn of the main loop, in the order that the recordings show.
    fn turn(&mut self) {
        if self.next_tick <= self.now {
            self.beat();
        }
        self.poll();
        self.read_inbox();
        self.poll_holdings();
        while let Some(message) = self.fifo.pop_front() {
            self.pass_on(message);
        }
        self.reap();
        self.begin_jobs();
        self.consider_end();
    }

    /// When the loop wakes by itself.
    fn next_turn(&self) -> Instant {
        let requests = self.peers.iter().filter_map(|peer| peer.track.next_request());
        let own = [Some(self.next_tick), self.joining.retry(), self.ending.next(), self.holdings.failback_retry];
        own.into_iter().flatten().chain(requests).min().unwrap_or(Instant::FAR_FUTURE)
    }

    fn rearm(&mut self) {
        let next = match self.process {
            Process::Loads(until) | Process::Sleeps(until) => until,
            Process::Gone => Instant::FAR_FUTURE,
            Process::Runs => {
                let children = self.children.iter().filter_map(Child::wakes_at);
                let commands = self.commands.iter().map(|(at, _)| *at);
                let announcers = self.announcers.iter().map(|announcer| announcer.next);
                let rest = children.chain(commands).chain(announcers).min();
                rest.unwrap_or(Instant::FAR_FUTURE).min(self.next_turn())
            }
        };
        if self.armed != Some(next) {
            self.armed = Some(next);
            self.effects.0.push(Effect::Do(Action::ArmTimer { deadline: next }));
        }
    }

    // --- small things for all files

    fn local(&self) -> usize {
        self.config.local().index()
    }

    fn is_local(&self, node: usize) -> bool {
        node == self.local()
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let local = self.local();
        (0..self.peers.len()).filter(move |node| *node != local)
    }

    fn say(&mut self, level: Level, text: impl Into<String>) {
        self.effects.0.push(Effect::Say(level, text.into()));
    }

    /// A number below `bound`, different with every call and every boot.
    fn draw(&mut self, bound: u64) -> u64 {
        self.draws += 1;
        digest_of(&(self.boot.seed, self.boot.generation, self.draws)) % bound.max(1)
    }
}
