//! Who holds which class of groups: the state machine of the managed mode. Read CLUSTER c first.
//!
//! ```text
//! Init --comm up--> Starting --starting--> BothStarting --any resource--> RscRcvd --10 s, or peer stable--> Stable
//! ```
//!
//! `hold` is bookkeeping about intentions: it changes when work begins, not when scripts have finished (c.2).

use super::Model;
use super::children::{Job, Purpose};
use super::life::CLOCK_TICK;
use hb_core::Level;
use hb_core::config::Failback;
use hb_core::time::Instant;
use hb_core::wire::Body;
use hb_core::wire::message::{AskResources, Holding, Resource, StandbyStep, Stonith, StonithResult};
use std::borrow::Cow;
use std::time::Duration;

/// The wait before local groups are taken while nobody is known to be stable (RQSTDELAY).
const REQUEST_DELAY: Duration = Duration::from_secs(10);
/// The wait for an answer to a standby request.
const STANDBY_REPLY: Duration = Duration::from_secs(10);
/// The wait for release or acquisition in a standby.
const STANDBY_WORK: Duration = Duration::from_hours(1);
/// After this time a failback is tried again.
const FAILBACK_RETRY: Duration = Duration::from_secs(1);

/// Where a node is on its way to a stable state (`rstate`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum State {
    #[default]
    Init,
    Starting,
    BothStarting,
    RscRcvd,
    Stable,
    Shutdown,
}

/// Who goes to standby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Standby {
    #[default]
    Not,
    Me,
    Other,
    Done,
}

/// The bookkeeping about resources; one aggregate for all peers (c.10).
#[derive(Clone, Debug, Default, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "c.2 lists them so; all combinations occur")]
pub(super) struct Holdings {
    pub(super) state: State,
    pub(super) hold: Holding,
    other_hold: Holding,
    other_stable: bool,
    takeover_in_progress: bool,
    standby: Standby,
    standby_deadline: Option<Instant>,
    needs_failback: bool,
    pub(super) failback_retry: Option<Instant>,
    /// Armed once in the life of a process.
    local_timer: Option<Instant>,
    /// Whether `Initial resource acquisition complete` was said.
    is_initialised: bool,
}

impl Model {
    /// The stable test of c.2.
    pub(super) fn is_calm(&self) -> bool {
        let holdings = &self.holdings;
        holdings.other_stable
            && !holdings.takeover_in_progress
            && holdings.standby == Standby::Not
            && self.children.is_empty()
            && matches!(holdings.state, State::Init | State::Stable | State::Shutdown)
    }

    /// Messages that are about resources or the way into the cluster; `from` may be ourselves.
    pub(super) fn on_message(&mut self, from: usize, body: &Body<'_>) {
        match body {
            Body::ReqNodes => return self.on_node_list_asked(from),
            Body::RepNodes(_) => return self.on_node_list(),
            _ if !self.has_joined() => return,
            _ => {}
        }
        self.look_at_standby_deadline();
        let is_own = self.is_local(from);
        match body {
            Body::Starting if !is_own => self.on_starting(),
            Body::Resource(resource) if is_own => self.on_own_resource(resource),
            Body::Resource(resource) => self.on_resource(resource),
            Body::AskResources(ask) => self.on_ask(from, *ask),
            Body::IpResponse(response) => {
                let group = self.config.groups().iter().position(|group| *group.key == *response.group);
                self.jobs.extend(group.map(Job::TakeGroup));
            }
            Body::Shutdone if is_own => self.on_own_shutdone(),
            Body::Shutdone => self.on_shutdone(from),
            Body::Takeover(set) => self.jobs.push_back(Job::Takeover((!is_own).then(|| set.exchanged()))),
            // The word `failback` is not translated: the command on the other node runs without argument (c.8).
            Body::Client { kind, .. } if kind == "hb_takeover" => {
                let set = match body {
                    Body::Client { fields, .. } => fields.text("rsc_hold"),
                    _ => None,
                };
                let set = set.and_then(|word| std::str::from_utf8(word).ok()).and_then(Holding::named);
                let set = set.map_or(Holding::ALL, Holding::exchanged);
                self.jobs.push_back(Job::Takeover((!is_own).then_some(set)));
            }
            _ => {}
        }
    }

    pub(super) fn send_holdings(&mut self, stable: bool, info: Option<&str>) {
        let info = info.map(Cow::Borrowed);
        let resource = Resource { holding: self.holdings.hold, full: true, stable: Some(stable), info };
        self.send(&Body::Resource(resource), None);
    }

    fn is_in_state_stable(&self) -> bool {
        self.holdings.state == State::Stable
    }

    // --- initial acquisition (c.3)

    fn on_starting(&mut self) {
        self.holdings.other_stable = false;
        match self.holdings.state {
            State::Init | State::Shutdown => return,
            State::Starting => self.holdings.state = State::BothStarting,
            State::BothStarting | State::RscRcvd | State::Stable => {}
        }
        let stable = self.is_in_state_stable();
        self.send_holdings(stable, None);
    }

    /// Whoever has spoken of resources: from then on the wait is limited.
    fn on_any_resource(&mut self) {
        if matches!(self.holdings.state, State::Starting | State::BothStarting) {
            self.holdings.state = State::RscRcvd;
            let until = self.now.plus(REQUEST_DELAY);
            self.holdings.local_timer.get_or_insert(until);
        }
    }

    fn on_own_resource(&mut self, resource: &Resource<'_>) {
        self.on_any_resource();
        if resource.info.as_deref() == Some("mach_down") && self.holdings.state != State::Shutdown {
            self.say(Level::Info, "mach_down takeover complete.");
            self.holdings.takeover_in_progress = false;
            self.holdings.hold.foreign = true;
            self.holdings.other_stable = true;
            self.holdings.needs_failback = true;
            self.say_initialised("mach_down");
        }
    }

    fn on_resource(&mut self, resource: &Resource<'_>) {
        let holdings = &mut self.holdings;
        holdings.other_hold = if resource.full || resource.holding.is_none() {
            resource.holding
        } else {
            holdings.other_hold.union(resource.holding)
        };
        self.on_any_resource();
        if let Some(stable) = resource.stable
            && std::mem::replace(&mut self.holdings.other_stable, stable) != stable
            && stable
        {
            self.say(Level::Info, "remote resource transition completed.");
            if self.holdings.state != State::Shutdown {
                let stable = self.is_in_state_stable();
                self.send_holdings(stable, None);
            }
            self.try_failback();
        }
        if self.holdings.other_stable && !matches!(self.holdings.state, State::Init | State::Stable | State::Shutdown) {
            self.take_local(false);
            self.holdings.state = State::Stable;
            self.say_initialised("T_RESOURCES(them)");
            self.send_holdings(true, None);
            self.try_failback();
        }
        self.audit();
    }

    /// The timers of resources, after what has arrived: in the recordings a peer that speaks in the turn in which ours
    /// expires comes first.
    pub(super) fn poll_holdings(&mut self) {
        // By a coarse clock the timer has not expired in the turn that comes exactly ten seconds after it was armed.
        let expired = self.holdings.local_timer.is_some_and(|at| at.plus(CLOCK_TICK) <= self.now);
        if expired && self.holdings.state == State::RscRcvd {
            self.holdings.state = State::Stable;
            self.take_local(false);
            self.say(Level::Info, "local resource transition completed.");
            self.say_initialised("T_RESOURCES(us)");
            self.send_holdings(true, None);
            self.audit();
        }
        if self.holdings.failback_retry.is_some_and(|at| at <= self.now) {
            self.holdings.failback_retry = None;
            self.try_failback();
        }
    }

    /// Takes the groups whose home this is, unless somebody has them.
    fn take_local(&mut self, force: bool) {
        let holdings = &mut self.holdings;
        if !force && holdings.standby == Standby::Not && (holdings.other_hold.foreign || holdings.hold.local) {
            return self.say(Level::Info, "Local Resource acquisition completed. (none)");
        }
        holdings.hold.local = true;
        self.begin_taking_local();
    }

    /// The child that looks after our own groups has ended.
    pub(super) fn on_local_taken(&mut self) {
        let text = if self.groups_of(Holding::LOCAL).is_empty() {
            "No local resources [ResourceManager listkeys] to acquire."
        } else {
            "Local Resource acquisition completed."
        };
        self.say(Level::Info, text);
        if self.holdings.state != State::Shutdown {
            self.send_holdings(true, Some("req_our_resources()"));
        }
    }

    fn say_initialised(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.holdings.is_initialised, true) {
            self.say(Level::Info, format!("Initial resource acquisition complete ({reason})"));
        }
    }

    // --- death and goodbye (c.5)

    pub(super) fn on_death(&mut self, node: usize, was_heard: bool) {
        if std::mem::take(&mut self.holdings.standby) != Standby::Not {
            self.holdings.standby_deadline = None;
            self.say(Level::Warn, "Cancelling pending standby operation");
        }
        if self.is_ending() {
            return;
        }
        self.holdings.needs_failback = true;
        let is_unneeded = was_heard && self.holdings.other_hold.is_none();
        let name = self.peers[node].name.clone();
        let result = if is_unneeded { StonithResult::Unneeded } else { StonithResult::NoDevice };
        self.send(&Body::Stonith(Stonith { node: Cow::Borrowed(&name), result, life: None }), None);
        if !is_unneeded {
            self.say(Level::Warn, "No STONITH device configured.");
            self.say(Level::Warn, "Shared disks are not protected.");
            return self.take_over(node);
        }
        self.say(Level::Info, format!("Dead node {name} gave up resources."));
        if self.holdings.hold == Holding::ALL {
            self.holdings.other_stable = true;
            return;
        }
        if !self.holdings.hold.local {
            self.take_local(true);
        }
        if !self.holdings.hold.foreign {
            self.take_over(node);
        }
    }

    fn take_over(&mut self, node: usize) {
        let text = format!("Resources being acquired from {}.", self.peers[node].name);
        self.say(Level::Info, text);
        self.jobs.push_back(Job::Status(Some(node)));
        // The job goes first if nothing runs; the child for our own groups then runs beside it.
        self.begin_jobs();
        let holdings = &mut self.holdings;
        holdings.hold.foreign = true;
        holdings.other_hold = Holding::NONE;
        holdings.other_stable = true;
        holdings.takeover_in_progress = true;
        self.take_local(true);
    }

    fn on_shutdone(&mut self, from: usize) {
        let text = format!("Received shutdown notice from '{}'.", self.peers[from].name);
        self.say(Level::Info, text);
        if self.holdings.state == State::Shutdown {
            return self.say(Level::Info, "Resource takeover cancelled - shutdown in progress.");
        }
        self.holdings.other_hold = Holding::NONE;
        self.holdings.other_stable = true;
        let missing = Holding::ALL.minus(self.holdings.hold);
        if !missing.is_none() {
            // In addition to the takeover: the same groups are asked for twice (c.5).
            self.begin_acquiring(missing, None);
        }
        self.take_over(from);
    }

    // --- failback (c.6)

    fn try_failback(&mut self) {
        let holdings = &mut self.holdings;
        let is_wanted = self.config.failback() == Failback::On && holdings.hold.foreign && holdings.needs_failback;
        if !is_wanted || self.is_ending() {
            return;
        }
        let holdings = &mut self.holdings;
        if holdings.standby != Standby::Not || !holdings.other_stable || holdings.state != State::Stable {
            holdings.failback_retry = Some(self.now.plus(FAILBACK_RETRY));
            return self.say(Level::Debug, "Auto failback delayed.");
        }
        holdings.needs_failback = false;
        self.say_initialised("auto_failback");
        self.send(&Body::AskResources(AskResources { holding: Holding::FOREIGN, step: StandbyStep::Me }), None);
    }

    // --- standby (c.7)

    fn on_ask(&mut self, from: usize, ask: AskResources) {
        if self.holdings.state == State::Shutdown {
            return;
        }
        let is_own = self.is_local(from);
        let name = self.peers[from].name.clone();
        let (set, word) = (ask.holding, ask.holding.as_str());
        match (ask.step, self.holdings.standby, is_own) {
            (StandbyStep::Me, ..) => self.on_standby_wanted(&name, is_own, set),
            (StandbyStep::Other, Standby::Me, false) => {
                self.say(Level::Info, format!("standby: {name} can take our {word} resources"));
                self.say(Level::Info, format!("give up {word} HA resources (standby)."));
                self.holdings.hold = self.holdings.hold.minus(set);
                self.holdings.standby_deadline = Some(self.now.plus(STANDBY_WORK));
                self.send_holdings(false, Some("standby"));
                let groups = self.groups_of(set);
                self.begin_giving(&groups, Purpose::Work, Some((set, StandbyStep::Done)));
            }
            (StandbyStep::Done, Standby::Me, true) => {
                self.say(Level::Info, format!("{word} HA resource release completed (standby)."));
                self.say(Level::Info, format!("Local standby process completed [{word}]."));
                self.holdings.standby = Standby::Done;
            }
            (StandbyStep::Done, Standby::Other, false) => {
                self.say(Level::Info, format!("standby: acquire [{word}] resources from {name}"));
                self.say(Level::Info, format!("acquire {word} HA resources (standby)."));
                self.holdings.standby = Standby::Done;
                self.begin_acquiring(set.exchanged(), Some((set, StandbyStep::Done)));
            }
            (StandbyStep::Done, Standby::Done, true) => {
                self.say(Level::Info, format!("{word} HA resource acquisition completed (standby)."));
                self.say(Level::Info, format!("Standby resource acquisition done [{word}]."));
                self.holdings.hold = self.holdings.hold.union(set.exchanged());
                self.end_standby();
            }
            (StandbyStep::Done, Standby::Done, false) => {
                let text = format!("Other node completed standby takeover of {word} resources.");
                self.say(Level::Info, text);
                self.end_standby();
            }
            (StandbyStep::Other, _, true) => {}
            (step, standby, _) => {
                let state = standby as u8;
                let text = format!("Ignored standby message '{}' from {name} in state {state}", step.as_str());
                self.say(Level::Error, text);
            }
        }
    }

    fn on_standby_wanted(&mut self, name: &str, is_own: bool, set: Holding) {
        let holdings = &mut self.holdings;
        if let Some(deadline) = holdings.standby_deadline {
            let left = deadline.since(self.now).as_secs();
            let text = format!("Standby in progress- new request from {name} ignored [{left} seconds left]");
            return self.say(Level::Warn, text);
        }
        let ignored = if !holdings.other_stable {
            Some("Other side is in flux.")
        } else if holdings.state != State::Stable {
            Some("local resources in flux.")
        } else {
            None
        };
        if let Some(why) = ignored {
            return self.say(Level::Warn, format!("standby message [me] from {name} ignored.  {why}"));
        }
        holdings.other_stable = false;
        holdings.standby = if is_own { Standby::Me } else { Standby::Other };
        let wait = if is_own { STANDBY_REPLY } else { STANDBY_WORK };
        holdings.standby_deadline = Some(self.now.plus(wait));
        self.say(Level::Info, format!("{name} wants to go standby [{}]", set.as_str()));
        if !is_own {
            self.send(&Body::AskResources(AskResources { holding: set, step: StandbyStep::Other }), None);
        }
    }

    fn end_standby(&mut self) {
        self.holdings.standby = Standby::Not;
        self.holdings.standby_deadline = None;
        self.send_holdings(true, None);
    }

    /// Looked at only when some packet is processed (c.7).
    pub(super) fn look_at_standby_deadline(&mut self) {
        if self.holdings.standby_deadline.is_some_and(|deadline| deadline <= self.now) {
            self.holdings.standby = Standby::Not;
            self.holdings.standby_deadline = None;
            self.holdings.other_stable = true;
            self.say(Level::Warn, "No reply to standby request.  Standby request cancelled.");
        }
    }

    // --- audits (c.11): they only log

    fn audit(&mut self) {
        let (ours, theirs) = (self.holdings.hold, self.holdings.other_hold);
        if ours.local && theirs.foreign {
            self.say(Level::Error, "Both machines own our resources!");
        }
        if ours.foreign && theirs.local {
            self.say(Level::Error, "Both machines own foreign resources!");
        }
        if self.is_calm() && self.holdings.state != State::Shutdown {
            if !ours.local && !theirs.foreign {
                self.say(Level::Error, "No one owns our local resources!");
            }
            if !ours.foreign && !theirs.local {
                self.say(Level::Error, "No one owns foreign resources!");
            }
        }
    }

    /// The groups of a class, in the order of haresources.
    pub(super) fn groups_of(&self, set: Holding) -> Vec<usize> {
        let local = self.config.local();
        let is_in = |home| if home == local { set.local } else { set.foreign };
        let groups = self.config.groups().iter().enumerate();
        groups.filter(|(_, group)| is_in(group.home)).map(|(at, _)| at).collect()
    }
}
