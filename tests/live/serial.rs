//! Two real daemons joined by a serial line: a null-modem cable of pseudo terminals.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hb_shell::testbed::{Setup, Testbed};
use hb_tests::cable::NullModem;
use libtest_mimic::Completion;

use crate::Test;
use crate::daemons::{PATIENCE, program};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("serial::a_pair_lives_on_a_serial_line_for_a_minute", minute),
    ("serial::a_line_pulled_and_plugged_in_again_is_a_link_that_dies_and_comes_back", pulled),
];

/// How long the pair is watched.
const MINUTE: Duration = Duration::from_mins(1);

const HA_CF: &str = "keepalive 500ms\ndeadtime 5\ninitdead 10\nauto_failback off\nbaud 115200\n";

/// Two machines with a cable between them; nothing runs yet.
fn wired(ha_cf: &str, haresources: &str) -> Result<(Testbed, NullModem)> {
    let setup = Setup {
        program: program(),
        ha_cf: format!("{ha_cf}serial /TTY\n"),
        haresources: haresources.to_owned(),
        realtime: false,
        options: Vec::new(),
    };
    let testbed = Testbed::new(setup)?;
    let paths = [0, 1].map(|which| testbed.directory(which).join("tty"));
    for (which, path) in paths.iter().enumerate() {
        let file = testbed.directory(which).join("ha.cf");
        let text = std::fs::read_to_string(&file)?;
        std::fs::write(&file, text.replace("/TTY", &path.display().to_string()))?;
    }
    let cable = NullModem::new(paths)?;
    Ok((testbed, cable))
}

fn settled(ha_cf: &str) -> Result<(Testbed, NullModem)> {
    let (mut testbed, cable) = wired(ha_cf, "h1 10.77.0.100/24/eth0\n")?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair is settled", PATIENCE, |testbed| testbed.rests(0))?;
    Ok((testbed, cable))
}

fn is_link_up(testbed: &Testbed, which: usize) -> Option<bool> {
    let status = testbed.status(which).ok()?;
    let links = status["nodes"].as_array()?.get(1 - which)?["links"].as_array()?.clone();
    links.iter().find(|link| link["medium"].as_str().is_some_and(|name| name.ends_with("/tty")))?["up"].as_bool()
}

fn minute() -> Outcome {
    let (testbed, _cable) = settled(HA_CF)?;
    let begin = Instant::now();
    // The serial line is all there is, and it carries a planned move as well.
    let moved = testbed.command(0, &["standby", "local"]).output()?;
    ensure!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
    testbed.wait_until("the other one serves", PATIENCE, |testbed| testbed.rests(1))?;
    while begin.elapsed() < MINUTE {
        ensure!([0, 1].into_iter().all(|which| testbed.active_nodes(which) == 2), "{}", testbed.log(0));
        std::thread::sleep(Duration::from_secs(1));
    }
    for which in [0, 1] {
        let log = testbed.log(which);
        ensure!(!log.contains("is dead") && !log.contains("Dropped"), "{log}");
        let missing = &testbed.status(which)?["nodes"][1 - which]["missing"];
        ensure!(*missing == 0, "{missing} messages are missing");
    }
    Ok(Completion::Completed)
}

fn pulled() -> Outcome {
    let (testbed, cable) = settled(&format!("{HA_CF}bcast eth1\n"))?;
    testbed.wait_until("both lines are up", PATIENCE, |testbed| {
        [0, 1].into_iter().all(|which| is_link_up(testbed, which) == Some(true))
    })?;
    cable.pull(0)?;
    testbed.wait_until("the machine says so", PATIENCE, |testbed| testbed.log(0).contains("tty does not carry"))?;
    testbed.wait_until("both links are dead", PATIENCE, |testbed| {
        [0, 1].into_iter().all(|which| is_link_up(testbed, which) == Some(false))
    })?;
    testbed.wait_for_log(1, &["/tty dead."], PATIENCE)?;
    cable.plug(0)?;
    testbed.wait_until("both links are up again", PATIENCE, |testbed| {
        [0, 1].into_iter().all(|which| is_link_up(testbed, which) == Some(true))
    })?;
    testbed.wait_for_log(0, &["tty carries again"], PATIENCE)?;
    testbed.wait_until("it is up again", PATIENCE, |testbed| testbed.log(0).matches("/tty up.").count() >= 2)?;
    let log = testbed.log(0);
    ensure!(testbed.rests(0) && !log.contains("node h2: is dead"), "nothing else happened: {log}");
    Ok(Completion::Completed)
}
