//! What ours sends beside what a real node sends in the same place, before the same real peer: the same types, fields and
//! order, but for the table in docs/compatibility.md.
//!
//! A scenario is played twice, with a real h1 and with ours; h2 is a real one both times. What h1 sends is reduced to lines
//! without what differs in every run: numbers, times, loads, and how often something is repeated. A difference that the table
//! does not have is a failure, and so is a row of the table that no longer occurs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hb_core::auth::Keyring;
use hb_core::wire::message::{Body, Message};
use hb_core::wire::{Field, Fields, Value};
use hb_tests::relay::Packet;
use libtest_mimic::Completion;

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene};

/// The document with the table.
const DOCUMENT: &str = include_str!("../../docs/compatibility.md");
/// The table's heading.
const HEADING: &str = "## Differences on the wire";
/// In the column of situations: all of them.
const EVERYWHERE: &str = "all";

/// The subject, and its peer.
const SUBJECT: usize = 0;
const PEER: usize = 1;

/// Plays what is compared, and says from which packet on.
type Scenario = fn(&mut Scene) -> Result<usize>;

pub(crate) fn tests() -> Vec<Test> {
    let scenarios: [(&str, Scenario); 5] = [
        ("start", start),
        ("standby", standby),
        ("standby of the other", standby_of_the_other),
        ("stop", stop),
        ("lost packet", lost_packet),
    ];
    let mut tests: Vec<Test> = scenarios
        .into_iter()
        .map(|(name, play)| Test::new(format!("alike::{}", name.replace(' ', "_")), move || compare(name, play)))
        .collect();
    let names = scenarios.map(|(name, _)| name);
    tests.push(Test::new("alike::the_table_names_no_other_situation", move || {
        for row in table()? {
            ensure!(
                row.situation == EVERYWHERE || names.contains(&row.situation.as_str()),
                "no situation is called `{}`",
                row.situation
            );
        }
        Ok(Completion::Completed)
    }));
    tests
}

// ---- the scenarios ----

fn start(scene: &mut Scene) -> Result<usize> {
    // The peer is there first, so that no accident decides who asks whom.
    scene.start(PEER)?;
    scene.logged(PEER, &["Local status now set to: 'up'"])?;
    scene.start(SUBJECT)?;
    settle(scene)?;
    Ok(0)
}

/// Until everything is at home and the subject has said all it says about its start, which ends with its own dead time.
fn settle(scene: &Scene) -> Result<()> {
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    let keyring = scene.keyring(SUBJECT);
    scene.wait("the grace of the start is over", |scene| {
        said(&scene.wires[0].packets(0), 0, &keyring)
            .is_ok_and(|said| said.states.iter().any(|line| line.ends_with("dt=bb8")))
    })?;
    quiet(scene)
}

/// Until both have sent nothing but heartbeats and acknowledgements for two seconds.
fn quiet(scene: &Scene) -> Result<()> {
    let keyring = scene.keyring(SUBJECT);
    scene.wait("nothing but heartbeats", |scene| {
        let packets = scene.wires[0].packets(0);
        let Some(last) = packets.last() else { return false };
        let recent = packets.iter().filter(|packet| last.at - packet.at < Duration::from_secs(2));
        let idle = |packet: &Packet| {
            let message = keyring.verify(&packet.payload).ok().and_then(|authentic| Message::parse(authentic).ok());
            message.is_some_and(|message| matches!(message.body, Body::Status(_) | Body::Ack(_)))
        };
        recent.clone().count() > 8 && recent.clone().all(idle)
    })
}

fn settled(scene: &mut Scene) -> Result<usize> {
    scene.start(PEER)?;
    scene.start(SUBJECT)?;
    settle(scene)?;
    Ok(scene.wires[0].count())
}

fn standby(scene: &mut Scene) -> Result<usize> {
    let from = settled(scene)?;
    scene.standby(SUBJECT, "all")?;
    scene.settles("everything is with the peer", &["active active none", "active active all"], "A@h2 B@h2")?;
    quiet(scene)?;
    Ok(from)
}

fn standby_of_the_other(scene: &mut Scene) -> Result<usize> {
    let from = settled(scene)?;
    scene.standby(PEER, "all")?;
    scene.settles("everything is with the subject", &["active active all", "active active none"], "A@h1 B@h1")?;
    quiet(scene)?;
    Ok(from)
}

fn stop(scene: &mut Scene) -> Result<usize> {
    let from = settled(scene)?;
    scene.stop(SUBJECT)?;
    scene.settles("everything is with the peer", &["-", "dead active all"], "A@h2 B@h2")?;
    Ok(from)
}

/// One message of each is lost on its way to the other.
fn lost_packet(scene: &mut Scene) -> Result<usize> {
    let from = settled(scene)?;
    let mut left = [true; 2];
    scene.wires[0].lose(move |crossing| {
        let is_status = crossing.payload.windows(11).any(|part| part == b"(0)t=status");
        is_status && std::mem::take(&mut left[crossing.from])
    });
    scene.wait("both are sent again", |scene| {
        let mut copies: BTreeMap<&[u8], (usize, usize)> = BTreeMap::new();
        let packets = scene.wires[0].packets(from);
        for packet in &packets {
            let (sent, reached) = copies.entry(&packet.payload).or_default();
            *sent += 1;
            *reached += packet.reached.len();
        }
        // Byte for byte (WIRE 1, 6), by its first sender.
        copies.values().filter(|(sent, reached)| *sent == 2 && *reached == 1).count() == 2
    })?;
    quiet(scene)?;
    Ok(from)
}

// ---- lines ----

/// What the subject said.
#[derive(Debug, Default)]
struct Said {
    /// Everything but `NS_` types and heartbeats that say what the one before said: each line once, where it was said first.
    /// Repeats follow timers and the load of the machine.
    order: Vec<String>,
    /// Its statuses with the dead time they announce: when that changes depends on the time, not on what is said.
    states: Vec<String>,
    /// `NS_` types: when they are sent, and how often, depends on chance.
    unsequenced: BTreeSet<String>,
    /// The fields of each of these lines, with their types, in their order.
    layouts: BTreeMap<String, BTreeSet<String>>,
}

/// Reads all packets, and keeps what was said from packet `from` on; acknowledgements are kept from the whole run, since they
/// come once in ten messages.
fn said(packets: &[Packet], from: usize, keyring: &Keyring) -> Result<Said> {
    let mut said = Said::default();
    let (mut word, mut state) = (String::new(), String::new());
    for (number, packet) in packets.iter().enumerate().filter(|(_, packet)| packet.from == SUBJECT) {
        let authentic = keyring.verify(&packet.payload).context("a packet of the subject")?;
        let fields = authentic.fields();
        let kind = fields.text("t").map(|kind| String::from_utf8_lossy(kind).into_owned()).unwrap_or_default();
        let line = line(&kind, fields);
        let counts = number >= from;
        let kept = match kind.as_str() {
            "NS_ackmsg" => said.unsequenced.insert(line.clone()),
            // Where nothing is lost on purpose, a hiccup of the machine may still look like it.
            "NS_rexmit" | "NS_nak_rexmit" => counts && from > 0 && said.unsequenced.insert(line.clone()),
            "status" => {
                let now = fields.text("st").map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
                if counts && word != now {
                    said.order.push(format!("status st={now}"));
                }
                if counts && state != line {
                    said.states.push(line.clone());
                }
                word = now;
                state.clone_from(&line);
                counts
            }
            _ => {
                let is_new = counts && !said.order.contains(&line);
                if is_new {
                    said.order.push(line.clone());
                }
                counts
            }
        };
        if kept {
            let name =
                |field: &Field<'_>| format!("({}){}", field.value.type_number(), String::from_utf8_lossy(&field.name));
            let layout: Vec<String> = fields.iter().map(name).collect();
            // What a status says changes nothing about its fields.
            let line = if kind == "status" { kind } else { line };
            said.layouts.entry(line).or_default().insert(layout.join(" "));
        }
    }
    Ok(said)
}

/// A message's type, and its values but for those that differ in every run.
fn line(kind: &str, fields: &Fields<'_>) -> String {
    const FLEETING: [&str; 16] = [
        "t", "src", "seq", "hg", "ts", "ld", "ttl", "auth", "protocol", "native", "hears", "claims", "order", "ackseq",
        "firstseq", "lastseq",
    ];
    let mut line = kind.to_owned();
    for field in fields {
        let name = String::from_utf8_lossy(&field.name);
        if let Value::Text(text) = &field.value
            && !FLEETING.contains(&&*name)
        {
            let text = String::from_utf8_lossy(text);
            line.extend([" ", &*name, "=", text.trim_end()]);
        }
    }
    line
}

// ---- the comparison ----

/// A line that only one of the two has: the situation, whose it is (`3.0.6` or `ours`), and the line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    situation: String,
    whose: String,
    line: String,
}

fn compare(situation: &'static str, play: Scenario) -> Outcome {
    let lines = |subject: Kind| -> Result<Said> {
        let mut scene = Scene::new(Plan::new(&[subject, Real]))?;
        let from = play(&mut scene)?;
        said(&scene.wires[0].packets(0), from, &scene.keyring(SUBJECT))
    };
    // Side by side: a real one takes its time to start.
    let (real, ours) = std::thread::scope(|scope| {
        let real = scope.spawn(|| lines(Real));
        (real.join(), lines(Ours))
    });
    let real = real.map_err(|_| anyhow::anyhow!("the run of the real one panicked"))??;
    let ours = ours?;
    let found = differences(situation, &real, &ours);
    let stated: BTreeSet<Difference> = table()?
        .into_iter()
        .filter(|row| [situation, EVERYWHERE].contains(&&*row.situation))
        .map(|row| Difference { situation: situation.to_owned(), ..row })
        .collect();
    let list = |rows: BTreeSet<&Difference>| -> String {
        let row = |row: &&Difference| format!("| {} | {} | `{}` |\n", row.situation, row.whose, row.line);
        rows.iter().map(row).collect::<Vec<_>>().concat()
    };
    let unstated = list(found.difference(&stated).collect());
    let gone = list(stated.difference(&found).collect());
    ensure!(
        unstated.is_empty() && gone.is_empty(),
        "differences that are not in the table:\n{unstated}rows of the table that do not occur:\n{gone}{real:#?}\n{ours:#?}"
    );
    Ok(Completion::Completed)
}

fn differences(situation: &str, real: &Said, ours: &Said) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    let mut differ = |whose: &str, line: String| {
        found.insert(Difference { situation: situation.to_owned(), whose: whose.to_owned(), line });
    };
    let unsequenced = |said: &Said| said.unsequenced.iter().cloned().collect::<Vec<_>>();
    for (real, ours) in
        [(&real.order, &ours.order), (&real.states, &ours.states), (&unsequenced(real), &unsequenced(ours))]
    {
        let common = longest_common(real, ours);
        real.iter().filter(|line| !common.contains(line)).for_each(|line| differ("3.0.6", line.clone()));
        ours.iter().filter(|line| !common.contains(line)).for_each(|line| differ("ours", line.clone()));
    }
    for (line, layouts) in &real.layouts {
        let Some(others) = ours.layouts.get(line) else { continue };
        layouts.difference(others).for_each(|layout| differ("3.0.6", format!("{line}: {layout}")));
        others.difference(layouts).for_each(|layout| differ("ours", format!("{line}: {layout}")));
    }
    found
}

/// The longest list of lines that both have in this order; no line occurs twice in either.
fn longest_common<'a>(one: &'a [String], other: &[String]) -> Vec<&'a String> {
    // best[i][j]: the length for what is left from i and j on.
    let mut best = vec![vec![0_usize; other.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            best[i][j] = if one[i] == other[j] { 1 + best[i + 1][j + 1] } else { best[i + 1][j].max(best[i][j + 1]) };
        }
    }
    let (mut common, mut i, mut j) = (Vec::new(), 0, 0);
    while i < one.len() && j < other.len() {
        if one[i] == other[j] {
            common.push(&one[i]);
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    common
}

/// The rows of the document: situation, whose, the line in backquotes, a reason.
fn table() -> Result<Vec<Difference>> {
    let section = DOCUMENT.split_once(HEADING).with_context(|| format!("no `{HEADING}`"))?.1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = Vec::new();
    // The first two rows of a table are its head.
    for row in section.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[situation, whose, line, reason] = cells.as_slice() else { bail!("four columns, not `{row}`") };
        ensure!(["3.0.6", "ours"].contains(&whose) && !reason.is_empty(), "`{row}`");
        rows.push(Difference {
            situation: situation.to_owned(),
            whose: whose.to_owned(),
            line: line.trim_matches('`').to_owned(),
        });
    }
    Ok(rows)
}
