//! A real file system that moves with its group: Debian's `Filesystem`, an ext4 image on a loop device.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use hb_shell::testbed::{Directory, Testbed};
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, PATIENCE};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] =
    &[("filesystem::a_mounted_image_moves_with_its_group_and_with_a_killed_daemon", moves)];

const IMAGE_BYTES: u64 = 16 << 20;

/// A block device made of a file; it is given back when this is dropped, after the last machine has ended.
struct LoopDevice(String);

impl LoopDevice {
    /// Attaches a fresh image with a file system.
    fn new(image: &Path) -> Result<LoopDevice> {
        fs::File::create(image)?.set_len(IMAGE_BYTES)?;
        let device = LoopDevice(succeeds(Command::new("losetup").args(["--find", "--show"]).arg(image))?);
        succeeds(Command::new("mkfs.ext4").arg("-q").arg(&device.0))?;
        Ok(device)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // A destructor has nobody to tell.
        let _: Result<String> = succeeds(Command::new("losetup").arg("--detach").arg(&self.0));
    }
}

/// The output of a command that must succeed.
fn succeeds(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Whether a node has it mounted, as the kernel says.
fn mounted(testbed: &Testbed, which: usize, directory: &Path) -> Result<bool> {
    let mounts = testbed.machine(which)?.run(|| fs::read_to_string("/proc/thread-self/mounts"))?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|target| Path::new(target) == directory)))
}

/// Waits until the group runs on `owner`; at no moment both have the file system.
fn owned_by(testbed: &Testbed, owner: usize, directory: &Path) -> Result<()> {
    let mut both = false;
    testbed.wait_until("the file system has moved", PATIENCE, |testbed| {
        let has = |which| mounted(testbed, which, directory).unwrap_or(false);
        both |= has(0) && has(1);
        here_only(testbed, owner) && has(owner)
    })?;
    ensure!(!both, "it was mounted twice");
    ensure!(!mounted(testbed, 1 - owner, directory)?, "it is mounted on the other node");
    Ok(())
}

/// The group runs there; the other node may be down.
fn here_only(testbed: &Testbed, owner: usize) -> bool {
    agents::here(testbed, owner) == "running" && agents::here(testbed, 1 - owner) != "running"
}

/// Reads or writes in a machine, through its own mounts.
fn read(testbed: &Testbed, which: usize, file: &Path) -> Result<String> {
    let file = file.to_owned();
    Ok(testbed.machine(which)?.run(move || fs::read_to_string(file))?)
}

fn write(testbed: &Testbed, which: usize, file: &Path, text: &'static str) -> Result<()> {
    let file = file.to_owned();
    Ok(testbed.machine(which)?.run(move || fs::write(file, text))?)
}

fn moves() -> Outcome {
    if let Some(reason) = agents::hindrance(agents::FILESYSTEM) {
        return Ok(Completion::ignored_with(reason));
    }
    let stage = Directory::new()?;
    let directory = stage.path().join("data");
    fs::create_dir(&directory)?;
    // Before the machines, so that it ends after them.
    let device = match LoopDevice::new(&stage.path().join("image")) {
        Ok(device) => device,
        Err(error) => return Ok(Completion::ignored_with(format!("no loop device can be had here: {error:#}"))),
    };
    let word = format!("Filesystem::{}::{}::ext4::noatime", device.0, directory.display());
    let mut testbed = agents::pair("monitor 1 fall 2\nscript_limit stop 60\n")?;
    // Of what is no mount the script would otherwise end every user of the file system around it: of this very computer.
    agents::stand_in(&testbed, "fuser", "exec /usr/bin/fuser -M \"$@\"")?;
    agents::prepare(&mut testbed, &format!("h1 {word} 10.77.0.100/24/eth0\n"), &[])?;
    agents::start(&mut testbed)?;
    owned_by(&testbed, 0, &directory)?;
    let file = directory.join("written");
    write(&testbed, 0, &file, "by h1")?;
    ensure!(!file.exists(), "only that machine sees it");

    // A planned move. A process that keeps the file system busy is ended by the script.
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").current_dir(&directory);
    let mut busy = testbed.machine(0)?.spawn(sleep)?;
    let mut standby = testbed.command(0, &["standby", "all"]);
    let mut standby = standby.spawn().context("cannot order the move")?;
    owned_by(&testbed, 1, &directory)?;
    ensure!(standby.wait()?.success(), "{}", testbed.log(0));
    ensure!(busy.wait()?.signal().is_some(), "it was in the way");
    ensure!(read(&testbed, 1, &file)? == "by h1");
    write(&testbed, 1, &file, "by h2")?;

    // A crash of the daemon: the guard runs the stop script, and only then the other node mounts.
    testbed.kill(1)?;
    owned_by(&testbed, 0, &directory)?;
    ensure!(read(&testbed, 0, &file)? == "by h2");
    testbed.wait_until("it was told, and did not wait for the dead time", PATIENCE, |testbed| {
        testbed.log(0).contains("Received shutdown notice from 'h2'.")
    })?;

    // Unmounted behind the daemon's back: noticed, and mounted again.
    let target = directory.clone();
    testbed.machine(0)?.run(move || nix::mount::umount(&target))?;
    testbed.wait_until("it is mounted again", PATIENCE, |testbed| {
        mounted(testbed, 0, &directory).unwrap_or(false) && here_only(testbed, 0)
    })?;
    ensure!(testbed.stop(0)? == Some(0));
    if mounted(&testbed, 0, &directory)? {
        bail!("it stays mounted after an orderly stop\n{}", testbed.log(0));
    }
    Ok(Completion::Completed)
}
