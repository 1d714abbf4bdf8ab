//! A pair whose files are read again while it serves: the key is changed on both sides, broken files change nothing.

use std::fs::{OpenOptions, read, read_dir, write};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hb_core::Action;
use hb_core::config::SourceText;
use hb_core::trace::{Entry, Made, Reader};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::Test;
use crate::daemons::{PATIENCE, settled, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("reloads::the_key_is_changed_by_three_reloads_and_no_packet_is_refused", new_key),
    ("reloads::broken_files_change_nothing_and_say_why", broken),
    ("reloads::a_reload_in_the_middle_of_a_move_does_not_disturb_it", mid_move),
];

const OLD: &str = "1 sha1 a-key-for-this-laboratory\n";
const NEW: &str = "2 sha1 the-next-key-of-this-laboratory\n";

fn set_keys(testbed: &Testbed, which: usize, text: &str) -> Result<()> {
    let path = testbed.directory(which).join("authkeys");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Exit code, standard output and standard error.
fn order(testbed: &Testbed, which: usize, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = testbed.command(which, arguments).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

fn no_drops(testbed: &Testbed) -> Result<()> {
    for which in 0..2 {
        let dropped = testbed.status(which)?["dropped"].clone();
        let count: u64 = dropped.as_object().into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum();
        ensure!(count == 0, "node {which} refused packets: {dropped}\n{}", testbed.log(which));
    }
    Ok(())
}

fn new_key() -> Outcome {
    let mut testbed = settled(setup(false))?;
    let both = format!("{OLD}{NEW}");
    for (authkeys, line) in [
        (format!("auth 1\n{both}"), "authkeys 2: sha1 is added\n"),
        (format!("auth 2\n{both}"), "auth: 1 becomes 2\n"),
        (format!("auth 2\n{NEW}"), "authkeys 1: sha1 is taken away\n"),
    ] {
        for which in 0..2 {
            set_keys(&testbed, which, &authkeys)?;
            let (code, told, problems) = order(&testbed, which, &["-r"])?;
            ensure!(code == Some(0) && told.contains(line), "{told}{problems}");
            // Heartbeats, a planned move and its way back cross between the two sides of the change.
            let (code, told, _) = order(&testbed, 0, &[if which == 0 { "standby" } else { "takeover" }, "all"])?;
            ensure!(code == Some(0), "{told}{}", testbed.log(0));
            ensure!(testbed.is_owned_by(&[1 - which]), "{}", testbed.log(0));
            std::thread::sleep(Duration::from_millis(200));
            no_drops(&testbed)?;
        }
    }
    for which in 0..2 {
        let log = testbed.log(which);
        ensure!(
            log.contains("auth: 1 becomes 2") && !log.contains("is dead (") && !log.contains("laboratory"),
            "{log}"
        );
        ensure!(testbed.stop(which)? == Some(0));
        replay(&testbed, which, format!("auth 2\n{both}").as_bytes())?;
    }
    Ok(Completion::Completed)
}

/// What the node recorded comes again from all its keys together.
fn replay(testbed: &Testbed, which: usize, authkeys: &[u8]) -> Result<()> {
    let keys = SourceText { name: "authkeys", bytes: authkeys };
    let mut reloads = 0;
    for file in read_dir(testbed.directory(which).join("state/trace"))? {
        let bytes = read(file?.path())?;
        let mut node = None;
        for entry in Reader::new(&bytes) {
            match entry? {
                Entry::Segment(segment) => node = Some(segment.restore(keys)?),
                Entry::Step(step) => {
                    let input = step.input.with_keys(keys)?;
                    reloads += u32::from(matches!(input, hb_core::Input::Reload(_)));
                    let what = format!("{input:?}");
                    let node = node.as_mut().context("a recording begins with a segment")?;
                    let actions: Vec<Action> = node.handle(step.now, input).collect();
                    ensure!(Made::of(&actions) == step.made, "{what}: {actions:?} instead of {:?}", step.made);
                }
            }
        }
    }
    ensure!(reloads == 3, "{reloads} reloads are recorded");
    Ok(())
}

fn broken() -> Outcome {
    let testbed = settled(setup(false))?;
    let file = testbed.directory(0).join("ha.cf");
    let good = read(&file)?;
    let with = |line: &str| write(&file, [&good[..], line.as_bytes()].concat());

    with("deadtime 10s\n")?;
    let (code, told, problems) = order(&testbed, 0, &["reload"])?;
    ensure!(code == Some(1) && told.is_empty(), "{code:?} {told}");
    ensure!(problems.contains("deadtime 10s") && problems.contains("goes on as it is"), "{problems}");
    // By signal nobody is told but the log.
    let pid = Pid::from_raw(i32::try_from(testbed.daemon_pid(0)?)?);
    set_keys(&testbed, 0, "auth 3\n")?;
    kill(pid, Signal::SIGHUP)?;
    let phrase = "nothing was changed, the old files stay in use";
    testbed.wait_until("the log says it", PATIENCE, |testbed| testbed.log(0).matches(phrase).count() == 2)?;
    ensure!(testbed.log(0).contains("authkeys"), "{}", testbed.log(0));
    std::thread::sleep(Duration::from_millis(300));
    ensure!(testbed.rests(0), "{}", testbed.log(0));

    // Good again: what can be applied is, and the other side hears of it; what cannot waits.
    set_keys(&testbed, 0, &format!("auth 1\n{OLD}"))?;
    let slower = String::from_utf8(good.clone())?.replace("deadtime 2000ms", "deadtime 4");
    write(&file, format!("{slower}bcast eth0\ndebug 1\n"))?;
    let (code, told, problems) = order(&testbed, 0, &["reload"])?;
    ensure!(code == Some(0), "{told}{problems}");
    ensure!(told.contains("deadtime: 2000 ms becomes 4000 ms\n"), "{told}");
    ensure!(told.contains("media: bcast eth0, port 694 is added; waits for a restart: "), "{told}");
    testbed.wait_until("h2 hears of it", PATIENCE, |testbed| {
        let deadtime = testbed.status(1).unwrap_or_default()["nodes"][0]["deadtime_ms"].as_u64();
        deadtime.is_some_and(|deadtime| deadtime >= 4000)
    })?;
    let (_, told, _) = order(&testbed, 0, &["reload"])?;
    ensure!(told.ends_with("reload: 0 changes applied, 1 wait for a restart\n"), "{told}");
    no_drops(&testbed)?;
    ensure!(testbed.rests(0) && !testbed.log(1).contains("is dead ("), "{}", testbed.log(1));
    ensure!(testbed.ask(0, &json!({"v": 1, "do": "reload"}))?["ok"] == true);
    Ok(Completion::Completed)
}

fn mid_move() -> Outcome {
    let mut setup = setup(false);
    setup.haresources = "h1 10.77.0.100/24/eth0 Slow\n".into();
    let mut testbed = Testbed::new(setup)?;
    for which in 0..2 {
        let directory = testbed.directory(which).join("resource.d");
        std::fs::create_dir_all(&directory)?;
        let state = directory.join("state").display().to_string();
        let text = format!(
            "#!/bin/sh\ncase $1 in\nstart) sleep 1; touch {state};;\nstop) rm -f {state};;\nstatus) [ -e {state} ] && echo running || echo \
             stopped;;\nesac\n"
        );
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(directory.join("Slow"))?;
        file.write_all(text.as_bytes())?;
        drop(file);
        testbed.start(which)?;
    }
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    let mut standby = testbed.command(0, &["standby", "all"]).spawn()?;
    testbed.wait_until("h2 has begun", PATIENCE, |testbed| {
        testbed.status(1).unwrap_or_default()["groups"][0]["here"] == "starting"
    })?;
    for which in 0..2 {
        let file = testbed.directory(which).join("ha.cf");
        write(&file, [&read(&file)?[..], b"hopfudge 3\nmsgfmt netstring\n"].concat())?;
        let (code, told, problems) = order(&testbed, which, &["-r"])?;
        ensure!(code == Some(0) && told.contains("msgfmt: classic becomes netstring\n"), "{told}{problems}");
        ensure!(testbed.status(1)?["groups"][0]["here"] == "starting", "it is still under way");
    }
    ensure!(standby.wait()?.success(), "{}", testbed.log(0));
    testbed.wait_until("h2 serves", PATIENCE, |testbed| testbed.rests(1))?;
    no_drops(&testbed)?;
    Ok(Completion::Completed)
}
