//! `heartbeat why`: what the flight recorder says about the decisions of this node.
//!
//! Replaying is the simulator's work, a program of its own; this calls it as git calls its subcommands, so that the daemon
//! links none of it.

use anyhow::{Result, bail};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "hbsim";

/// Becomes `hbsim why`; returns only if that cannot be.
pub(crate) fn run(trace_dir: &Path, authkeys: &Path, group: Option<&str>) -> Result<u8> {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let Some(program) = find(beside, std::env::var_os("PATH")) else {
        bail!("`{PROGRAM}` is neither beside this program nor in PATH; it replays what the flight recorder has kept");
    };
    let error =
        Command::new(&program).arg("why").arg("--authkeys").arg(authkeys).arg("--").arg(trace_dir).args(group).exec();
    bail!("cannot start {}: {error}", program.display())
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
