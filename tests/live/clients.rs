//! Programs of the real package against our daemon at the standard paths: unmodified, and with hostile ones beside them.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hb_shell::net::namespace::{Machine, Mount};
use hb_shell::testbed::{Setup, Testbed};
use hb_tests::real;
use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User, chown};

use crate::Test;
use crate::daemons::{PATIENCE, program};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("clients::the_real_cl_status_works_with_every_subcommand", cl_status),
    ("clients::the_real_api_test_runs_to_its_messages", api_test),
    ("clients::the_real_ipfail_is_run_respawned_and_stopped", ipfail),
    ("clients::the_real_ccm_forms_a_membership", ccm),
    ("clients::ordinary_users_are_refused_by_name", refused),
    ("clients::a_message_in_the_fifo_moves_groups", fifo),
    ("clients::hostile_clients_hurt_nobody", hostile),
];

const CL_STATUS: &str = "/usr/bin/cl_status";
const LIBEXEC: &str = "/usr/libexec/heartbeat";

const HA_CF: &str = "keepalive 250ms\ndeadtime 3\ninitdead 10\nauto_failback off\nbcast eth1\nbcast eth0\n";

/// A pair whose daemons are reached at the standard paths; `lines` go to ha.cf.
pub(crate) fn pair(lines: &str) -> Result<Testbed> {
    let setup = Setup {
        program: program(),
        ha_cf: format!("{HA_CF}{lines}"),
        haresources: "h1 10.77.0.100/24/eth0\n".to_owned(),
        realtime: false,
        options: Vec::new(),
    };
    let mut testbed = Testbed::new(setup)?;
    for which in 0..2 {
        let sockets = sockets(&testbed, which);
        fs::create_dir_all(&sockets)?;
        // As systemd-tmpfiles makes it; an ordinary user can give nothing away.
        if real::missing().is_none()
            && let (Some(user), Some(group)) = (User::from_name("hacluster")?, Group::from_name("haclient")?)
        {
            chown(&sockets, Some(user.uid), Some(group.gid))?;
            fs::set_permissions(&sockets, std::os::unix::fs::PermissionsExt::from_mode(0o750))?;
        }
        let directory = testbed.directory(which);
        symlink(&sockets, directory.join("run"))?;
        fs::create_dir_all(directory.join("state"))?;
        let bind = |source: &str, target: &str| Mount::Bind { source: directory.join(source), target: target.into() };
        testbed.power_off(which)?;
        testbed.power_on(which, &[bind("slash-run", "/run"), bind("state", "/var/lib/heartbeat")])?;
        testbed.start(which)?;
    }
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    Ok(testbed)
}

fn sockets(testbed: &Testbed, which: usize) -> PathBuf {
    testbed.directory(which).join("slash-run/heartbeat")
}

/// Runs a program in a machine: exit code, and what it printed.
fn run(machine: &Machine, program: &str, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = machine.spawn(command)?.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), text))
}

fn cl_status() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = pair("apiauth foo uid=root\n")?;
    let started = Instant::now();
    for (line, code, expected) in [
        ("hbstatus", 0, "Heartbeat is running on this machine.\n"),
        ("hbstatus -m", 0, "Heartbeat is running on this machine.\n"),
        ("listnodes", 0, "h2\nh1\n"),
        ("listnodes -n", 0, "h2\nh1\n"),
        ("listnodes -p", 0, ""),
        (
            "listnodes -v",
            0,
            "\nh2\tactive\t(nodetype: normal)\n\teth0\tup\n\teth1\tup\n\nh1\tactive\t(nodetype: normal)\n\teth0\tup\n\teth1\tup\n",
        ),
        ("nodestatus h2", 0, "active\n"),
        ("nodestatus H2", 0, "active\n"),
        ("nodestatus nosuch", 11, "Error. May be due to incorrect node name\n"),
        ("nodeweight h2", 0, "100\n"),
        ("nodeweight nosuch", 11, "Error. Maybe due to incorrect node name.\n"),
        ("nodesite h2", 0, "\n"),
        ("nodetype h2", 0, "normal\n"),
        ("listhblinks h2", 0, "\teth0\n\teth1\n"),
        ("listhblinks -v h2", 0, "\teth0\tup\n\teth1\tup\n"),
        ("hblinkstatus h2 eth1", 0, "up\n"),
        ("clientstatus h1 nosuch", 1, "offline\n"),
        // The real daemon is too slow for the default of 500 ms.
        ("clientstatus h2 nosuch", 1, "offline\n"),
        ("rscstatus", 0, "local\n"),
        ("rscstatus -m", 0, "This node is holding local resources.\n"),
        ("hbparameter -p keepalive", 0, "250ms\n"),
        ("hbparameter -p deadtime", 0, "3\n"),
        ("hbparameter -p hopfudge", 0, "1\n"),
        ("hbparameter -p crm", 0, "false\n"),
        ("test", 0, "Dead time: 3000\n keeplive time: 250\n mynodeid: h1\n rsc: local\n"),
        ("frobnicate", 11, "frobnicate: invalid sub-command."),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let found = run(testbed.machine(0)?, CL_STATUS, &arguments)?;
        let is_right = if line == "frobnicate" { found.1.contains(expected) } else { found.1 == expected };
        ensure!(found.0 == Some(code) && is_right, "cl_status {line}: {found:?}");
    }
    for (line, code, phrase) in [
        ("listhblinks nosuch", 13, "Cannot start heartbeat link interface walk."),
        ("hblinkstatus h2 eth9", 13, "Cannot get heartbeat link status"),
        ("hbparameter -p watchdog", 1, "Cannot get parameter watchdog's value"),
        ("clientstatus nosuch ipfail", 13, "No timely response."),
        ("hbparameter -p hbversion", 0, "3.0.6"),
        ("hbstatus -v", 0, "managed by:\t\"haresources\""),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let (found, text) = run(testbed.machine(0)?, CL_STATUS, &arguments)?;
        ensure!(found == Some(code) && text.contains(phrase), "cl_status {line}: {found:?} {text}");
    }
    ensure!(started.elapsed() < Duration::from_secs(10), "every question is answered at once");
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", CL_STATUS, "hbstatus"]);
    as_nobody.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = testbed.machine(0)?.spawn(as_nobody)?.wait_with_output()?;
    ensure!(String::from_utf8_lossy(&output.stdout) == "Heartbeat is running on this machine.\n", "{output:?}");
    testbed.stop(0)?;
    let stopped = run(testbed.machine(0)?, CL_STATUS, &["hbstatus"])?;
    ensure!(stopped == (Some(1), "Heartbeat is stopped on this machine.\n".to_owned()), "{stopped:?}");
    Ok(Completion::Completed)
}

fn api_test() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let testbed = pair("apiauth ping uid=root\n")?;
    let mut command = Command::new(format!("{LIBEXEC}/api_test"));
    let output = testbed.directory(0).join("api_test");
    let file = fs::File::create(&output)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut program = testbed.machine(0)?.spawn(command)?;
    let text = || fs::read_to_string(&output).unwrap_or_default();
    let waited = testbed.wait_until("it gets its own messages back", PATIENCE, |testbed| {
        text().matches("pingreply").count() >= 10
            || (testbed.log(0).contains("client ping") && text().contains("pingreply"))
    });
    kill(Pid::from_raw(i32::try_from(program.id())?), Signal::SIGTERM)?;
    program.wait()?;
    waited.map_err(|error| anyhow::anyhow!("{error:#}\n--- api_test\n{}", text()))?;
    testbed.wait_until("it signed off", PATIENCE, |testbed| {
        let log = testbed.log(0);
        log.lines().any(|line| line.contains("client ping [pid") && line.contains("left: "))
    })?;
    Ok(Completion::Completed)
}

fn ipfail() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    // By another program's name: under its own what it does is built in.
    let mut testbed = pair(&format!("respawn hacluster /usr/bin/env {LIBEXEC}/ipfail\n"))?;
    testbed.wait_until("ipfail signs on, on both nodes", PATIENCE, |testbed| {
        (0..2)
            .all(|which| testbed.log(which).contains("client ipfail [pid") && testbed.log(which).contains("signed on"))
    })?;
    let online = run(testbed.machine(0)?, CL_STATUS, &["clientstatus", "h2", "ipfail"])?;
    ensure!(online == (Some(0), "online\n".to_owned()), "{online:?}");
    let pid = || -> Result<i32> {
        let log = testbed.log(0);
        let (_, rest) = log.rsplit_once("client ipfail [pid ").ok_or_else(|| anyhow::anyhow!("{log}"))?;
        Ok(rest.split(']').next().unwrap_or_default().parse()?)
    };
    let first = pid()?;
    let user = fs::metadata(format!("/proc/{first}"))?.uid();
    ensure!(User::from_name("hacluster")?.is_some_and(|cluster| cluster.uid.as_raw() == user), "runs as {user}");
    kill(Pid::from_raw(first), Signal::SIGKILL)?;
    testbed.wait_until("it is started again", PATIENCE, |testbed| {
        let log = testbed.log(0);
        log.contains("killed by signal 9") && log.contains("Respawning client") && log.matches("signed on").count() == 2
    })?;
    let second = pid()?;
    // It signs on first and only then begins to heed SIGTERM.
    std::thread::sleep(Duration::from_secs(1));
    ensure!(testbed.stop(0)? == Some(0));
    let log = testbed.log(0);
    ensure!(log.contains("client ipfail [pid ") && log.contains("left: "), "it left: {log}");
    ensure!(log.contains(&format!("process {second} exited with return code 0.")), "{log}");
    ensure!(!Path::new(&format!("/proc/{second}")).exists());
    let offline = run(testbed.machine(1)?, CL_STATUS, &["clientstatus", "h1", "ipfail"])?;
    ensure!(offline.0 == Some(1) || offline.0 == Some(13), "{offline:?}");
    Ok(Completion::Completed)
}

fn ccm() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let testbed = pair(&format!("respawn hacluster {LIBEXEC}/ccm\n"))?;
    testbed.wait_until("both ccms are members", PATIENCE, |testbed| {
        let seen = testbed.machine(0).ok().and_then(|machine| run(machine, CL_STATUS, &["hbstatus", "-v"]).ok());
        std::thread::sleep(Duration::from_millis(200));
        seen.is_some_and(|(_, text)| {
            text.contains("h1") && text.contains("h2") && text.to_lowercase().contains("quorum")
        })
    })?;
    Ok(Completion::Completed)
}

fn refused() -> Outcome {
    if let Some(reason) = real::missing() {
        return Ok(Completion::ignored_with(reason));
    }
    let testbed = pair("")?;
    let found = run(testbed.machine(0)?, &format!("{LIBEXEC}/api_test"), &[])?;
    ensure!(found.0 != Some(0), "{found:?}");
    testbed.wait_until("the log says so", PATIENCE, |testbed| {
        let log = testbed.log(0);
        log.contains("sign-on of client [ping] refused (pid ") && log.contains("client failed authorization")
    })?;
    Ok(Completion::Completed)
}

fn fifo() -> Outcome {
    let testbed = pair("")?;
    let path = testbed.directory(0).join("state/fifo");
    let found = fs::metadata(&path)?;
    ensure!(found.file_type().is_fifo() && found.mode() & 0o777 == 0o600, "{found:?}");
    let write = |text: &[u8]| -> Result<()> {
        let mut fifo = fs::OpenOptions::new().append(true).custom_flags(nix::libc::O_NONBLOCK).open(&path)?;
        Ok(fifo.write_all(text)?)
    };
    write(b"junk\n>>>\nt=ask_resources\n>>>\nt=ask_resources\nrsc_hold=all\ninfo=me\n<<<\n")?;
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.is_owned_by(&[1]) && testbed.is_stable(0))?;
    write(b">>>\nt=hb_takeover\nrsc_hold=all\n<<<\n")?;
    testbed.wait_until("h1 serves again", PATIENCE, |testbed| testbed.is_owned_by(&[0]))?;
    Ok(Completion::Completed)
}

/// A frame with this body.
fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_ne_bytes(), &0xabcd_u32.to_ne_bytes(), body].concat()
}

fn sign_on(stream: &mut UnixStream) -> Result<String> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let pid = std::process::id();
    let body = format!(">>>\nt=hbapi-req\nreqtype=signon\npid={pid}\nfrom_id=flood\nuid={uid}\ngid={gid}\n<<<\n\0");
    stream.write_all(&frame(body.as_bytes()))?;
    let mut reply = [0; 4096];
    let mut text = String::new();
    while !text.contains("result=") {
        let length = stream.read(&mut reply)?;
        ensure!(length > 0, "closed: {text}");
        text.push_str(&String::from_utf8_lossy(&reply[..length]));
    }
    Ok(text)
}

fn hostile() -> Outcome {
    let testbed = pair("apiauth flood uid=0\n")?;
    let socket = testbed.directory(0).join("run/register");
    ensure!(fs::metadata(&socket)?.mode() & 0o777 == 0o777, "everybody who comes so far may connect");
    let connect = || -> Result<UnixStream> {
        let stream = UnixStream::connect(&socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    };
    // What is no frame closes the connection at once.
    for header in [[0x0a, 0, 0, 0, 0x34, 0x12, 0, 0], [0, 0, 0, 0x10, 0xcd, 0xab, 0, 0], [0xff; 8]] {
        let mut stream = connect()?;
        stream.write_all(&header)?;
        ensure!(stream.read(&mut [0; 16])? == 0);
    }
    // More connections than there are places, half of them with half a frame.
    let mut crowd = Vec::new();
    for number in 0..200 {
        let mut stream = connect()?;
        if number % 2 == 0 {
            // Those that were turned away cannot be written to.
            let _closed = stream.write_all(&frame(&[b'x'; 100])[..50]);
        }
        crowd.push(stream);
    }
    testbed.wait_until("the log says who found no place", PATIENCE, |testbed| {
        let log = testbed.log(0);
        log.contains("client [pid ") && log.contains("turned away: all 1") && log.matches("turned away").count() == 1
    })?;
    drop(crowd);
    testbed.wait_until("there is room again", PATIENCE, |_| {
        connect().and_then(|mut stream| sign_on(&mut stream)).is_ok()
    })?;
    std::thread::sleep(Duration::from_millis(100));
    // One that floods the cluster and never reads is thrown out, and nobody misses a heartbeat.
    let mut flood = connect()?;
    ensure!(sign_on(&mut flood)?.contains("result=OK"));
    flood.set_nonblocking(true)?;
    let (message, end) = (
        frame(b">>>\nt=noise\nx=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n<<<\n\0"),
        Instant::now() + Duration::from_secs(4),
    );
    let mut sent = 0;
    while Instant::now() < end {
        match flood.write(&message) {
            // A frame cut in two ends the flood as well.
            Ok(length) if length == message.len() => sent += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            _ => break,
        }
    }
    testbed.wait_until("it is thrown out", PATIENCE, |testbed| {
        testbed.log(0).contains("left: send failed,farside_pid=")
    })?;
    ensure!(sent > 100, "only {sent}");
    for which in 0..2 {
        let log = testbed.log(which);
        ensure!(!log.contains("Late heartbeat") && !log.contains("is dead ("), "after {sent} messages:\n{log}");
    }
    ensure!(testbed.is_owned_by(&[0]) && testbed.active_nodes(1) == 2);
    Ok(Completion::Completed)
}
