//! The machine around a node: performs its actions and turns what happens into inputs. Decides nothing.
//!
//! [`Machine::perform`] never fails and never waits for a disk, another process or a lock of the kernel: a lost packet is a
//! counter, a failed operation an [`Input::OpDone`], a log line goes to a bounded queue.

mod operations;

use crate::accounts;
use crate::addresses::Addresses;
use crate::api::Api;
use crate::clock;
use crate::config::Loaded;
use crate::control::{self, Asked, Control};
use crate::fencing;
use crate::fencing::Wanted;
use crate::fifo::Fifo;
use crate::files::{Asker, Files};
use crate::guard::Guard;
use crate::keeper::Keeper;
use crate::log::{Log, Targets};
use crate::net::announce::Announcer;
use crate::net::cables::Cables;
use crate::process::Scripts;
use crate::programs::Programs;
use crate::reboot;
use crate::status::{self, MachineStatus};
use crate::timer::Timer;
use crate::transport::icmp::Icmp;
use crate::transport::serial::Serial;
use crate::transport::udp::{Change, Udp};
use hb_core::config::{Config, LogConfig, watchdog};
use hb_core::ids::{ClientId, MediumId, OpId};
use hb_core::time::Instant;
use hb_core::{
    Accounts, Action, Carrier, Command, Door, Event, ExitReason, Input, Level, LoadAverage, Node, Reload, ResourceRun,
    Transcript,
};
use mio::{Events, Poll};
use nix::libc::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// Where events come from; the rest of the number space belongs to media, clients and scripts.
pub(crate) mod token {
    use mio::Token;
    pub(crate) const TIMER: Token = Token(0);
    pub(crate) const SIGNALS: Token = Token(1);
    pub(crate) const LAUNCHER: Token = Token(2);
    pub(crate) const CONTROL: Token = Token(3);
    pub(crate) const API: Token = Token(4);
    pub(crate) const FIFO: Token = Token(5);
    /// At most 64 media, so at most as many sockets and terminals.
    pub(crate) const MEDIA: Token = Token(16);
    /// One for each version of IP.
    pub(crate) const PINGS: Token = Token(112);
    pub(crate) const CLIENTS: Token = Token(128);
    pub(crate) const API_CLIENTS: Token = Token(512);
    pub(crate) const SCRIPTS: Token = Token(1024);
}

/// The wall clock and the load are read this often; only `ts=` and `ld=` depend on them, and the kernel computes the load
/// anew every five seconds. Reading it costs as much as sending a heartbeat.
const SURROUNDINGS_EVERY: Duration = Duration::from_secs(5);

/// Requests at the control socket between two looks at the network; the longest answer takes a tenth of a millisecond.
const REQUESTS_PER_TURN: usize = 16;

/// How long a reboot waits for the log's disk, which may be what hangs.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// What is opened before the node speaks.
pub(crate) struct Parts {
    pub(crate) poll: Poll,
    pub(crate) timer: Timer,
    /// Never dropped: the handlers outlive it, and would write into a closed pipe, which is another signal.
    pub(crate) signals: ManuallyDrop<Signals>,
    pub(crate) udp: Udp,
    pub(crate) icmp: Icmp,
    pub(crate) serial: Serial,
    pub(crate) addresses: Addresses,
    pub(crate) cables: Option<Cables>,
    pub(crate) announcer: Announcer,
    pub(crate) scripts: Scripts,
    pub(crate) control: Control,
    pub(crate) api: Api,
    pub(crate) fifo: Option<Fifo>,
    pub(crate) files: Files,
    pub(crate) keeper: Keeper,
    pub(crate) programs: Programs,
    /// Who outlives the daemon; absent where nothing is managed.
    pub(crate) guard: Option<Guard>,
    /// The numbers of users and groups, for the node.
    pub(crate) accounts: Accounts,
    /// Whether SIGINT stops the daemon, as a terminal expects; in the background it is ignored.
    pub(crate) foreground: bool,
    /// Debugging lines are logged from 1 on.
    pub(crate) debug: u8,
}

/// Everything a node needs of its machine.
pub(crate) struct Machine {
    parts: Parts,
    pub(crate) log: Log,
    events: Events,
    load: Option<File>,
    /// Scripts under way.
    running: BTreeMap<OpId, ResourceRun>,
    /// Programs of fencing devices, asked or told, and alarms under way, with their limits.
    shots: BTreeMap<OpId, Duration>,
    inputs: VecDeque<Input<'static>>,
    /// When the node is to be woken.
    deadline: Instant,
    /// What the kernel's timer is set to; the end of time once it has fired.
    armed: Instant,
    surroundings_due: Instant,
    /// Who sent the frame that is being handled.
    from: Option<SocketAddr>,
    exit: Option<ExitReason>,
    /// Which of FIFO, members and clients is heard first next time, so that none of them silences the others.
    ear: usize,
    /// Whether serial lines come first in the next look for packets, so that neither they nor UDP starve the other.
    serial_first: bool,
}

impl Machine {
    pub(crate) fn new(mut parts: Parts, log: Log) -> Machine {
        let accounts = std::mem::take(&mut parts.accounts);
        Machine {
            parts,
            log,
            events: Events::with_capacity(256),
            load: File::open("/proc/loadavg").ok(),
            running: BTreeMap::new(),
            shots: BTreeMap::new(),
            inputs: [Input::Accounts(accounts)].into(),
            deadline: Instant::ORIGIN,
            armed: Instant::FAR_FUTURE,
            surroundings_due: Instant::ORIGIN,
            from: None,
            exit: None,
            ear: 0,
            serial_first: false,
        }
    }

    /// Closes the control socket, so that nobody finds a daemon that is gone, and writes what is left of the log. Where the
    /// end was not in order the guard finds that out by itself.
    pub(crate) fn close(mut self) {
        if let (Some(guard), Some(_)) = (self.parts.guard.take(), self.exit) {
            guard.dismiss();
        }
        self.parts.scripts.retire();
        drop(self.parts);
        self.log.close();
    }

    /// Waits until something happens: a deadline, a packet, a signal, a client, a script.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        let others = [
            self.parts.addresses.next_deadline(),
            self.parts.scripts.next_deadline(),
            self.parts.serial.next_deadline(),
            self.parts.programs.next_deadline(),
        ];
        let deadline = others.into_iter().flatten().fold(self.deadline, Instant::min);
        if self.armed != deadline {
            self.parts.timer.arm(deadline)?;
            self.armed = deadline;
        }
        let packets_wait = self.parts.udp.is_ready() || self.parts.icmp.is_ready() || self.parts.serial.is_ready();
        let words_wait = self.parts.control.is_ready()
            || self.parts.api.is_ready()
            || self.parts.fifo.as_ref().is_some_and(Fifo::is_ready);
        let patience = (packets_wait || words_wait || !self.inputs.is_empty()).then_some(Duration::ZERO);
        self.poll(patience)
    }

    /// Asks what has happened so far, and waits for nothing.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        self.poll(Some(Duration::ZERO))
    }

    fn poll(&mut self, patience: Option<Duration>) -> io::Result<()> {
        match self.parts.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Turns events into inputs; packets are fetched one by one with [`receive`](Self::receive).
    pub(crate) fn collect(&mut self, now: Instant) {
        // Lent for the loop, which needs the rest of the machine.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                token::TIMER => self.armed = Instant::FAR_FUTURE,
                token::SIGNALS => self.on_signals(now),
                token::LAUNCHER => {
                    self.parts.scripts.on_wake(now);
                    self.parts.programs.on_wake(now);
                }
                token::API => self.parts.api.on_listener(),
                token::FIFO => self.parts.fifo.iter_mut().for_each(Fifo::on_readable),
                token if self.parts.api.owns(token) => self.parts.api.on_client(token),
                token::CONTROL => self.parts.control.on_listener(),
                token if self.parts.control.owns(token) => self.parts.control.on_client(token),
                token if token >= token::SCRIPTS => self.parts.scripts.on_readable(token),
                token if self.parts.serial.owns(token) => self.parts.serial.on_event(token),
                token if token >= token::PINGS => self.parts.icmp.on_readable(token.0.saturating_sub(token::PINGS.0)),
                token => self.parts.udp.on_readable(token.0.saturating_sub(token::MEDIA.0)),
            }
        }
        self.events = events;
        self.parts.control.admit(self.parts.poll.registry());
        self.parts.api.admit();
        self.complain(now);
        self.parts.scripts.on_time(now);
        self.parts.serial.tend(now, self.parts.poll.registry());
        self.note_lines();
        self.parts.programs.on_time(now);
        while let Some(problem) = self.parts.keeper.next_problem() {
            self.log.line(Level::Error, format!("{problem}: the next start will not know of it"));
        }
        self.parts.api.on_time(now);
        let ended = self.parts.programs.ended();
        self.inputs.extend(ended.map(|(program, end)| Input::ProgramEnded { program, end }));
        while let Some((op, run, outcome)) = self.parts.addresses.next(now) {
            self.tell_guard(&run, &outcome);
            self.inputs.push_back(Input::OpDone { op, outcome, said: Transcript::default() });
        }
        while let Some(back) = self.parts.cables.as_ref().and_then(Cables::next) {
            let addresses = self.parts.addresses.behind(&back);
            self.inputs.extend(addresses.map(|address| Input::NetworkBack { address }));
        }
        while let Some(news) = self.parts.scripts.next_news() {
            self.on_news(news);
        }
        if now >= self.surroundings_due {
            self.surroundings_due = now.plus(SURROUNDINGS_EVERY);
            self.inputs.push_back(Input::WallClock(clock::wall()));
            self.inputs.extend(self.read_load().map(Input::Load));
        }
    }

    fn on_signals(&mut self, now: Instant) {
        let pending: Vec<i32> = self.parts.signals.pending().collect();
        for signal in pending {
            match signal {
                SIGCHLD => {
                    self.parts.scripts.on_child(now);
                    self.parts.programs.on_child();
                }
                SIGTERM => self.inputs.push_back(Input::Operator(Command::Stop)),
                SIGINT if self.parts.foreground => self.inputs.push_back(Input::Operator(Command::Stop)),
                SIGHUP => {
                    self.parts.files.ask(None);
                }
                SIGUSR1 => self.set_debug(self.parts.debug.saturating_add(1)),
                SIGUSR2 => self.set_debug(self.parts.debug.saturating_sub(1)),
                _ => {}
            }
        }
    }

    fn set_debug(&mut self, level: u8) {
        self.parts.debug = level;
        self.log.line(Level::Info, format!("debug now set to {level} [pid {}]", std::process::id()));
    }

    /// Files that were read again because somebody asked for it, and who did.
    pub(crate) fn next_files(&mut self) -> Option<(Box<Loaded>, Vec<Asker>)> {
        self.parts.files.next()
    }

    /// Files that were read again, for the node, and what the machine itself does with them.
    pub(crate) fn reload(&mut self, loaded: &Loaded, config: &Config, running: &Config, targets: Targets) {
        let reload = Reload::new(config.clone(), loaded.ha_cf.clone(), loaded.haresources.clone());
        let (log, before) = (config.log(), running.log());
        let places = |log: &LogConfig| (log.logfile.clone(), log.debugfile.clone(), log.logfacility);
        if let Some(guard) = &mut self.parts.guard {
            if places(log) != places(before) {
                guard.turn_log(targets.clone());
            }
            guard.set_timeout(watchdog::timeout(&config.timing()));
        }
        if places(log) != places(before) && !self.log.turn_to(targets) {
            self.log.line(Level::Error, "the log is too busy to go elsewhere: reload once more");
        }
        self.inputs.push_back(Input::Reload(Box::new(reload)));
        // Who the names of new lists are.
        self.inputs.push_back(Input::Accounts(accounts::resolve(config)));
        if log.debug != before.debug {
            self.set_debug(log.debug);
        }
    }

    /// Tells a client, if it is still there.
    pub(crate) fn answer(&mut self, client: ClientId, answer: &serde_json::Value) {
        self.parts.control.answer(client, answer);
    }

    fn read_load(&self) -> Option<LoadAverage> {
        let mut text = [0; LoadAverage::MAX + 1];
        let length = self.load.as_ref()?.read_at(&mut text, 0).ok()?;
        LoadAverage::new(std::str::from_utf8(&text[..length]).ok()?)
    }

    /// The next input that is not a packet.
    pub(crate) fn next_input(&mut self) -> Option<Input<'static>> {
        self.inputs.pop_front()
    }

    /// The next packet as an input, if there is one.
    pub(crate) fn receive(&mut self) -> Option<Input<'_>> {
        self.from = None;
        self.serial_first = !self.serial_first;
        if self.serial_first || !self.parts.udp.is_ready() {
            if let Some(medium) = self.parts.serial.receive() {
                return Some(Input::Frame { medium, bytes: self.parts.serial.message() });
            }
            self.note_lines();
        }
        let packet = self.parts.udp.receive().or_else(|| self.parts.icmp.receive())?;
        self.from = Some(packet.from);
        Some(Input::Frame { medium: packet.medium, bytes: packet.bytes })
    }

    /// The next thing that a script, a member or a client of the API said or did, of each in turn, if there is one.
    pub(crate) fn hear(&mut self) -> Option<Input<'_>> {
        for step in 0..3 {
            let ear = (self.ear + step) % 3;
            let speaks = match ear {
                0 => self.parts.fifo.as_mut().is_some_and(Fifo::fetch),
                1 => self.parts.control.has_spoken(),
                _ => self.parts.api.is_ready(),
            };
            if speaks {
                self.ear = ear + 1;
                return match ear {
                    0 => self.parts.fifo.as_ref().map(Fifo::input),
                    1 => self.parts.control.hear(),
                    // It may have said only half of something; then the others have their turn at once.
                    _ => self.parts.api.next(),
                };
            }
        }
        None
    }

    /// Says what local clients were refused.
    fn complain(&mut self, now: Instant) {
        let Parts { api, control, fifo, .. } = &mut self.parts;
        let doors = [Some(api.refusals()), Some(control.refusals()), fifo.as_mut().map(Fifo::refusals)];
        for complaint in doors.into_iter().flatten().filter_map(|door| door.complaint(now)) {
            self.log.line(Level::Warn, complaint);
        }
    }

    /// The packet that [`receive`](Self::receive) gave was handled.
    pub(crate) fn frame_done(&mut self) {
        self.from = None;
    }

    /// When the node wanted to be woken.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Why the daemon is to end, once the node said so.
    pub(crate) fn exit(&self) -> Option<ExitReason> {
        self.exit
    }

    /// Answers the clients that wait; what only the node can answer becomes an input.
    pub(crate) fn serve(&mut self, node: &Node, now: Instant) {
        for _ in 0..REQUESTS_PER_TURN {
            let Some((client, asked)) = self.parts.control.next_request() else { break };
            match asked {
                Asked::Nothing(answer) => self.parts.control.answer(client, &answer),
                Asked::Status => {
                    let Parts { udp, api, control, fifo, .. } = &mut self.parts;
                    let machine = MachineStatus {
                        unix_time: clock::wall().0,
                        log_dropped: self.log.dropped(),
                        strays: udp.strays(),
                        refused: [
                            ("api", api.refusals().count()),
                            ("control", control.refusals().count()),
                            ("fifo", fifo.as_mut().map_or(0, |fifo| fifo.refusals().count())),
                        ],
                    };
                    self.parts.control.answer(client, &status::json(node, now, &machine));
                }
                Asked::Watch => self.parts.control.watch(client),
                Asked::Join(name) => self.parts.control.join(client, &name),
                Asked::Say(message) => self.parts.control.say(client, message),
                Asked::Named(named) => match named.resolve(node.config()) {
                    Ok(request) => self.inputs.push_back(Input::Client { client, request }),
                    Err(answer) => self.parts.control.answer(client, &answer),
                },
                Asked::Node(request) => self.inputs.push_back(Input::Client { client, request }),
                Asked::Reload => {
                    if !self.parts.files.ask(Some(client)) {
                        let text = "too many wait for the files to be read";
                        self.parts.control.answer(client, &control::failure("busy", text));
                    }
                }
                Asked::Stop => {
                    self.inputs.push_back(Input::Operator(Command::Stop));
                    let text = "the node releases its resources and ends";
                    self.parts
                        .control
                        .answer(client, &serde_json::json!({"v": control::VERSION, "ok": true, "text": text}));
                }
            }
        }
    }

    /// Performs one action, now.
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::Send { medium, frame, urgency } if self.parts.serial.has(medium) => {
                self.parts.serial.send(medium, frame, urgency);
                self.note_lines();
            }
            Action::Send { medium, frame, .. } => {
                let udp = self.parts.udp.send(medium, &frame);
                if let Some(change) = udp.or_else(|| self.parts.icmp.send(medium, &frame)) {
                    self.on_carrier(medium, change);
                }
            }
            Action::ArmTimer { deadline } => self.deadline = deadline,
            Action::RunResource { op, run } => self.run_resource(op, run),
            Action::FireArp { address, kind } => self.fire_arp(&address, kind),
            Action::Reply { client, response } => self.parts.control.answer(client, &control::outcome(&response)),
            Action::Report(event) => self.report(&event),
            Action::Exit(reason) => self.exit = Some(reason),
            Action::Reboot => self.reboot(),
            Action::Fence { op, node, device, limit } => self.fence(op, Wanted::Reset, &node, &device, limit),
            Action::Inspect { op, node, device, limit } => self.fence(op, Wanted::Status, &node, &device, limit),
            Action::Alarm { op, program, node } => {
                self.shots.insert(op, fencing::ALARM_LIMIT);
                self.parts.scripts.run(clock::now(), fencing::alarm(op, program, node));
            }
            Action::CeaseFire { op } => self.parts.scripts.end(op, clock::now()),
            Action::Door(Door::Open) => {
                self.parts.control.set_door(Door::Open);
                if let Err(error) = self.parts.api.open() {
                    self.line(Level::Error, format!("no client can connect: {error}"));
                }
            }
            Action::Door(Door::Paused) => {
                self.parts.control.set_door(Door::Paused);
                self.parts.api.pause();
            }
            Action::Tell { client, message, .. } if Control::has(client) => self.parts.control.tell(client, &message),
            Action::Dismiss { client } if Control::has(client) => self.parts.control.dismiss(client),
            Action::Tell { client, message, signal } => self.parts.api.tell(client, &message, signal),
            Action::Allow { client, waiting } => self.parts.api.allow(client, waiting),
            Action::Dismiss { client } => self.parts.api.dismiss(client),
            Action::StartProgram { program, user, command } => self.parts.programs.start(program, user, command),
            Action::StopProgram { program } => self.parts.programs.stop(program, clock::now()),
            Action::Persist { file, text } => self.parts.keeper.keep(file, text),
            Action::Entrust { until, reset, farewell } => {
                if let Some(guard) = &mut self.parts.guard {
                    guard.renew(until, reset, &farewell);
                }
                self.note_guard();
            }
        }
    }

    /// In the original's words.
    fn reboot(&mut self) {
        self.log.line(Level::Crit, "Killing heartbeat ungracefully!");
        self.log.flush(LAST_WORDS);
        if let Err(error) = reboot::now() {
            self.log
                .line(Level::Crit, format!("Unable to force reboot: {error}. What could not be stopped stays here."));
        }
    }

    fn report(&mut self, event: &Event) {
        let text = match (event, self.from) {
            (Event::Dropped { .. }, Some(from)) => format!("{event} [from {from}]"),
            _ => event.to_string(),
        };
        if event.level() > Level::Debug {
            self.parts.control.publish(clock::wall().0, event.level(), &text);
        }
        self.line(event.level(), text);
    }

    /// Writes a line; debugging ones only if asked for.
    fn line(&self, level: Level, text: String) {
        if level > Level::Debug || self.parts.debug > 0 {
            self.log.line(level, text);
        }
    }

    fn on_carrier(&mut self, medium: MediumId, change: Change) {
        let carrier = match change {
            Change::Works => Carrier::Up,
            Change::Fails(errno) => {
                self.log.line(Level::Error, format!("cannot send: {errno}"));
                Carrier::Down
            }
        };
        self.inputs.push_back(Input::Carrier { medium, carrier });
    }

    /// Serial lines that went or came back.
    fn note_lines(&mut self) {
        while let Some((medium, change)) = self.parts.serial.next_change() {
            let carrier = match change {
                Ok(()) => Carrier::Up,
                Err(why) => {
                    self.log.line(Level::Error, why);
                    Carrier::Down
                }
            };
            self.inputs.push_back(Input::Carrier { medium, carrier });
        }
    }
}
