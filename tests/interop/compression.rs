//! Compressed messages, of both algorithms, in both directions.
//!
//! A long list of nodes makes the answer to `reqnodes` long, and each of two joining nodes asks the other; a longer message
//! yet goes through the real one's FIFO.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use hb_core::wire::message::{Body, Message};

use crate::Test;
use crate::scene::{Ours, Outcome, Plan, Real, Scene};

/// Nodes that never come. Their names fill more than the threshold of 1 KB, and are as long as names may be.
const GHOSTS: usize = 13;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("compression::ours_zlib_the_real_one_bz2", || compressed("zlib", "bz2", "classic")),
        Test::new("compression::ours_bz2_the_real_one_zlib_in_netstrings", || compressed("bz2", "zlib", "netstring")),
    ]
}

fn compressed(ours: &'static str, real: &'static str, msgfmt: &str) -> Outcome {
    let mut plan = Plan::new(&[Ours, Real]);
    let mut names = "node h1 h2".to_owned();
    for ghost in 0..GHOSTS {
        write!(names, " {:x<95}{ghost:02}", "ghost")?;
    }
    for (node, algorithm) in plan.nodes.iter_mut().zip([ours, real]) {
        node.haresources = String::new();
        node.ha_cf = node.ha_cf.replace("node h1 h2", &names)
            + &format!(
                "msgfmt {msgfmt}\ncompression {algorithm}\ncompression_threshold 1\ntraditional_compression on\n"
            );
    }
    let scene = Scene::started(plan)?;
    let says = format!("active active{}", " dead".repeat(GHOSTS));
    scene.wait("both got the list from the other", |scene| (0..2).all(|which| scene.says(which).starts_with(&says)))?;

    // Many fields, since the FIFO takes no long lines.
    let (names, text) = (["a", "b", "c", "d", "e", "f", "g", "h"], "interesting ".repeat(20));
    let fields: Vec<(&str, &str)> = names.into_iter().map(|name| (name, text.as_str())).collect();
    scene.real(1).tell(&[&[("t", "interop")], fields.as_slice()].concat())?;
    let keyring = scene.keyring(0);
    // What a packet says, if it is compressed by this algorithm.
    let said = |payload: &[u8], algorithm: &str| -> Option<String> {
        let marker = format!("(0)_compression_algorithm={algorithm},");
        payload.windows(marker.len()).find(|part| *part == marker.as_bytes())?;
        let message = Message::parse(keyring.verify(payload).ok()?).ok()?;
        Some(match &message.body {
            Body::RepNodes(list) => format!("{} nodes for {}", list.nodes.len(), message.header.dest.as_deref()?),
            other => other.kind().to_string(),
        })
    };
    for (from, algorithm, expected) in [
        (0, ours, format!("{} nodes for h2", GHOSTS + 2)),
        (1, real, format!("{} nodes for h1", GHOSTS + 2)),
        (1, real, "interop".to_owned()),
    ] {
        scene.wait(&format!("`{expected}` in {algorithm}"), |scene| {
            let packets = scene.wires[0].packets(0);
            packets
                .iter()
                .any(|packet| packet.from == from && said(&packet.payload, algorithm).as_ref() == Some(&expected))
        })?;
    }
    let missing = || scene.status(0).context("no status").map(|status| status["nodes"][1]["missing"].clone());
    ensure!(missing()? == 0, "{scene:?}");
    scene.without_complaint(&[])
}
