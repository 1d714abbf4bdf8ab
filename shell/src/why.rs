//! What the simulator answers: `heartbeat why`, from the flight recorder, and `heartbeat explain`, from the configuration.
//!
//! Replaying and simulating is the work of `hbsim`, a program of its own; this calls it as git calls its subcommands, so that
//! the daemon links none of it.

use anyhow::{Result, bail};
use clap::Args;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "hbsim";

/// Options of `heartbeat explain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// Print one JSON object a line instead of text.
    #[arg(long)]
    json: bool,
    /// How long every script takes to start or stop, in seconds [default: 0.02].
    #[arg(long, value_name = "SECONDS")]
    script_time: Option<String>,
}

/// Becomes `hbsim why`; returns only if that cannot be.
pub(crate) fn run(trace_dir: &Path, authkeys: &Path, group: Option<&str>) -> Result<u8> {
    let mut command = hbsim("it replays what the flight recorder has kept")?;
    command.arg("why").arg("--authkeys").arg(authkeys).arg("--").arg(trace_dir).args(group);
    become_it(command)
}

/// Becomes `hbsim explain`; returns only if that cannot be.
pub(crate) fn explain(config_dir: &Path, args: &ExplainArgs) -> Result<u8> {
    let mut command = hbsim("it runs the configuration in virtual time")?;
    explain_with(&mut command, config_dir, args);
    become_it(command)
}

fn explain_with(command: &mut Command, config_dir: &Path, args: &ExplainArgs) {
    command.arg("explain").arg("--config-dir").arg(config_dir);
    if args.json {
        command.arg("--json");
    }
    if let Some(time) = &args.script_time {
        // As one word, whatever it begins with.
        command.arg(format!("--script-time={time}"));
    }
}

/// The simulator, if it is installed; `purpose` says what for.
fn hbsim(purpose: &str) -> Result<Command> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    match find(beside, std::env::var_os("PATH")) {
        Some(program) => Ok(Command::new(program)),
        None => bail!("`{PROGRAM}` is neither beside this program nor in PATH; {purpose}"),
    }
}

fn become_it(mut command: Command) -> Result<u8> {
    let error = command.exec();
    bail!("cannot start {}: {error}", command.get_program().display())
}

/// The first that is there.
fn find(beside: Option<PathBuf>, path: Option<OsString>) -> Option<PathBuf> {
    let path = path.unwrap_or_default();
    // An empty element of PATH would be the present directory; a relative one is wherever somebody stands.
    let others = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    beside.into_iter().chain(others).map(|directory| directory.join(PROGRAM)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_asked_for_in_the_words_of_the_simulator() {
        let mut command = Command::new(PROGRAM);
        let args = ExplainArgs { json: true, script_time: Some("-1".into()) };
        explain_with(&mut command, Path::new("/x y"), &args);
        let words: Vec<_> = command.get_args().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words, ["explain", "--config-dir", "/x y", "--json", "--script-time=-1"]);
    }

    #[test]
    fn the_one_beside_us_comes_before_those_in_the_path() {
        let root = std::env::temp_dir().join(format!("hb-why-{}", std::process::id()));
        let (ours, other) = (root.join("ours"), root.join("other"));
        std::fs::create_dir_all(&ours).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        let path = std::env::join_paths(["relative".into(), other.clone()]).unwrap();
        assert_eq!(find(Some(ours.clone()), Some(path.clone())), None);
        std::fs::write(other.join(PROGRAM), "").unwrap();
        assert_eq!(find(Some(ours.clone()), Some(path.clone())), Some(other.join(PROGRAM)));
        std::fs::write(ours.join(PROGRAM), "").unwrap();
        assert_eq!(find(Some(ours.clone()), Some(path)), Some(ours.join(PROGRAM)));
        std::fs::remove_dir_all(root).unwrap();
    }
}
