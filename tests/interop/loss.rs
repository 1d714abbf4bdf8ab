//! A fifth of all packets is lost both ways, for half a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::ensure;
use hb_core::wire::message::{Body, Message};
use hb_tests::relay;

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene};

/// How long packets are lost.
const STORM: Duration = Duration::from_secs(30);

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("loss::a_fifth_lost_is_no_death_and_no_message_lost", || storm([Ours, Real], 1)),
        Test::new("loss::a_fifth_lost_with_the_real_one_first_in_the_list", || storm([Real, Ours], 2)),
    ]
}

fn storm(kinds: [Kind; 2], seed: u64) -> Outcome {
    let scene = Scene::started(Plan::new(&kinds).with("auto_failback on", "auto_failback off"))?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    let wire = &scene.wires[0];
    let real = kinds.iter().position(|kind| *kind == Real).unwrap_or_default();

    let from = wire.count();
    wire.lose(relay::loss(20, seed));
    let end = Instant::now() + STORM;
    let (mut told, mut moved) = (0_u32, false);
    while Instant::now() < end {
        // Messages that, other than heartbeats, nobody repeats by himself.
        scene.real(real).tell(&[("t", "interop"), ("info", &format!("number {told}"))])?;
        told += 1;
        std::thread::sleep(Duration::from_millis(200));
        let half = Instant::now() + STORM / 2 > end;
        if half && !moved {
            scene.standby(0, "local")?;
            scene.settles(
                "a planned move works all the same",
                &["active active none", "active active all"],
                "A@h2 B@h2",
            )?;
            moved = true;
        }
        let (says, placement) = if moved {
            (["active active none", "active active all"], "A@h2 B@h2")
        } else {
            (["active active local"; 2], HOME.1)
        };
        for (which, expected) in says.iter().enumerate() {
            let said = scene.says(which);
            ensure!(said == *expected && scene.placement() == placement, "h{} says {said}: {scene:?}", which + 1);
        }
    }
    wire.lose_nothing();

    // Every message of the storm came through in the end, by what the relay passed on and not by what a node believes.
    let keyring = scene.keyring(0);
    let undelivered = |scene: &Scene| -> BTreeMap<(usize, u64), bool> {
        let mut delivered: BTreeMap<(usize, u64), bool> = BTreeMap::new();
        for packet in scene.wires[0].packets(from) {
            let Ok(authentic) = keyring.verify(&packet.payload) else { continue };
            let Ok(message) = Message::parse(authentic) else { continue };
            if let Some(seq) = message.header.seq {
                *delivered.entry((packet.from, seq.0)).or_default() |= !packet.reached.is_empty();
            }
        }
        delivered.retain(|_, delivered| !*delivered);
        delivered
    };
    scene.wait("all messages delivered", |scene| undelivered(scene).is_empty())?;
    let ours = 1 - real;
    scene.wait("nothing is missing", |scene| {
        scene.status(ours).is_ok_and(|status| status["nodes"][real]["missing"] == 0)
    })?;
    let packets = wire.packets(from);
    let lost = packets.iter().filter(|packet| packet.reached.is_empty()).count();
    ensure!(lost * 100 > packets.len() * 10, "only {lost} of {} packets were lost", packets.len());
    let mut texts = BTreeSet::new();
    let mut requests = [0; 2];
    for packet in &packets {
        let message = keyring.verify(&packet.payload).ok().and_then(|authentic| Message::parse(authentic).ok());
        match message.map(|message| message.body) {
            Some(Body::Client { fields, .. }) => {
                texts.extend(fields.text("info").map(|text| String::from_utf8_lossy(text).into_owned()));
            }
            Some(Body::Rexmit(_)) => requests[packet.from] += 1,
            Some(Body::Nak(nak)) => anyhow::bail!("a message could not be repeated: {nak:?}"),
            _ => {}
        }
    }
    ensure!(texts.len() == told as usize, "{} messages of {told} were sent: {texts:?}", texts.len());
    ensure!(requests.iter().all(|count| *count > 10), "both ask for what they miss: {requests:?}");
    for which in 0..2 {
        let log = scene.log(which);
        ensure!(!log.contains(": is dead") && log.contains("No pkts missing from "), "{scene:?}");
    }
    scene.without_complaint(&[])
}
