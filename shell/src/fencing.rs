//! How a fencing device is called (CLUSTER f.3).
//!
//! | type | program | parameters |
//! |---|---|---|
//! | of a plugin, with a file | `stonith -t TYPE -F FILE -T reset NODE` | in the file |
//! | of a plugin, in ha.cf | `stonith -t TYPE -F /dev/stdin -T reset NODE` | on its standard input |
//! | `fence_...` | itself | `NAME=value` on its standard input, with `action=reboot`, and `plug=NODE` unless one is given |
//!
//! Whether it could is asked with `-S` in the place of `-T reset NODE`, and with `action=monitor`.
//!
//! No parameter stands on a command line, which every user of the machine could read: a shell takes it from a variable.

use crate::ocf::is_executable;
use crate::process::{End, Finished, ScriptRun};
use hb_core::config::{Code, Diagnostic, FenceDevice, FenceParameters, FileName};
use hb_core::ids::OpId;
use hb_core::{Failure, Outcome};
use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The shell that feeds parameters to a device's program.
const SHELL: &str = "/bin/sh";
/// What it reads them from.
const PARAMETERS: &str = "HB_FENCE_PARAMETERS";
/// Where Debian installs `stonith` and the fence agents.
const PATHS: &str = "PATH=\"$PATH:/usr/sbin:/sbin\"; ";

/// What is wanted of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The node is to be reset.
    Reset,
    /// Could it be?
    Status,
}

/// The program that does that to `node`.
pub(crate) fn script_run(op: OpId, wanted: Wanted, node: &str, device: &FenceDevice, limit: Duration) -> ScriptRun {
    let what = match wanted {
        Wanted::Reset => "-T reset \"$1\"",
        Wanted::Status => "-S",
    };
    let fed = |program: &str| format!("{PATHS}printf '%s\\n' \"${PARAMETERS}\" | {program}");
    let (command, parameters) = match &device.parameters {
        FenceParameters::File(file) => {
            (format!("{PATHS}exec stonith -t \"$0\" -F \"${PARAMETERS}\" {what}"), file.clone())
        }
        FenceParameters::Words(words) if device.is_agent() => (fed("\"$0\""), agent_input(wanted, words, node)),
        FenceParameters::Words(words) => (fed(&format!("stonith -t \"$0\" -F /dev/stdin {what}")), words.join(" ")),
    };
    ScriptRun {
        op,
        script: SHELL.to_owned(),
        args: vec!["-c".to_owned(), command, device.kind.clone()],
        action: node.to_owned(),
        env: vec![(PARAMETERS.to_owned(), parameters)],
        limit,
        effort: None,
    }
}

/// How long the program of `takeover_alarm` may run. Nothing waits for it.
pub(crate) const ALARM_LIMIT: Duration = Duration::from_mins(1);

/// The program that is told of a death: `PROGRAM dead NODE`.
pub(crate) fn alarm(op: OpId, program: String, node: String) -> ScriptRun {
    ScriptRun {
        op,
        script: program,
        args: vec!["dead".to_owned()],
        action: node,
        env: Vec::new(),
        limit: ALARM_LIMIT,
        effort: None,
    }
}

/// What a fence agent reads: its parameters for this node, a line each. `NODE:NAME=value` is for one node only.
fn agent_input(wanted: Wanted, words: &[String], node: &str) -> String {
    let mine = words.iter().filter_map(|word| match word.split_once(':') {
        Some((to, rest)) if !to.contains('=') => (to == node).then_some(rest),
        _ => Some(word.as_str()),
    });
    let mut lines: Vec<String> = mine.map(str::to_owned).collect();
    let has_plug = lines.iter().any(|line| line.starts_with("plug=") || line.starts_with("port="));
    if !has_plug {
        lines.push(format!("plug={node}"));
    }
    lines.push(format!("nodename={node}"));
    let action = match wanted {
        Wanted::Reset => "reboot",
        Wanted::Status => "monitor",
    };
    lines.push(format!("action={action}"));
    lines.join("\n")
}

/// *Ours*, in part: 3.0.6 asks whether there is such a type (CLUSTER f.1).
pub(crate) fn check(device: &FenceDevice, file: &FileName) -> Option<Diagnostic> {
    let kind = &device.kind;
    let problem = |code, message: String| Diagnostic::new(code, file.clone(), device.span, message);
    if let FenceParameters::File(path) = &device.parameters
        && let Err(why) = File::open(path)
    {
        let message = format!("the parameters of the {kind} device cannot be read from {path}: {why}");
        return Some(
            problem(Code::FenceFile, message).help(format!("`stonith -t {kind} -n` prints what belongs there")),
        );
    }
    if device.is_agent() {
        let path = env::var_os("PATH").unwrap_or_default();
        let has = |place: PathBuf| is_executable(&place.join(kind));
        if env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(has) {
            return None;
        }
        let message = format!("the fence agent {kind} is not installed");
        return Some(problem(Code::FenceDevice, message).help("Debian has fence agents in the package fence-agents"));
    }
    let asked = format!("{PATHS}exec stonith -t \"$0\" -n");
    match Command::new(SHELL).args(["-c", &asked, kind]).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) if output.status.code() == Some(127) => {
            let message = format!("the program `stonith`, which calls the {kind} device, is not installed");
            Some(problem(Code::FenceDevice, message).help("Debian has it in the package cluster-glue"))
        }
        Ok(_) => {
            let message = format!("Invalid Stonith type [{kind}]");
            Some(problem(Code::FenceDevice, message).help("`stonith -L` prints all types"))
        }
        Err(why) => Some(problem(Code::FenceDevice, format!("the {kind} device cannot be asked: {why}"))),
    }
}

/// What the end of the program means: only exit code 0 is a confirmation.
pub(crate) fn outcome(finished: &Finished, limit: Duration) -> Outcome {
    match &finished.end {
        End::Exited(0) => Outcome::Done,
        End::Exited(code) => Outcome::Failed(Failure::ExitCode(*code)),
        End::Killed(signal) => Outcome::Failed(Failure::Signal(*signal)),
        End::TimedOut => Outcome::Failed(Failure::TimedOut(u32::try_from(limit.as_secs()).unwrap_or(u32::MAX))),
        End::NotFound => Outcome::Failed(Failure::NoScript),
        End::NotStarted(why) => Outcome::Failed(Failure::Machine(why.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::Span;

    fn device(kind: &str, parameters: FenceParameters) -> FenceDevice {
        FenceDevice { kind: kind.to_owned(), parameters, from: None, span: Span::FILE }
    }

    /// What a program that prints its arguments and its input would print in the device's place.
    fn called(wanted: Wanted, device: &FenceDevice) -> (String, ScriptRun) {
        let run = script_run(OpId(1), wanted, "h2", device, Duration::from_secs(5));
        let stand_in = run.args[1].replace("stonith", "sh -c 'echo \"$@\"; [ -t 0 ] || cat' stonith");
        let mut command = std::process::Command::new(&run.script);
        command.args(["-c", &stand_in, &run.args[2], &run.action]).envs(run.env.clone());
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), run)
    }

    #[test]
    fn parameters_reach_a_plugin_and_no_command_line() {
        let words = FenceParameters::Words(vec!["h1".into(), "secret $(id) 'x'".into()]);
        let (printed, run) = called(Wanted::Reset, &device("external/ipmi", words));
        assert_eq!(printed, "-t external/ipmi -F /dev/stdin -T reset h2\nh1 secret $(id) 'x'\n");
        assert!(!run.args.iter().any(|arg| arg.contains("secret")), "{run:?}");
        let file = device("null", FenceParameters::File("/etc/ha.d/a b".into()));
        assert_eq!(called(Wanted::Reset, &file).0, "-t null -F /etc/ha.d/a b -T reset h2\n");
        assert_eq!(called(Wanted::Status, &file).0, "-t null -F /etc/ha.d/a b -S\n");
    }

    #[test]
    fn a_fence_agent_gets_what_is_meant_for_the_node() {
        let words = ["ip=10.0.0.9", "h1:plug=1", "h2:plug=2", "password=a:b"].map(str::to_owned);
        assert_eq!(
            agent_input(Wanted::Reset, &words, "h2"),
            "ip=10.0.0.9\nplug=2\npassword=a:b\nnodename=h2\naction=reboot"
        );
        assert_eq!(agent_input(Wanted::Status, &words[..1], "h3"), "ip=10.0.0.9\nplug=h3\nnodename=h3\naction=monitor");
    }
}
