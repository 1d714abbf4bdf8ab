//! Peers that are not understood or were out of reach: another key, a node that is not in the list, a network that was cut.

use anyhow::ensure;

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Ours, Outcome, Plan, Real, Scene};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("strangers::another_key_is_logged_by_both_and_is_no_peer", another_key),
        Test::new("strangers::a_real_one_that_is_not_in_our_list_disturbs_nothing", not_in_our_list),
        Test::new("strangers::a_real_one_that_does_not_list_ours_takes_no_harm", not_in_its_list),
        Test::new("strangers::a_partition_heals_to_one_owner_each", partition),
    ]
}

fn another_key() -> Outcome {
    let mut plan = Plan::new(&[Ours, Real]);
    plan.nodes[1].authkeys = plan.nodes[0].authkeys.replace("a-key", "another-key");
    let scene = Scene::started(plan)?;
    // Scenario S7: to ours somebody who signs wrongly is somebody who lives, and keeps what is preferred there.
    scene.settles(
        "only the real one takes the other for dead",
        &["active init local", "dead active all"],
        "A@h1+h2 B@h2",
    )?;
    scene.logged(0, &["what comes from node h2 is not signed with a key of ours: it lives"])?;
    scene.logged(0, &["failed authentication: the digest made with key 1 is wrong on eth1 [from 10.78.0.2:"])?;
    scene.logged(1, &["netstring authentication failed"])?;
    let dropped = scene.status(0)?["dropped"].clone();
    ensure!(dropped["auth"].as_u64() > Some(20) && dropped["unknown-node"].is_null(), "{dropped}");
    Ok(libtest_mimic::Completion::Completed)
}

/// A node that lists only itself has its own group only.
fn alone(plan: &mut Plan, which: usize) {
    let node = &mut plan.nodes[which];
    node.ha_cf = node.ha_cf.replace("node h1 h2\n", &format!("node h{}\n", which + 1));
    let own = node.haresources.lines().nth(which).unwrap_or_default();
    node.haresources = format!("{own}\n");
}

fn not_in_our_list() -> Outcome {
    let mut plan = Plan::new(&[Ours, Real]);
    alone(&mut plan, 0);
    let scene = Scene::started(plan)?;
    scene.settles("ours serves alone; the real one asks for ever", &["active local", "-"], "A@h1 B@-")?;
    scene.logged(0, &["process_status_message: bad node [h2] in message on eth1 [from 10.78.0.2:"])?;
    scene.logged(1, &["Link h1:eth1 up.", "Status update for node h1: status active"])?;
    let log = scene.log(0);
    ensure!(log.matches("bad node").count() <= 2, "said once, then counted:\n{log}");
    scene.without_complaint_of(1, &[])
}

fn not_in_its_list() -> Outcome {
    let mut plan = Plan::new(&[Ours, Real]);
    alone(&mut plan, 1);
    let scene = Scene::started(plan)?;
    // The original never gets past this in a cluster of one (CLUSTER b.2); who never says what it holds, gets nothing taken.
    scene.settles("nobody may start", &["active up transition", "up transition"], "A@- B@-")?;
    scene.logged(0, &["no node answered 5 requests for the node list; going on with our own"])?;
    scene.logged(1, &["process_status_message: bad node [h1] in message"])?;
    scene.without_complaint_of(0, &[])
}

fn partition() -> Outcome {
    let scene = Scene::started(Plan::new(&[Ours, Real]))?;
    scene.settles("the pair is settled", HOME.0, HOME.1)?;
    scene.wires[0].lose(|_| true);
    scene.settles("each thinks it is alone", &["active dead all", "dead active all"], "A@h1+h2 B@h1+h2")?;

    scene.wires[0].lose_nothing();
    // The real one gives everything up and starts again, two seconds after it noticed (CLUSTER b.6); ours keeps what is at
    // home with it throughout.
    let mut kept = true;
    scene.wait("the real one starts again", |scene| {
        kept &= scene.placement().starts_with("A@h1");
        scene.log(0).contains("Heartbeat restart on node h2")
    })?;
    scene.wait("both are settled again", |scene| {
        kept &= scene.placement().starts_with("A@h1");
        scene.placement() == HOME.1 && (0..2).all(|which| scene.says(which) == HOME.0[which])
    })?;
    ensure!(kept, "ours let its group go: {scene:?}");
    scene.logged(0, &["Cluster node h2 returning after partition.", "the preferred node keeps them"])?;
    scene.logged(1, &["Cluster node h1 returning after partition."])?;
    scene.without_complaint(&["returning after partition", "Both machines own", "(> deadtime)"])
}
