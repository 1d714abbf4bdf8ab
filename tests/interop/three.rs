//! Three nodes of both programs. Groups of ours need a pair, so these are members without groups.

use anyhow::ensure;

use crate::Test;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("three::one_of_ours_and_two_real_ones", || members([Ours, Real, Real])),
        Test::new("three::two_of_ours_and_a_real_one", || members([Ours, Ours, Real])),
    ]
}

const NOTHING: &str = "A@- B@-";

fn members(kinds: [Kind; 3]) -> Outcome {
    let mut scene = Scene::started(Plan::new(&kinds))?;
    scene.settles("three members", &["active active active local"; 3], NOTHING)?;
    for lost in [2, 0] {
        let mut says = ["active"; 3];
        says[lost] = "dead";
        let survivor = says.join(" ");
        scene.power_off(lost)?;
        for which in (0..3).filter(|which| *which != lost) {
            scene
                .wait(&format!("h{} sees `{survivor}`", which + 1), |scene| scene.says(which).starts_with(&survivor))?;
            scene.logged(which, &[&format!("node h{}: is dead", lost + 1)])?;
        }
        scene.power_on(lost)?;
        scene.start(lost)?;
        for which in 0..3 {
            scene.wait("three members again", |scene| scene.says(which).starts_with("active active active"))?;
        }
    }
    // A graceful stop of the second, whichever program it runs.
    scene.stop(1)?;
    for which in [0, 2] {
        scene.logged(which, &["Received shutdown notice from 'h2'."])?;
        scene.wait("two members are left", |scene| scene.says(which).starts_with("active dead active"))?;
    }
    ensure!(scene.placement() == NOTHING);
    // The original knows one other side only, whoever runs beside it (CLUSTER c.10, c.11): two that start with it, or hold
    // the same, are too many. What one of three holds replaces for it what another said.
    scene.without_complaint(&[
        "Both machines own",
        "No one owns our local resources!",
        "Received 'starting' message in state",
    ])
}
