//! The production loop, and the start before it.
//!
//! The start goes from what is cheap to check to what others can see, so that nothing is half-started: configuration,
//! pid file, log, sockets, addresses left behind, control socket, generation; only then the node speaks.

use crate::accounts;
use crate::addresses::Addresses;
use crate::api::Api;
use crate::check::NOT_CONFIGURED;
use crate::clock;
use crate::config::{INIT_DIR, Loaded, load};
use crate::control::{self, Control};
use crate::daemonize::{self, Starter};
use crate::fifo::Fifo;
use crate::files::Files;
use crate::guard::{self, Guard, Side};
use crate::keeper::Keeper;
use crate::log::{Log, Targets};
use crate::machine::{Machine, Parts, token};
use crate::net::announce::Announcer;
use crate::net::cables::Cables;
use crate::net::netlink::Netlink;
use crate::net::vip::{self, Presence};
use crate::pid_file::{PidFile, PidFileError};
use crate::process::{Manner, Scripts};
use crate::programs::Programs;
use crate::realtime;
use crate::recorder::{self, Recorder};
use crate::render::Paint;
use crate::script_env::{Surroundings, environment};
use crate::store::{LastGeneration, Store, StoreError, create_directory, random_bytes};
use crate::timer::Timer;
use crate::transport::icmp::Icmp;
use crate::transport::serial::Serial;
use crate::transport::udp::Udp;
use crate::unfinished;
use anyhow::{Context as _, Result};
use hb_core::config::clients::{CLIENT_GROUP, CLUSTER_USER};
use hb_core::config::{Config, Facility, GenerationMethod, Hostcache, Plan, Resource, UuidFrom};
use hb_core::ids::Generation;
use hb_core::membership::uuid_from_name::uuid_from_name;
use hb_core::time::Instant;
use hb_core::trace::{Entries, Head};
use hb_core::{Boot, ExitReason, Input, Level, Node};
use mio::{Interest, Poll, Waker};
use nix::libc::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;
use std::fs::Permissions;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many packets are taken in one turn before time and everybody else get theirs ...
const FRAMES_PER_TURN: usize = 256;
/// ... and how many bytes of them: a signature over that takes two milliseconds, and what waits is seldom more.
const BYTES_PER_TURN: usize = 1024 * 1024;
/// How much of clients and scripts is handled in one turn: however much they say, packets come first.
const MESSAGES_PER_TURN: usize = 32;
/// So late, everything that waits is read first ...
const LATE: Duration = Duration::from_millis(500);
/// ... which is less than this: the queues of the sockets are bounded ([`Udp`]), and reading is faster than any network.
const FRAMES_WHEN_LATE: usize = 65_536;
/// ... and this, eight full queues. Without it a flood of long packets could hold the node up for ever.
const BYTES_WHEN_LATE: usize = 16 * 1024 * 1024;
/// Heap made ready before the loop: a turn needs far less. `memreserve` asks for room for the many processes of the
/// original (6.5 MB), which would be half of what this one process may use at all.
const RESERVE_MAX: usize = 1024 * 1024;

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of ha.cf, haresources and authkeys.
    pub config_dir: PathBuf,
    /// The directory of generation, uuid and command FIFO.
    pub state_dir: PathBuf,
    /// The directory of pid file and sockets.
    pub run_dir: PathBuf,
    /// The name of this node, if not that of the machine.
    pub node: Option<String>,
    /// Whether haresources is read: without it the daemon has nothing to do with resources.
    pub manages: bool,
    /// Stay in the foreground and log to the terminal too.
    pub foreground: bool,
    /// Real-time scheduling and locked memory, if ha.cf wants them.
    pub realtime: bool,
    /// How much more than usual is logged.
    pub debug: u8,
    /// The flight recorder.
    pub trace: recorder::Settings,
}

impl Options {
    /// Where the process id stands.
    pub fn pid_file(&self) -> PathBuf {
        self.run_dir.join("heartbeat.pid")
    }

    /// Where clients of the API of 3.0.6 connect.
    pub fn api(&self) -> PathBuf {
        self.run_dir.join("register")
    }

    /// Where scripts write messages.
    pub fn fifo(&self) -> PathBuf {
        self.state_dir.join("fifo")
    }

    /// Where starts and stops are noted that nobody has seen succeed.
    pub fn unfinished(&self) -> PathBuf {
        self.run_dir.join("scripts")
    }

    /// Where clients connect.
    pub fn control(&self) -> PathBuf {
        self.run_dir.join("control")
    }
}

/// A start that is over before it began, with the exit status it deserves.
#[derive(Debug)]
struct Unable {
    code: u8,
    text: String,
}

fn unable(code: u8) -> impl Fn(anyhow::Error) -> Unable {
    move |error| Unable { code, text: format!("{error:#}") }
}

/// Runs a daemon until it is told to stop; gives the exit status.
pub fn run(options: &Options) -> u8 {
    let loaded = load(&options.config_dir, options.node.as_deref(), options.manages);
    print_problems(&loaded);
    let Some(config) = &loaded.config else {
        eprintln!("heartbeat: Configuration error, heartbeat not started.");
        return NOT_CONFIGURED;
    };
    let starter = match if options.foreground { Ok(daemonize::foreground()) } else { daemonize::background() } {
        Ok(starter) => starter,
        Err(error) => {
            eprintln!("heartbeat: cannot go to the background: {error}");
            return 1;
        }
    };
    let (pid_file, guard) = match claim(options, config) {
        Ok((pid_file, None)) => (pid_file, None),
        Ok((pid_file, Some(Side::Daemon(guard)))) => (pid_file, Some(guard)),
        Ok((pid_file, Some(Side::Guard(post)))) => {
            // That the daemon started is not for the guard to say.
            drop(starter);
            return post.keep(guard_surroundings(options, config, pid_file));
        }
        Err(Unable { code, text }) => return fail(starter, code, &text),
    };
    match start(options, config, &loaded, guard) {
        Ok(daemon) => {
            let code = daemon.run(starter);
            drop(pid_file);
            code
        }
        Err(Unable { code, text }) => fail(starter, code, &text),
    }
}

fn fail(starter: Starter, code: u8, text: &str) -> u8 {
    eprintln!("heartbeat: {text}");
    // Whoever waits and is gone needs no answer.
    let _gone = starter.failed(code);
    code
}

/// The right to be the daemon here, and the guard, forked while this is the only thread. Where nothing is managed there is
/// nothing to guard.
fn claim(options: &Options, config: &Config) -> Result<(PidFile, Option<Side>), Unable> {
    prepare_run_dir(&options.run_dir).context("cannot start").map_err(unable(4))?;
    let waits = |pid| {
        eprintln!(
            "heartbeat: the guard of an earlier heartbeat [pid {pid}] still releases what that held; this start waits for it"
        );
    };
    let pid_file = PidFile::claim(&options.pid_file(), waits).map_err(|error| match error {
        // As the original: somebody asked for a running heartbeat, and there is one.
        PidFileError::AlreadyRunning(_) => Unable { code: 0, text: error.to_string() },
        error @ PidFileError::System { .. } => Unable { code: 4, text: error.to_string() },
    })?;
    if !config.manages_resources() {
        return Ok((pid_file, None));
    }
    let side = guard::fork().context("cannot start the guard process").map_err(unable(1))?;
    Ok((pid_file, Some(side)))
}

fn guard_surroundings<'a>(options: &Options, config: &'a Config, pid_file: PidFile) -> guard::Surroundings<'a> {
    guard::Surroundings {
        config,
        targets: targets(options, config),
        manner: manner(options, config, None),
        realtime: is_realtime(options, config),
        pid_file,
    }
}

fn print_problems(loaded: &Loaded) {
    for diagnostic in &loaded.diagnostics {
        if diagnostic.is_error() {
            eprintln!("{}", loaded.render(diagnostic, Paint::Plain));
        } else {
            eprintln!("{diagnostic}");
        }
    }
}

/// A node and its machine.
struct Daemon {
    node: Node,
    machine: Machine,
    recorder: Recorder,
    options: Options,
    config: Config,
    realtime: bool,
}

fn start(options: &Options, config: &Config, loaded: &Loaded, guard: Option<Guard>) -> Result<Daemon, Unable> {
    let log = open_log(options, config).map_err(unable(4))?;
    let version = env!("CARGO_PKG_VERSION");
    log.line(Level::Info, format!("Configuration validated. Starting heartbeat {version}"));
    log.line(Level::Info, format!("heartbeat: version {version}"));
    match assemble(options, config, &log, guard) {
        Ok((parts, boot)) => {
            let node = Node::new(config.clone(), boot);
            let recorder = start_recorder(options, config, loaded, &node, &log);
            let realtime = is_realtime(options, config);
            let config = config.clone();
            let options = options.clone();
            Ok(Daemon { node, machine: Machine::new(parts, log), recorder, options, realtime, config })
        }
        Err(unable) => {
            log.line(Level::Error, unable.text.clone());
            log.close();
            Err(unable)
        }
    }
}

/// Opens everything the daemon needs of the machine; the generation comes last, since peers must see it move.
fn assemble(options: &Options, config: &Config, log: &Log, guard: Option<Guard>) -> Result<(Parts, Boot), Unable> {
    let poll = Poll::new().context("cannot poll").map_err(unable(1))?;
    let udp = Udp::open(config.media()).map_err(|error| Unable { code: 4, text: error.to_string() })?;
    let icmp = Icmp::open(config.media()).map_err(|error| Unable { code: 4, text: error.to_string() })?;
    let mut netlink = Netlink::open().context("cannot talk to the kernel about addresses").map_err(unable(1))?;
    let announcer = Announcer::open()
        .context("cannot open a packet socket to announce addresses (needs root or CAP_NET_RAW)")
        .map_err(unable(4))?;
    let cut_short = unfinished::settle(&options.unfinished(), |word| is_script(config, word), log);
    remove_left_addresses(config, &mut netlink, log)?;
    let reports = guard.as_ref().map(Guard::reports);
    let open = || -> Result<_> {
        udp.register(poll.registry(), token::MEDIA)?;
        icmp.register(poll.registry(), token::PINGS)?;
        let mut timer = Timer::new()?;
        poll.registry().register(&mut timer, token::TIMER, Interest::READABLE)?;
        let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1, SIGUSR2])?;
        poll.registry().register(&mut signals, token::SIGNALS, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), token::LAUNCHER)?);
        let registry = poll.registry().try_clone()?;
        let environment = script_environment(options, config);
        let programs = Programs::new(environment.clone(), options.state_dir.join("cores"), Arc::clone(&waker))?;
        let files = Files::open(options.config_dir.clone(), options.node.clone(), options.manages, Arc::clone(&waker))?;
        let realtime = is_realtime(options, config).then_some(realtime::Priority(config.rtprio()));
        let addresses = Addresses::open(netlink, Arc::clone(&waker), realtime)?;
        let cables = Cables::watch(Arc::clone(&waker))
            .inspect_err(|error| log.line(Level::Warn, format!("interfaces that come back go unnoticed: {error}")))
            .ok();
        let scripts = Scripts::new(registry, token::SCRIPTS, waker, manner(options, config, reports))?;
        let path = options.control();
        let control = Control::open(&path, poll.registry(), token::CONTROL, token::CLIENTS)
            .with_context(|| format!("cannot listen at {}", path.display()))?;
        let api = Api::new(options.api(), poll.registry().try_clone()?, token::API, token::API_CLIENTS);
        Ok((timer, signals, addresses, cables, scripts, control, api, programs, files))
    };
    let (timer, signals, addresses, cables, scripts, control, api, programs, files) = open().map_err(unable(1))?;
    let mut serial = Serial::new(config.media(), mio::Token(token::MEDIA.0 + udp.tokens()));
    serial.tend(clock::now(), poll.registry());
    let boot = boot(options, config, cut_short, log).map_err(unable(4))?;
    // After the state directory was made.
    let fifo = Fifo::open(&options.fifo(), poll.registry(), token::FIFO)
        .inspect_err(|error| {
            let path = options.fifo();
            log.line(Level::Warn, format!("scripts cannot send messages: {}: {error}", path.display()));
        })
        .ok();
    let keeper =
        Store::open(&options.state_dir).map_err(anyhow::Error::from).and_then(|store| Ok(Keeper::open(store)?));
    let keeper = keeper.context("cannot keep the state").map_err(unable(4))?;
    let accounts = accounts::resolve(config);
    let (foreground, debug) = (options.foreground, options.debug.max(config.log().debug));
    let parts = Parts {
        poll,
        timer,
        signals: ManuallyDrop::new(signals),
        udp,
        icmp,
        serial,
        addresses,
        cables,
        announcer,
        scripts,
        control,
        api,
        fifo,
        files,
        keeper,
        programs,
        guard,
        accounts,
        foreground,
        debug,
    };
    Ok((parts, boot))
}

fn is_realtime(options: &Options, config: &Config) -> bool {
    options.realtime && config.realtime()
}

/// The directory of the sockets; if it has to be made, it belongs to the clients' group, as that of 3.0.6 does.
fn prepare_run_dir(path: &Path) -> Result<(), StoreError> {
    let accounts = accounts::user(CLUSTER_USER).zip(accounts::group(CLIENT_GROUP));
    // The second is where ccm has its own socket.
    for directory in [path.to_owned(), path.join("ccm")] {
        let is_there = directory.is_dir();
        if accounts.is_some() || directory == path {
            create_directory(&directory)?;
        }
        if let (false, Some((user, group))) = (is_there, accounts) {
            // Where it cannot be given away everybody may come in; who may sign on is asked again anyway.
            let given = std::os::unix::fs::chown(&directory, Some(user), Some(group));
            let _open = given.and_then(|()| std::fs::set_permissions(&directory, Permissions::from_mode(0o750)));
        }
    }
    Ok(())
}

/// The flight recorder is worth a warning, not a refused start.
fn start_recorder(options: &Options, config: &Config, loaded: &Loaded, node: &Node, log: &Log) -> Recorder {
    let head = Head {
        build: env!("CARGO_PKG_VERSION").into(),
        local_name: config.local_name().into(),
        ha_cf: loaded.ha_cf.clone(),
        haresources: loaded.haresources.clone(),
        entries: Entries::of(config.keyring()),
        reload: None,
        dropped: None,
    };
    Recorder::start(&options.trace, head, node, clock::now()).unwrap_or_else(|error| {
        log.line(Level::Warn, format!("no flight recorder: {error}"));
        Recorder::off()
    })
}

fn open_log(options: &Options, config: &Config) -> Result<Log> {
    Ok(Log::open(config.local_name(), &targets(options, config))?)
}

fn targets(options: &Options, config: &Config) -> Targets {
    Targets {
        logfile: config.log().logfile.as_ref().map(PathBuf::from),
        debugfile: config.log().debugfile.as_ref().map(PathBuf::from),
        facility: config.log().logfacility,
        stderr: options.foreground,
    }
}

fn manner(options: &Options, config: &Config, reports: Option<Arc<OwnedFd>>) -> Manner {
    Manner {
        directories: vec![options.config_dir.join("resource.d"), INIT_DIR.into()],
        environment: script_environment(options, config),
        reports,
        unfinished: Some(options.unfinished()),
    }
}

fn script_environment(options: &Options, config: &Config) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let log = config.log();
    environment(&Surroundings {
        node: config.local_name(),
        config_dir: &options.config_dir,
        fifo: Some(&options.fifo()),
        logfile: log.logfile.as_deref(),
        debugfile: log.debugfile.as_deref(),
        logfacility: log.logfacility.map(Facility::name),
        debug: options.debug.max(log.debug),
        configured: config.environment(),
    })
}

fn is_script(config: &Config, word: &str) -> bool {
    let mut resources = config.groups().iter().flat_map(|group| &group.resources);
    resources.any(|resource| matches!(resource, Resource::Script(_)) && resource.word() == word)
}

/// Addresses that an earlier life of ours left behind are removed before anybody hears that we hold nothing (scenario
/// F15); one that somebody else put there stops the start, since we could neither serve nor remove it.
fn remove_left_addresses(config: &Config, netlink: &mut Netlink, log: &Log) -> Result<(), Unable> {
    let resources = config.groups().iter().flat_map(|group| &group.resources);
    for address in resources.filter_map(|resource| match resource {
        Resource::Address(address) => Some(address),
        Resource::Script(_) => None,
    }) {
        // Where it would go may be unknown until the network is up; then it is nowhere.
        let Ok(placed) = vip::resolve(netlink, address) else { continue };
        match vip::present(netlink, &placed) {
            Ok(Presence::Absent) | Err(_) => {}
            Ok(Presence::Ours) => {
                vip::remove(netlink, &placed).map_err(|error| Unable { code: 4, text: error.to_string() })?;
                let text = format!("{address} was left on {} by an earlier heartbeat: removed", placed.interface);
                log.line(Level::Warn, text);
            }
            Ok(Presence::Foreign) => {
                let text = format!(
                    "{} is already on interface {}, and not by us: remove it there (ip addr del {}/{} dev {}), heartbeat \
                     adds it where needed",
                    placed.address, placed.interface, placed.address, placed.prefix, placed.interface
                );
                return Err(Unable { code: NOT_CONFIGURED, text });
            }
        }
    }
    Ok(())
}

/// Identity and generation of this life; the generation is on disk before anybody can hear it (WIRE 8).
fn boot(options: &Options, config: &Config, cut_short: Vec<String>, log: &Log) -> Result<Boot> {
    let store = Store::open(&options.state_dir)?;
    let wall_clock = clock::wall();
    let generation = match config.generation_method() {
        GenerationMethod::Time => Generation(wall_clock.0),
        GenerationMethod::File => {
            let last = store.next_generation(wall_clock)?;
            if let LastGeneration::Begun(generation) = last {
                log.line(Level::Warn, format!("No Previous generation - starting at {generation}"));
            }
            last.generation()
        }
    };
    store.write_generation(generation)?;
    let uuid = match config.uuid_from() {
        UuidFrom::File => store.uuid()?,
        UuidFrom::NodeName => uuid_from_name(config.local_name()),
    };
    let hostcache = if config.manages_resources() {
        Hostcache::default()
    } else {
        let (hostcache, bad) = store.hostcache()?;
        for line in bad {
            log.line(Level::Warn, line.to_string());
        }
        hostcache
    };
    let (now, seed, longest_deadtime) = (clock::now(), random_bytes()?, store.longest_deadtime()?);
    Ok(Boot { now, wall_clock, generation, uuid, seed, hostcache, longest_deadtime, cut_short })
}

impl Daemon {
    fn run(mut self, starter: Starter) -> u8 {
        if self.realtime {
            let reserve = usize::try_from(self.config.settings().memreserve).unwrap_or(0).saturating_mul(1024);
            for missing in realtime::enter(realtime::Priority(self.config.rtprio()), reserve.min(RESERVE_MAX)) {
                self.machine.log.line(Level::Warn, missing.to_string());
            }
        }
        // The first steps need no event.
        let now = clock::now();
        self.drain(now);
        self.step(now, Input::Wake);
        if let Err(error) = starter.ready() {
            self.machine.log.line(Level::Warn, format!("cannot report that the start worked: {error}"));
        }
        let code = loop {
            if let Err(error) = self.turn() {
                self.machine.log.line(Level::Crit, format!("the loop cannot go on: {error}"));
                break 1;
            }
            match self.machine.exit() {
                None => {}
                Some(ExitReason::Stopped) => break 0,
                // Whoever watches over us may start us again.
                Some(ExitReason::Failfast) => break 1,
            }
        };
        // Nobody may be listening.
        let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.recorder.close(clock::now());
        self.machine.close();
        code
    }

    /// One turn: frames, then what else happened, then time, then clients. A frame that waits must not be overtaken by a
    /// deadline that it would have moved.
    fn turn(&mut self) -> std::io::Result<()> {
        self.machine.wait()?;
        let now = clock::now();
        self.machine.collect(now);
        // Woken late, the node must have read everything that waits before it judges by the time (scenario F18).
        let late = now.since(self.machine.deadline()) > LATE;
        if late {
            // What the kernel told is from before the pause, and nothing at all where SIGCONT ended the wait.
            self.machine.look()?;
            self.machine.collect(now);
        }
        let (frames, mut bytes) =
            if late { (FRAMES_WHEN_LATE, BYTES_WHEN_LATE) } else { (FRAMES_PER_TURN, BYTES_PER_TURN) };
        for _ in 0..frames {
            if bytes == 0 {
                break;
            }
            let Some(frame) = self.machine.receive() else { break };
            if let Input::Frame { bytes: taken, .. } = &frame {
                bytes = bytes.saturating_sub(taken.len());
            }
            self.recorder.begin(now, &frame);
            let actions = self.node.handle(now, frame);
            for action in actions {
                self.recorder.action(&action);
                self.machine.perform(action);
            }
            self.recorder.end(now);
            self.machine.frame_done();
        }
        self.drain(now);
        // Most turns are made by packets long before anything is due; telling the node the time then changes nothing.
        if now >= self.machine.deadline() {
            self.step(now, Input::Wake);
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some(said) = self.machine.hear() else { break };
            self.recorder.begin(now, &said);
            for action in self.node.handle(now, said) {
                self.recorder.action(&action);
                self.machine.perform(action);
            }
            self.recorder.end(now);
        }
        self.machine.serve(&self.node, now);
        self.reload();
        self.drain(now);
        self.recorder.tend(now, &self.node, &self.machine.log);
        Ok(())
    }

    /// Files that were read again: good ones go to the node, of others every problem is said and nothing is changed.
    /// Resources and peers notice neither.
    fn reload(&mut self) {
        let Some((loaded, asked)) = self.machine.next_files() else { return };
        let log = &self.machine.log;
        for diagnostic in &loaded.diagnostics {
            log.line(if diagnostic.is_error() { Level::Error } else { Level::Warn }, diagnostic.to_string());
        }
        let result = match &loaded.config {
            None => {
                let text =
                    "Configuration error: nothing was changed, the old files stay in use. `heartbeat check` shows why.";
                log.line(Level::Error, text);
                let errors = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
                Err(errors.map(|diagnostic| loaded.render(diagnostic, Paint::Plain)).collect())
            }
            Some(config) => {
                let plan = Plan::between(self.node.config(), config);
                self.machine.reload(&loaded, config, self.node.config(), targets(&self.options, config));
                Ok(plan)
            }
        };
        let answer = control::reloaded(&result);
        for client in asked.into_iter().flatten() {
            self.machine.answer(client, &answer);
        }
    }

    /// Hands over everything that waits, and what comes of it: results of operations on addresses come at once.
    fn drain(&mut self, now: Instant) {
        while let Some(input) = self.machine.next_input() {
            self.step(now, input);
        }
    }

    fn step(&mut self, now: Instant, input: Input<'_>) {
        self.recorder.begin(now, &input);
        for action in self.node.handle(now, input) {
            self.recorder.action(&action);
            self.machine.perform(action);
        }
        self.recorder.end(now);
    }
}
