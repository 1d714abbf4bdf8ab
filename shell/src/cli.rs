//! The command line: the letters of 3.0.6 (CLUSTER g.6) and subcommands of our own.

use crate::check::{self, CheckArgs};
use crate::daemon::{self, Options};
use crate::decode::{self, DecodeArgs};
use crate::demo::{self, DemoArgs};
use crate::pid_file::{Holder, PidFile};
use crate::recorder::{self, Settings};
use crate::{config, status, testbed, tools, why};
use anyhow::{Context as _, Result};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Exit codes of the original (LSB).
mod code {
    pub(super) const GENERIC: u8 = 1;
    pub(super) const NOT_PERMITTED: u8 = 4;
    /// `-s`: not running, and no pid file.
    pub(super) const STOPPED: u8 = 3;
}

/// How many megabytes the flight recorder may use: most of a day of a quiet pair.
const TRACE_SIZE: u32 = 64;

/// High availability for a pair of machines: keeps addresses and services on exactly one of them.
///
/// Without a command the daemon is started in the background, as Heartbeat 3.0.6 does. Called by the name of one of its
/// tools, or with that as first word, it is that tool: cl_status, ha_propagate, hb_standby, hb_takeover, hb_addnode,
/// hb_delnode, hb_setweight, hb_setsite.
#[derive(Parser, Debug)]
#[command(name = "heartbeat", disable_version_flag = true)]
struct Cli {
    #[command(flatten)]
    legacy: Legacy,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    places: Places,
}

/// Where a daemon lives; several of them can share one machine.
#[derive(Args, Clone, Debug)]
struct Places {
    /// Directory of ha.cf, haresources, authkeys and resource.d.
    #[arg(long, global = true, value_name = "DIR", default_value = config::CONFIG_DIR)]
    config_dir: PathBuf,
    /// Directory that keeps generation and uuid, and has the command FIFO.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/heartbeat")]
    state_dir: PathBuf,
    /// Directory of pid file and sockets.
    #[arg(long, global = true, value_name = "DIR", default_value = "/run/heartbeat")]
    run_dir: PathBuf,
    /// Directory of the flight recorder [default: `trace` in the state directory].
    #[arg(long, global = true, value_name = "DIR")]
    trace_dir: Option<PathBuf>,
    /// Name of this node, instead of the file nodeinfo or `uname -n`.
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
}

impl Places {
    fn trace_dir(&self) -> PathBuf {
        self.trace_dir.clone().unwrap_or_else(|| self.state_dir.join("trace"))
    }
}

/// The letters of 3.0.6.
#[expect(clippy::struct_excessive_bools, reason = "the letters of a command line")]
#[derive(Args, Debug)]
struct Legacy {
    /// Stop the running daemon: it releases its resources, and this waits for its end.
    #[arg(short = 'k', conflicts_with_all = ["status", "version", "foreground"])]
    kill: bool,
    /// Let the running daemon read its files again, as `heartbeat reload` does; if none runs, start one.
    #[arg(short = 'r', conflicts_with_all = ["kill", "status", "version"])]
    reload: bool,
    /// Tell whether the daemon runs.
    #[arg(short = 's', conflicts_with = "version")]
    status: bool,
    /// Print the version.
    #[arg(short = 'V', long = "version")]
    version: bool,
    /// Stay in the foreground.
    #[arg(short = 'f')]
    foreground: bool,
    /// Log more; may be repeated.
    #[arg(short = 'd', action = clap::ArgAction::Count)]
    debug: u8,
    /// Without real-time scheduling and locked memory.
    #[arg(short = 'l')]
    no_realtime: bool,
    #[command(flatten)]
    recorder: RecorderArgs,
    /// Print what the configuration will do before starting.
    #[arg(short = 'v')]
    verbose: bool,
    #[command(flatten)]
    mode: Mode,
}

/// What a daemon has to do with resources.
#[derive(Args, Clone, Copy, Debug)]
struct Mode {
    /// Without resource management: haresources is not read, and nodes need not be named (autojoin).
    #[arg(short = 'M', long = "no-resources")]
    no_resources: bool,
}

impl Legacy {
    fn is_given(&self) -> bool {
        let Legacy { kill, reload, status, version, foreground, debug, no_realtime, verbose, recorder, mode } = *self;
        let recorder = recorder.trace_size.is_some();
        kill || reload
            || status
            || version
            || foreground
            || debug > 0
            || no_realtime
            || verbose
            || recorder
            || mode.no_resources
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the daemon in the foreground; reports readiness to systemd.
    Run(RunArgs),
    /// Check the configuration: every problem with its place, and what a good one will do.
    Check {
        /// Print one JSON document instead of text.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        mode: Mode,
    },
    /// Let the running daemon read its files again without a restart: prints what it applies and what waits for one. Files
    /// with errors change nothing.
    Reload,
    /// Show nodes, links and groups as the running daemon sees them.
    Status {
        /// Print the daemon's JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give groups to another node and wait until it runs them.
    Standby {
        #[command(flatten)]
        what: Moved,
        /// The node to give them to, of nodes of ours; without it each goes to the next that can.
        #[arg(long, value_name = "NODE", conflicts_with = "set")]
        to: Option<String>,
    },
    /// Take groups from another node and wait until they run here.
    Takeover {
        #[command(flatten)]
        what: Moved,
        /// The node to take from, of nodes of ours: all that it runs, without `--group`.
        #[arg(long, value_name = "NODE", conflicts_with = "set")]
        from: Option<String>,
    },
    /// Forget that a group failed here, so that it may be started again, or try once more to stop one that is stuck; wait
    /// for the outcome and print it. The exit status is 0 if the group is not failed or stuck any more, else 1.
    Cleanup {
        /// A group: its first resource as in haresources; of an address the part before `/` will do.
        group: String,
    },
    /// Say that a silent node runs nothing, where `takeover manual` or a fencing device makes the others wait for that: its
    /// groups are taken at once. Be sure that it is down: if it runs they run twice. The exit status is 0 if nobody waits
    /// for it any more, else 1.
    Confirm {
        /// The silent node.
        #[arg(value_name = "NODE")]
        silent: String,
    },
    /// Say why this node did what it did with its groups, from what the flight recorder has kept; needs `hbsim`.
    Why {
        /// A group: its first resource as in haresources; of an address the part before `/` will do. All without it.
        group: Option<String>,
        /// The keys of the cluster [default: `authkeys` in the configuration directory].
        #[arg(long, value_name = "FILE")]
        authkeys: Option<PathBuf>,
    },
    /// Say what the configuration will do, before anything runs: where each group starts, what the loss of each node and link
    /// does, how long each step takes, where two owners are possible and which line prevents it; needs `hbsim`.
    ///
    /// It runs the files in the simulator; what only this machine knows, such as its interfaces and scripts, is the matter of
    /// `check`. Exit status 2 if the files have errors or there is nothing to explain.
    Explain(why::ExplainArgs),
    /// Show what is in packets, and why they fail authentication.
    Decode(DecodeArgs),
    /// Show a failover on this machine: two daemons, a client, no root and no installation needed.
    Demo(DemoArgs),
}

#[derive(Args, Clone, Copy, Debug)]
struct RecorderArgs {
    /// Megabytes that the flight recorder may use, the oldest recordings go first; 0 records nothing [default: 64].
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(..=1024 * 1024))]
    trace_size: Option<u32>,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Log more; may be repeated.
    #[arg(short = 'd', action = clap::ArgAction::Count)]
    debug: u8,
    /// Without real-time scheduling and locked memory.
    #[arg(short = 'l')]
    no_realtime: bool,
    #[command(flatten)]
    recorder: RecorderArgs,
    #[command(flatten)]
    mode: Mode,
}

#[derive(Args, Debug)]
struct Moved {
    /// Which groups, seen from this node [default: all].
    #[arg(value_parser = ["all", "local", "foreign", "failback"], conflicts_with = "group")]
    set: Option<String>,
    /// One group, of nodes of ours: its first resource as in haresources; of an address the part before `/` will do.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// The program `heartbeat`.
pub fn main() -> ExitCode {
    // Whoever decides about resources must not go on after a fault: a panic ends the process at once.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tell(info);
        recorder::rescue();
        std::process::abort();
    }));
    if let Some(code) = tools::called() {
        return code;
    }
    let cli = Cli::parse();
    if cli.command.is_some() && cli.legacy.is_given() {
        let text = "the letters of 3.0.6 stand alone, not before a command";
        Cli::command().error(ErrorKind::ArgumentConflict, text).exit();
    }
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("heartbeat: {error:#}");
            ExitCode::from(code::GENERIC)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    let places = &cli.places;
    let code = match &cli.command {
        None => return legacy(&cli.legacy, places),
        Some(Command::Run(args)) => {
            daemon::run(&options(places, true, !args.no_realtime, args.debug, args.recorder, args.mode))
        }
        Some(Command::Check { json, mode }) => check::run(&check_args(places, *json, *mode)),
        Some(Command::Reload) => reload(places)?,
        Some(Command::Status { json }) => show_status(places, *json)?,
        Some(Command::Standby { what, to }) => order(places, "standby", what, "to", to.as_deref())?,
        Some(Command::Takeover { what, from }) => order(places, "takeover", what, "from", from.as_deref())?,
        Some(Command::Cleanup { group }) => cleanup(places, group)?,
        Some(Command::Confirm { silent }) => {
            tell(&format!("confirm {silent}"), &ask(places, &json!({"v": 1, "do": "confirm", "node": silent}))?)
        }
        Some(Command::Why { group, authkeys }) => {
            let authkeys = authkeys.clone().unwrap_or_else(|| places.config_dir.join("authkeys"));
            why::run(&places.trace_dir(), &authkeys, group.as_deref())?
        }
        Some(Command::Explain(args)) => why::explain(&places.config_dir, args)?,
        Some(Command::Decode(args)) => {
            decode::run(args, io::stdin().lock(), io::stdout().lock())?;
            0
        }
        Some(Command::Demo(args)) => return demo::run(args, &mut io::stdout().lock()),
    };
    Ok(ExitCode::from(code))
}

fn check_args(places: &Places, json: bool, mode: Mode) -> CheckArgs {
    let (config_dir, node) = (places.config_dir.clone(), places.node.clone());
    CheckArgs { json, config_dir, node, no_resources: mode.no_resources }
}

fn options(
    places: &Places,
    foreground: bool,
    realtime: bool,
    debug: u8,
    recorder: RecorderArgs,
    mode: Mode,
) -> Options {
    Options {
        manages: !mode.no_resources,
        config_dir: places.config_dir.clone(),
        state_dir: places.state_dir.clone(),
        run_dir: places.run_dir.clone(),
        node: places.node.clone(),
        foreground,
        realtime,
        debug,
        trace: Settings {
            directory: places.trace_dir(),
            size: u64::from(recorder.trace_size.unwrap_or(TRACE_SIZE)) * 1024 * 1024,
        },
    }
}

fn legacy(args: &Legacy, places: &Places) -> Result<ExitCode> {
    let options = options(places, args.foreground, !args.no_realtime, args.debug, args.recorder, args.mode);
    if args.version {
        println!("{}", env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    let code = if args.status {
        is_running(&options)
    } else if args.kill {
        stop(&options.pid_file())?
    } else if let (true, Holder::Alive(pid)) = (args.reload, PidFile::holder(&options.pid_file())) {
        // In the original's words.
        println!("Signalling heartbeat pid {pid} to reread config files");
        reload(places)?
    } else {
        if args.verbose {
            check::run(&check_args(places, false, args.mode));
        }
        daemon::run(&options)
    };
    Ok(ExitCode::from(code))
}

/// `-s`, in the original's words.
fn is_running(options: &Options) -> u8 {
    match PidFile::holder(&options.pid_file()) {
        Holder::Alive(pid) => {
            let name = config::local_name(&options.config_dir, options.node.as_deref());
            println!("heartbeat OK [pid {pid} et al] is running on {name} [{name}]...");
            0
        }
        Holder::Stale => {
            println!("heartbeat is stopped. No process (its pid file is left over)");
            code::GENERIC
        }
        Holder::None => {
            println!("heartbeat is stopped. No process");
            code::STOPPED
        }
    }
}

/// `-k`: asks the daemon to stop and waits until it is gone, however long its resources take.
fn stop(pid_file: &Path) -> Result<u8> {
    let Holder::Alive(pid) = PidFile::holder(pid_file) else {
        println!("INFO: Heartbeat already stopped.");
        return Ok(0);
    };
    match kill(pid, Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(Errno::EPERM) => {
            eprintln!("heartbeat: not permitted to stop process {pid}: needs root or the daemon's user");
            return Ok(code::NOT_PERMITTED);
        }
        Err(errno) => return Err(errno).with_context(|| format!("cannot stop process {pid}")),
    }
    while matches!(PidFile::holder(pid_file), Holder::Alive(holder) if holder == pid) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(0)
}

fn ask(places: &Places, request: &Value) -> Result<Value> {
    testbed::ask(&places.run_dir, request).context("no running daemon answered")
}

fn show_status(places: &Places, as_json: bool) -> Result<u8> {
    let answer = ask(places, &json!({"v": 1, "do": "status"}))?;
    let text = if as_json { format!("{answer}\n") } else { status::text(&answer) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(0)
}

/// Prints what the daemon did with its files, or what is wrong with them.
fn reload(places: &Places) -> Result<u8> {
    let answer = ask(places, &json!({"v": 1, "do": "reload"}))?;
    let lines = |name: &str| -> Vec<String> {
        let lines = answer[name].as_array().map_or(&[][..], Vec::as_slice);
        lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect()
    };
    for line in lines("applied").iter().chain(&lines("waiting")) {
        println!("{line}");
    }
    for problem in lines("problems") {
        eprintln!("{problem}");
    }
    let text = answer["text"].as_str().unwrap_or("the daemon gave no reason");
    Ok(match (answer["ok"] == true, answer["error"].as_str()) {
        (true, _) => {
            println!("reload: {text}");
            0
        }
        (false, error) => {
            eprintln!("reload: {text}");
            if error == Some("not-permitted") { code::NOT_PERMITTED } else { code::GENERIC }
        }
    })
}

/// `standby` and `takeover`: waits for the result and prints what happened.
fn order(places: &Places, verb: &str, what: &Moved, way: &str, node: Option<&str>) -> Result<u8> {
    let mut request = json!({"v": 1, "do": verb});
    for (name, value) in [("set", what.set.as_deref()), ("group", what.group.as_deref()), (way, node)] {
        if let Some(value) = value {
            request[name] = json!(value);
        }
    }
    let which = what.set.as_deref().or(what.group.as_deref()).unwrap_or("all");
    let other = node.map_or_else(String::new, |node| format!(" {way} {node}"));
    Ok(tell(&format!("{verb} {which}{other}"), &ask(places, &request)?))
}

fn cleanup(places: &Places, group: &str) -> Result<u8> {
    Ok(tell(&format!("cleanup {group}"), &ask(places, &json!({"v": 1, "do": "cleanup", "group": group}))?))
}

/// Prints what became of an order; gives the exit status.
fn tell(what: &str, answer: &Value) -> u8 {
    let text = answer["text"].as_str().unwrap_or("the daemon gave no reason");
    println!("{what}: {text}");
    match (answer["ok"] == true, answer["error"].as_str()) {
        (true, _) => 0,
        (false, Some("not-permitted")) => code::NOT_PERMITTED,
        (false, _) => code::GENERIC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn places_may_stand_before_and_after_a_command() {
        for line in ["heartbeat --run-dir /x status", "heartbeat status --run-dir /x"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.places.run_dir, Path::new("/x"), "{line}");
            assert!(!cli.legacy.is_given());
        }
    }

    #[test]
    fn a_bad_option_is_exit_code_2() {
        assert_eq!(Cli::try_parse_from(["heartbeat", "-x"]).unwrap_err().exit_code(), 2);
    }
}
