//! `ha_propagate`: the files that are the same on all nodes, copied to the others by scp. Read CLUSTER g.8 first.
//!
//! Invariants:
//! - nothing is sent before both files are there and `heartbeat check` would have no error for them,
//! - what is no host name reaches neither scp nor ssh: a node called `-oProxyCommand=...` is only a failure,
//! - a key that others may read is never sent, so that `scp -p` leaves it readable to its owner alone.

use crate::check::{self, NOT_CONFIGURED};
use crate::config::{CONFIG_DIR, Loaded, count, load};
use clap::Parser;
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};

use crate::render::Paint;

/// A node that is switched off is given up after so many seconds; the kernel would try for two minutes.
const CONNECT: &str = "-oConnectTimeout=10";

/// Lets the service start at boot, by what the machine has. A login without a terminal may lack the `sbin` directories.
const ENABLE: &str = "PATH=$PATH:/usr/sbin:/sbin; export PATH; \
if [ -d /run/systemd/system ]; then systemctl enable heartbeat; \
elif command -v chkconfig >/dev/null; then chkconfig heartbeat on; \
elif command -v update-rc.d >/dev/null; then update-rc.d heartbeat defaults; \
elif command -v rc-update >/dev/null; then rc-update add heartbeat default; \
else echo 'no systemctl, chkconfig, update-rc.d or rc-update here' >&2; exit 1; fi";

/// Copies ha.cf and authkeys to all other nodes of ha.cf and lets heartbeat start there at boot.
///
/// The nodes are those of the `node` lines but this one. Each gets both files, as they are here and with their modes, into the
/// same directory by scp, and the service `heartbeat` is enabled by ssh: with systemctl where systemd runs, else with chkconfig,
/// update-rc.d or rc-update. scp and ssh are found in PATH and run as whoever calls, with that user's configuration of ssh; the other
/// end must be allowed to write there, as root is.
///
/// haresources is not copied. Nothing is started, restarted or reloaded: `heartbeat reload` does that, on each node.
///
/// A line for each node says what became of it; after a failure the others still have their turn. Exit codes: 0 all done, 1 not
/// all, 2 wrong usage, 6 the files here are missing or wrong and nothing was sent.
#[derive(Parser, Debug)]
#[command(name = "ha_propagate")]
struct Line {
    /// Directory of ha.cf and authkeys, here and there.
    #[arg(long, value_name = "DIR", default_value = CONFIG_DIR)]
    config_dir: PathBuf,
    /// Name of this node, instead of the file nodeinfo or `uname -n`.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
}

/// Runs `ha_propagate` with these arguments; gives its exit code.
pub(super) fn run(arguments: &[String]) -> u8 {
    let line = Line::parse_from(["ha_propagate".to_owned()].iter().chain(arguments));
    let loaded = load(&line.config_dir, line.node.as_deref(), false);
    let directory = match ready(&loaded, &line.config_dir) {
        Ok(directory) => directory,
        Err(why) => {
            eprintln!("{}\nha_propagate: nothing was sent", why.trim_end());
            return NOT_CONFIGURED;
        }
    };
    let Some(config) = &loaded.config else { return NOT_CONFIGURED };
    let others: Vec<&str> =
        config.nodes().iter().map(|node| node.name.as_str()).filter(|name| *name != config.local_name()).collect();
    if others.is_empty() {
        println!("ha.cf names no other node than {}", config.local_name());
    }
    let mut failures = 0;
    for node in &others {
        match propagate(node, &directory) {
            Ok(()) => println!("{node}: ha.cf and authkeys copied, heartbeat enabled"),
            Err(why) => {
                println!("{node}: failed: {why}");
                failures += 1;
            }
        }
    }
    if failures > 0 {
        eprintln!("ha_propagate: {} of {} failed", failures, count(others.len(), "node", "nodes"));
    }
    u8::from(failures > 0)
}

/// The directory as scp may be told it, or why nothing can be sent.
fn ready(loaded: &Loaded, directory: &Path) -> Result<String, String> {
    if loaded.config.is_none() {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        return Err(check::text(loaded, if colour { Paint::Colour } else { Paint::Plain }));
    }
    let authkeys = directory.join("authkeys");
    let mode =
        fs::metadata(&authkeys).map_err(|error| format!("{}: {error}", authkeys.display()))?.permissions().mode();
    // Stricter than the daemon, which lets others write: here the mode spreads.
    if mode & 0o077 != 0 {
        let name = authkeys.display();
        return Err(format!("{name} has mode {:o}: run `chmod 600 {name}`", mode & 0o7777));
    }
    let whole = absolute(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    // A scp of before OpenSSH 9 lets a shell read the name at the other end.
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let whole = whole.to_str().filter(|whole| whole.chars().all(plain));
    whole.map(str::to_owned).ok_or_else(|| {
        format!(
            "{}: the path may have letters, digits and `/._-+` only, to be the same for a shell",
            directory.display()
        )
    })
}

/// Does everything for one node, or says what failed.
fn propagate(node: &str, directory: &str) -> Result<(), String> {
    if !is_host(node) {
        return Err("this is no host name that scp and ssh could be told".to_owned());
    }
    let mut scp = Command::new("scp");
    scp.args(["-p", "-q", CONNECT, "--"]).args(["ha.cf", "authkeys"].map(|file| format!("{directory}/{file}")));
    step(scp.arg(format!("{node}:{directory}/")), "not copied: scp")?;
    let mut ssh = Command::new("ssh");
    step(ssh.args([CONNECT, "--", node, ENABLE]), "ha.cf and authkeys copied, not enabled: ssh")
}

/// Runs a program that talks to the terminal, if it must, and to the error output.
fn step(command: &mut Command, what: &str) -> Result<(), String> {
    match command.stdin(Stdio::null()).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(match status.code() {
            Some(code) => format!("{what} ended with exit code {code}"),
            None => format!("{what} was killed"),
        }),
        Err(error) => Err(format!("{what} cannot be run: {error}")),
    }
}

/// Whether it can only be a host: no option, no user, no path, no other port.
fn is_host(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn only_host_names_are_hosts() {
        for name in ["beta", "node-2.example.org", "10.0.0.2", "a_b", "x-"] {
            assert!(is_host(name), "{name}");
        }
        for name in ["", "-", "-oproxycommand=x", "root@beta", "a:b", "a/b", "a;b", "$(x)", "fe80::1", "größe", "a b"]
        {
            assert!(!is_host(name), "{name}");
        }
    }
}
