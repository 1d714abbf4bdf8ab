//! Our own start and end, heartbeats, the death and the return of others. Read CLUSTER b and WIRE 10 first.

use super::children::{Job, Purpose};
use super::holdings::State;
use super::peer::Word;
use super::traffic::word_of;
use super::{Effect, Model, Process};
use hb_core::ids::{Generation, Seq};
use hb_core::time::Instant;
use hb_core::wire::Body;
use hb_core::wire::message::{RepNodes, Status, StatusWord};
use hb_core::{Action, Boot, ExitReason, Level};
use std::borrow::Cow;
use std::time::Duration;

/// The resolution of the original's clock; heartbeats in the recordings are irregular by as much.
pub(super) const CLOCK_TICK: Duration = Duration::from_millis(10);
/// A node that starts asks for this much more time, for so long (CLUSTER a.4).
const START_GRACE: Duration = Duration::from_secs(2);
const START_GRACE_LASTS: Duration = Duration::from_secs(5);
/// A node that restarts asks for this much more.
const RESTART_GRACE: Duration = Duration::from_secs(30);
/// The node list is asked for again after this time.
const NODE_LIST_RETRY: Duration = Duration::from_secs(1);
/// From the return of a node to our own restart (CLUSTER b.6).
const RESTART_DELAY: Duration = Duration::from_secs(2);
/// The length of each of the two phases after `shutdone` (CLUSTER b.4).
const END_PHASE: Duration = Duration::from_secs(1);

/// How far the start has come (CLUSTER b.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Joining {
    /// Some node was neither heard nor declared dead.
    Listens,
    /// This node was asked for the node list, and will be asked again then.
    Asks(usize, Instant),
    /// Communication is up.
    Joined,
}

impl Joining {
    pub(super) fn retry(self) -> Option<Instant> {
        match self {
            Joining::Asks(_, at) => Some(at),
            Joining::Listens | Joining::Joined => None,
        }
    }
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ending {
    /// The operator wants it.
    is_ordered: bool,
    /// When a returned peer makes us restart. It is looked at in every turn and causes none.
    restart_at: Option<Instant>,
    /// Whether the delay was logged.
    is_explained: bool,
    /// Resources are being given up, or were.
    has_begun: bool,
    /// The end of the present phase after `shutdone`, and whether it is the second.
    phase: Option<(Instant, bool)>,
}

impl Ending {
    pub(super) fn ask_to_stop(&mut self) {
        self.is_ordered = true;
    }

    pub(super) fn next(self) -> Option<Instant> {
        self.phase.map(|(until, _)| until)
    }

    fn is_due(self, now: Instant) -> bool {
        // By a coarse clock: in the recording the turn two seconds later is late enough.
        self.is_ordered || self.restart_at.is_some_and(|at| at <= now.plus(CLOCK_TICK))
    }
}

impl Model {
    // --- our start

    pub(super) fn begin_life(&mut self) {
        self.process = Process::Runs;
        let generation = self.boot.generation;
        self.say(Level::Info, "Configuration validated. Starting heartbeat 3.0.6");
        self.say(Level::Info, format!("Heartbeat generation: {generation}"));
        let local = self.local();
        self.peers[local].generation = generation;
        // From here on the clock of initdead and of the enlarged dead time runs.
        self.boot.now = self.now;
        self.send_status();
        self.set_status(Word::Up);
        self.send_status();
        self.rhythm = self.now;
        self.plan_beat();
    }

    /// The process replaces itself: everything in memory is gone, the disk has counted the start.
    pub(super) fn execute_again(&mut self) {
        let generation = Generation(self.boot.generation.0 + 1);
        self.effects.0.push(Effect::Generation(generation));
        let wall_clock = hb_core::time::UnixTime(self.wall_clock.1.0 + self.now.since(self.wall_clock.0).as_secs());
        let boot = Boot { now: self.now, wall_clock, generation, ..self.boot.clone() };
        let (armed, load, effects) = (self.armed, self.load, std::mem::take(&mut self.effects.0));
        let mut next = Model::begin(self.config.clone(), boot, self.last_op);
        (next.armed, next.load, next.effects.0) = (armed, load, effects);
        *self = next;
    }

    fn set_status(&mut self, word: Word) {
        let local = self.local();
        self.peers[local].word = word;
        let text = if word == Word::Up { "up" } else { "active" };
        self.say(Level::Info, format!("Local status now set to: '{text}'"));
        self.send_status();
    }

    pub(super) fn beat(&mut self) {
        self.send_status();
        self.plan_beat();
    }

    /// The next heartbeat: in the rhythm of the keepalive, as exactly as the clock allows.
    fn plan_beat(&mut self) {
        let keepalive = self.config.timing().keepalive();
        self.rhythm = self.rhythm.plus(keepalive);
        if self.rhythm <= self.now {
            self.rhythm = self.now.plus(keepalive);
        }
        let late = self.draw(u64::try_from(CLOCK_TICK.as_micros()).unwrap_or(u64::MAX));
        self.next_tick = self.rhythm.plus(Duration::from_micros(late));
    }

    fn send_status(&mut self) {
        let extra = if self.ending.phase.is_some() && self.is_restarting() {
            RESTART_GRACE
        } else if self.now.since(self.boot.now) < START_GRACE_LASTS {
            START_GRACE
        } else {
            Duration::ZERO
        };
        let deadtime = Some(self.config.timing().deadtime() + extra);
        let word = match self.peers[self.local()].word {
            Word::Up => StatusWord::Up,
            Word::Active => StatusWord::Active,
            Word::Init | Word::Dead | Word::Other => StatusWord::Init,
        };
        let local = self.local();
        self.peers[local].deadtime = deadtime;
        self.send(&Body::Status(Status { word, deadtime, protocol: Some(1), native: None, hears: None }), None);
    }

    /// Communication is up when everybody was heard or declared dead; then the node list is asked for (CLUSTER b.2).
    fn consider_joining(&mut self) {
        let settled = |node: usize| self.peers[node].is_heard() || self.peers[node].word == Word::Dead;
        if self.joining != Joining::Listens || !self.others().all(settled) {
            return;
        }
        match self.others().find(|node| self.peers[*node].word != Word::Dead) {
            Some(node) => self.ask_node_list(node),
            None => self.join(),
        }
    }

    fn ask_node_list(&mut self, node: usize) {
        self.joining = Joining::Asks(node, self.now.plus(NODE_LIST_RETRY));
        self.send(&Body::ReqNodes, Some(node));
    }

    pub(super) fn on_node_list_asked(&mut self, from: usize) {
        let config = self.config.clone();
        let nodes = config.nodes().iter().map(|node| Cow::Borrowed(node.name.as_str())).collect();
        self.send(&Body::RepNodes(RepNodes { nodes, deleted: Vec::new() }), Some(from));
    }

    pub(super) fn on_node_list(&mut self) {
        if matches!(self.joining, Joining::Asks(..)) {
            self.join();
        }
    }

    fn join(&mut self) {
        self.joining = Joining::Joined;
        self.say(Level::Info, "Comm_now_up(): updating status to active");
        self.set_status(Word::Active);
        if !self.ending.is_ordered {
            self.holdings.state = State::Starting;
            self.send(&Body::Starting, None);
        }
    }

    pub(super) fn has_joined(&self) -> bool {
        self.joining == Joining::Joined
    }

    // --- what every turn looks at

    pub(super) fn poll(&mut self) {
        let local = self.local();
        let was = self.peers[local].deadtime;
        if was.is_some_and(|was| was == self.config.timing().deadtime() + START_GRACE)
            && self.now.since(self.boot.now) >= START_GRACE_LASTS
        {
            self.send_status();
        }
        for node in self.others() {
            if self.peers[node].word != Word::Dead && self.is_silent(node) {
                self.bury(node);
            }
        }
        self.bury_links();
        if let Joining::Asks(node, at) = self.joining
            && at <= self.now
        {
            self.ask_node_list(node);
        }
        self.request_missing();
        if let Some((until, is_second)) = self.ending.phase
            && until <= self.now
        {
            self.end_phase(is_second);
        }
    }

    fn is_silent(&self, node: usize) -> bool {
        let timing = self.config.timing();
        let since = self.now.since(self.peers[node].heard_at.unwrap_or(self.boot.now));
        let limit =
            if self.has_joined() { self.peers[node].deadtime.unwrap_or(timing.deadtime()) } else { timing.initdead() };
        // In the recordings the first turn after the limit finds it, by however little it was passed.
        since.saturating_add(CLOCK_TICK) >= limit
    }

    // --- others

    /// Whether a status counts, by generation and number; a new process or a healed partition shows here (WIRE 9.2, 2).
    pub(super) fn admit_status(&mut self, from: usize, generation: Generation, seq: Seq) -> bool {
        let peer = &mut self.peers[from];
        if generation > peer.generation {
            let is_known = peer.is_heard();
            peer.restart(generation);
            if is_known {
                let text = format!("Heartbeat restart on node {}", peer.name);
                self.say(Level::Warn, text);
            }
            return true;
        }
        if peer.word != Word::Dead {
            return true;
        }
        if seq <= peer.status_seq {
            return false;
        }
        peer.track.begin_anew();
        let text = format!("Cluster node {} returning after partition.", peer.name);
        self.say(Level::Crit, text);
        self.send_status();
        if self.ending.restart_at.is_none() {
            self.ending.restart_at = Some(self.now.plus(RESTART_DELAY));
        }
        true
    }

    pub(super) fn on_status(&mut self, from: usize, seq: Seq, status: &Status<'_>) {
        let (now, timing) = (self.now, self.config.timing());
        let peer = &mut self.peers[from];
        let interval = peer.heard_at.replace(now).map_or(Duration::ZERO, |before| now.since(before));
        peer.status_seq = seq;
        peer.deadtime = status.deadtime.or(peer.deadtime);
        let name = peer.name.clone();
        let late = format!("Late heartbeat: Node {name}: interval {} ms", interval.as_millis());
        if interval > timing.deadtime() {
            self.say(Level::Crit, format!("{late} (> deadtime)"));
            self.bury(from);
        } else if interval > timing.warntime() {
            self.say(Level::Warn, late);
        }
        let word = word_of(&status.word);
        if std::mem::replace(&mut self.peers[from].word, word) != word {
            self.say(Level::Info, format!("Status update for node {name}: status {}", status.word.as_str()));
            // Scripts hear of every change; only a death means something to them. In the recordings nobody wakes for the end
            // of such a job before communication is up.
            if self.has_joined() {
                self.jobs.push_back(Job::Status(None));
            }
        }
        self.consider_joining();
    }

    /// A node is dead: by silence, or because it was silent too long before it spoke again (CLUSTER c.5).
    fn bury(&mut self, node: usize) {
        let peer = &mut self.peers[node];
        let text = format!("node {}: is dead", peer.name);
        peer.word = Word::Dead;
        peer.track.missing.clear();
        peer.acknowledged = Seq(0);
        let was_heard = std::mem::replace(&mut peer.heard_since_death, false);
        self.say(Level::Warn, text);
        self.consider_joining();
        // The node that was asked for its list is not asked any more.
        if let Joining::Asks(asked, _) = self.joining
            && asked == node
        {
            self.joining = Joining::Listens;
            self.consider_joining();
        }
        self.on_death(node, was_heard);
    }

    // --- our end

    /// Begins to give everything up once nothing else is under way (CLUSTER b.4).
    pub(super) fn consider_end(&mut self) {
        if self.ending.has_begun || !self.ending.is_due(self.now) {
            return;
        }
        let reason = if !self.has_joined() {
            Some("Shutdown delayed until Communication is up.")
        } else if !self.is_calm() && self.holdings.state != State::Init {
            Some("Shutdown delayed until current resource activity finishes.")
        } else {
            None
        };
        if let Some(reason) = reason {
            if !std::mem::replace(&mut self.ending.is_explained, true) {
                self.say(Level::Warn, reason);
            }
            return;
        }
        self.ending.has_begun = true;
        if self.is_restarting() {
            self.say(Level::Info, "Heartbeat restart triggered.");
        }
        self.say(Level::Info, "Heartbeat shutdown in progress. Giving up all HA resources.");
        self.send_status();
        self.holdings.state = State::Shutdown;
        self.holdings.hold = hb_core::wire::message::Holding::NONE;
        self.send_holdings(false, Some("shutdown"));
        self.begin_give_up();
    }

    fn is_restarting(&self) -> bool {
        !self.ending.is_ordered
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.has_begun || self.ending.is_ordered
    }

    /// Everything is given up.
    pub(super) fn say_goodbye(&mut self) {
        self.say(Level::Info, "All HA resources relinquished.");
        self.send(&Body::Shutdone, None);
    }

    /// Our own `shutdone` has come round.
    pub(super) fn on_own_shutdone(&mut self) {
        self.ending.phase = Some((self.now.plus(END_PHASE), false));
    }

    fn end_phase(&mut self, is_second: bool) {
        let name = self.config.local_name().to_owned();
        if !is_second {
            // The end of the clients and the way to the next phase both bring a heartbeat.
            self.ending.phase = Some((self.now.plus(END_PHASE), true));
            self.send_status();
            self.send_status();
            return;
        }
        if self.is_restarting() {
            self.say(Level::Info, "Restarting heartbeat.");
            self.say(Level::Info, "Performing heartbeat restart exec.");
            // The whole seconds of the dead time, rounded up, and one more.
            let deadtime = self.config.timing().deadtime();
            let seconds = deadtime.as_secs() + u64::from(deadtime.subsec_nanos() > 0);
            self.process = Process::Sleeps(self.now.plus(Duration::from_secs(seconds + 1)));
        } else {
            self.say(Level::Info, format!("{name} Heartbeat shutdown complete."));
            self.leave();
        }
    }

    /// The process ends, whatever it leaves behind.
    pub(super) fn leave(&mut self) {
        self.process = Process::Gone;
        self.effects.0.push(Effect::Do(Action::Exit(ExitReason::Stopped)));
    }

    /// The child that gives everything up.
    fn begin_give_up(&mut self) {
        let groups: Vec<usize> = (0..self.config.groups().len()).collect();
        self.begin_giving(&groups, Purpose::GiveUp, None);
    }
}
