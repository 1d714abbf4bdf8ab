//! A real Heartbeat 3.0.6 (Debian package `heartbeat`) on a machine of a laboratory.
//!
//! The program has fixed paths; the machine sees private directories in their place.

use anyhow::{Context as _, Result, bail, ensure};
use hb_shell::net::namespace::{Machine, Mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The daemon of the Debian package.
pub const PROGRAM: &str = "/usr/libexec/heartbeat/heartbeat";

/// Why no real Heartbeat can run here; `None` if it can.
pub fn missing() -> Option<String> {
    if !Path::new(PROGRAM).exists() {
        return Some(format!("{PROGRAM} is not installed (Debian package heartbeat)"));
    }
    // Root of a user namespace of one user is not root enough for a program that changes to `hacluster`.
    (!crate::is_root()).then(|| "a real Heartbeat needs root".to_owned())
}

/// One node of the real program: its private directories and, while it runs, its process.
#[derive(Debug)]
pub struct RealNode {
    directory: PathBuf,
    options: Vec<String>,
    process: Option<Child>,
}

impl RealNode {
    /// Prepares `directory` as the home of a node with these three files. `logfile` is added to ha.cf.
    pub fn new(directory: &Path, ha_cf: &str, haresources: &str, authkeys: &str) -> Result<RealNode> {
        fs::create_dir_all(directory)?;
        for (original, copy) in [("/etc/ha.d", "ha.d"), ("/var/lib/heartbeat", "state")] {
            let status = Command::new("cp").arg("-a").arg(original).arg(directory.join(copy)).status()?;
            ensure!(status.success(), "cannot copy {original}");
        }
        let node = RealNode { directory: directory.to_owned(), options: Vec::new(), process: None };
        let ha_d = directory.join("ha.d");
        // It logs under /run, which is private to the machine; /run shows this directory.
        // Its serial lines are locked in /var/lock, which is /run/lock.
        fs::create_dir_all(directory.join("run/lock"))?;
        fs::write(ha_d.join("ha.cf"), format!("logfile /run/ha-log\n{ha_cf}"))?;
        fs::write(ha_d.join("haresources"), haresources)?;
        let mut keys =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(ha_d.join("authkeys"))?;
        keys.write_all(authkeys.as_bytes())?;
        let sockets = directory.join("run/heartbeat");
        let status = Command::new("cp").arg("-a").arg("/run/heartbeat").arg(&sockets).status();
        if !status.is_ok_and(|status| status.success()) {
            // Only systemd-tmpfiles makes it at boot.
            for name in ["", "ccm", "crm", "dopd"] {
                fs::create_dir_all(sockets.join(name))?;
            }
            let status = Command::new("chown").arg("-R").arg("hacluster:haclient").arg(&sockets).status()?;
            ensure!(status.success(), "cannot give {} to hacluster", sockets.display());
            fs::set_permissions(&sockets, Permissions::from_mode(0o750))?;
        }
        Ok(node)
    }

    /// More letters for its command line.
    #[must_use]
    pub fn with_options(mut self, options: &[&str]) -> RealNode {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
        self
    }

    /// Where it keeps its state.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// What the machine must see in place of the fixed paths.
    pub fn mounts(&self) -> Vec<Mount> {
        let bind =
            |source: &str, target: &str| Mount::Bind { source: self.directory.join(source), target: target.into() };
        vec![bind("ha.d", "/etc/ha.d"), bind("state", "/var/lib/heartbeat"), bind("run", "/run")]
    }

    /// Starts the program in the foreground of `machine`.
    pub fn start(&mut self, machine: &Machine) -> Result<()> {
        let output = OpenOptions::new().create(true).append(true).open(self.directory.join("output"))?;
        let mut command = Command::new(PROGRAM);
        command.arg("-f").args(&self.options).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        self.process = Some(machine.spawn(command).context("cannot start the real Heartbeat")?);
        Ok(())
    }

    /// Runs one of the program's own tools in `machine` and returns what it printed.
    pub fn tool(machine: &Machine, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = machine.spawn(command)?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{program} {arguments:?}: {} {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }

    /// Asks the program to stop, waits until it has, and returns its exit code.
    pub fn stop(&mut self) -> Result<Option<i32>> {
        let mut process = self.process.take().context("the real Heartbeat does not run")?;
        kill(Pid::from_raw(i32::try_from(process.id())?), Signal::SIGTERM)?;
        Ok(process.wait()?.code())
    }

    /// Writes other keys into the file, whose mode stays; the program reads it at its next [`hang_up`](Self::hang_up).
    pub fn set_keys(&self, authkeys: &str) -> Result<()> {
        Ok(fs::write(self.directory.join("ha.d/authkeys"), authkeys)?)
    }

    /// Asks the program to read its files again (SIGHUP), and does not wait until it has.
    pub fn hang_up(&self) -> Result<()> {
        let process = self.process.as_ref().context("the real Heartbeat does not run")?;
        Ok(kill(Pid::from_raw(i32::try_from(process.id())?), Signal::SIGHUP)?)
    }

    /// Whether the program was started and neither stopped nor forgotten.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Hands a message to the program as its own scripts do: lines `name=value`, to which it adds the header.
    pub fn tell(&self, lines: &[(&str, &str)]) -> Result<()> {
        let path = self.directory.join("state/fifo");
        // Without a reader this would wait.
        let mut fifo = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let body: Vec<String> = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        // At once, so that no other writer comes in between.
        fifo.write_all(format!(">>>\n{}<<<\n", body.concat()).as_bytes())?;
        Ok(())
    }

    /// Forgets the process after its machine was killed.
    pub fn reap(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            // It may have ended before.
            let _: std::io::Result<()> = process.kill();
            process.wait()?;
        }
        Ok(())
    }

    /// What it logged.
    pub fn log(&self) -> String {
        // It dumps messages it does not like, binary fields as well.
        let read = |name: &str| fs::read(self.directory.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("output"), read("run/ha-log")].concat()).into_owned()
    }
}
