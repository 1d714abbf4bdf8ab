//! Clients of the control socket watch, join, and talk to those of their name on the other node.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;
use serde_json::{Value, json};

use crate::Test;
use crate::daemons::{PATIENCE, setup};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[("control::clients_watch_join_and_talk_in_json", talk)];

/// A connection to the control socket of a node.
struct Line(BufReader<UnixStream>);

impl Line {
    fn to(testbed: &Testbed, which: usize) -> Result<Line> {
        let stream = UnixStream::connect(testbed.directory(which).join("run/control"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Line(BufReader::new(stream)))
    }

    fn say(&mut self, request: &Value) -> Result<()> {
        Ok(writeln!(self.0.get_mut(), "{request}")?)
    }

    fn next(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("nothing was said")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The next line for which that holds.
    fn until(&mut self, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        loop {
            let line = self.next()?;
            if condition(&line) {
                return Ok(line);
            }
        }
    }

    fn answer(&mut self, request: &Value) -> Result<Value> {
        self.say(request)?;
        self.until(|line| line.get("ok").is_some())
    }
}

fn talk() -> Outcome {
    let mut setup = setup(false);
    setup.ha_cf += "apiauth chat uid=root\n";
    let mut testbed = Testbed::new(setup)?;
    testbed.start(0)?;
    testbed.start(1)?;
    testbed.wait_until("the pair forms", PATIENCE, |testbed| testbed.rests(0))?;

    let mut watcher = Line::to(&testbed, 0)?;
    ensure!(watcher.answer(&json!({"v": 1, "do": "watch"}))?["ok"] == true);
    let (mut one, mut other) = (Line::to(&testbed, 0)?, Line::to(&testbed, 1)?);
    let early = one.answer(&json!({"v": 1, "do": "send", "type": "hello"}))?;
    ensure!(early["error"] == "refused" && early["text"] == "join first", "{early}");
    let join = json!({"v": 1, "do": "join", "name": "chat"});
    for line in [&mut one, &mut other] {
        let answer = line.answer(&join)?;
        ensure!(answer["ok"] == true, "{answer}");
    }
    let twice = one.answer(&join)?;
    ensure!(twice["error"] == "refused", "{twice}");
    let seen = watcher.until(|line| line["text"].as_str().is_some_and(|text| text.contains("client chat [pid")))?;
    ensure!(seen["event"] == "report" && seen["level"] == "info", "{seen}");

    let is_hello = |line: &Value| line["message"]["t"] == "hello";
    let said = json!({"v": 1, "do": "send", "type": "hello", "to": "h2", "fields": {"word": "one\ntwo"}});
    ensure!(one.answer(&said)?["ok"] == true);
    let heard = other.until(is_hello)?;
    ensure!(heard["message"]["src"] == "h1" && heard["message"]["word"] == "one\ntwo", "{heard}");
    ensure!(other.answer(&json!({"v": 1, "do": "send", "type": "hello"}))?["ok"] == true);
    let heard = one.until(|line| is_hello(line) && line["message"]["src"] == "h2")?;
    ensure!(heard["message"]["from_id"] == "chat", "{heard}");

    drop(other);
    let left = one.until(|line| line["message"]["t"] == "hbapi-clstat" && line["message"]["st"] == "leave")?;
    ensure!(left["message"]["src"] == "h2", "{left}");
    testbed.power_off(1)?;
    one.until(|line| line["message"]["t"] == "status" && line["message"]["st"] == "dead")?;
    watcher.until(|line| line["text"].as_str().is_some_and(|text| text.contains("node h2: is dead")))?;
    ensure!(testbed.stop(0)? == Some(0));
    let end = one.until(|_| false);
    ensure!(end.is_err(), "the connection ends with the daemon");
    Ok(Completion::Completed)
}
