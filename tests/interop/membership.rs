//! Who joins and leaves a running cluster of both programs, all without resource management (`-M`), where the original
//! lets nodes come and go (CLUSTER b.9).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Completion;

use crate::Test;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("membership::strangers_find_each_other", || strangers([Ours, Real, Real])),
        Test::new("membership::two_of_ours_and_a_real_one_find_each_other", || strangers([Real, Ours, Ours])),
        Test::new("membership::nodes_are_added_weighed_and_removed_by_both", added_and_removed),
    ]
}

/// Of these only the first is named, and only to itself.
fn plan(kinds: &[Kind]) -> Plan {
    let names = (1..=kinds.len()).map(|number| format!("h{number}")).collect::<Vec<_>>().join(" ");
    let mut plan = Plan::new(kinds).unmanaged().with(&format!("node {names}\n"), "autojoin any\n");
    plan.nodes[0].ha_cf.push_str("node h1\n");
    plan
}

fn strangers(kinds: [Kind; 3]) -> Outcome {
    let mut scene = Scene::started(plan(&kinds))?;
    all_see(&scene, "h1=active h2=active h3=active")?;
    // What they remember of each other is the same, whoever wrote it.
    scene.wait("the same hostcache everywhere", |scene| {
        let files = [0, 1, 2].map(|which| remembered(scene, which).unwrap_or_default());
        files[0].len() == 3 && files.iter().all(|file| *file == files[0])
    })?;
    // It is all that a node without `node` lines needs after a power failure, and nobody waits for its name.
    scene.power_off(2)?;
    for which in 0..2 {
        scene.wait("h3 is dead", |scene| scene.members(which) == "h1=active h2=active h3=dead")?;
    }
    scene.power_on(2)?;
    scene.start(2)?;
    all_see(&scene, "h1=active h2=active h3=active")?;
    for which in 0..3 {
        let log = scene.log(which);
        ensure!(!log.contains("resource") && !log.contains("Resource"), "h{} speaks of resources:\n{log}", which + 1);
    }
    // Each drops the first packet of whom it did not know.
    Ok(Completion::Completed)
}

fn added_and_removed() -> Outcome {
    let scene = Scene::started(plan(&[Ours, Real]))?;
    all_see(&scene, "h1=active h2=active")?;
    for (speaker, new) in [(0, "h8"), (1, "h9")] {
        scene.tool(speaker, "hb_addnode", &[new])?;
        all_see(&scene, &format!("h1=active h2=active {new}=dead"))?;
        scene.logged(0, &[&format!("Adding new node[{new}] to configuration.")])?;
        scene.tool(speaker, "hb_setweight", &[new, "7"])?;
        scene.tool(speaker, "hb_setsite", &[new, "paris"])?;
        scene.wait("weight and site are known to both", |scene| {
            let real = scene.machine(1).and_then(|machine| {
                let ask = |what| hb_tests::real::RealNode::tool(machine, "/usr/bin/cl_status", &[what, new]);
                Ok((ask("nodeweight")?, ask("nodesite")?))
            });
            let real = real.unwrap_or_default();
            let status = scene.status(0).unwrap_or_default();
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let ours = nodes.iter().find(|node| node["name"] == new).cloned().unwrap_or_default();
            (real.0.trim(), real.1.trim()) == ("7", "paris") && ours["weight"] == 7 && ours["site"] == "paris"
        })?;
        // Who lives stays, whoever asks.
        scene.tool(speaker, "hb_delnode", &["h2"])?;
        scene.logged(0, &["deletion failed: node h2 is not dead"])?;
        scene.tool(1 - speaker, "hb_delnode", &[new])?;
        all_see(&scene, "h1=active h2=active")?;
        for which in 0..2 {
            scene.wait("the removed is on the list of the removed", |scene| {
                let text = fs::read_to_string(scene.state(which).join("delhostcache")).unwrap_or_default();
                text.lines().any(|line| line.starts_with(&format!("{new}\t")))
            })?;
        }
    }
    Ok(Completion::Completed)
}

fn all_see(scene: &Scene, members: &str) -> Result<()> {
    scene.wait(&format!("all see {members}"), |scene| (0..scene.size()).all(|which| scene.members(which) == members))
}

/// The lines of a node's hostcache, sorted.
fn remembered(scene: &Scene, which: usize) -> Result<Vec<String>> {
    let text = fs::read_to_string(scene.state(which).join("hostcache")).context("no hostcache")?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}
