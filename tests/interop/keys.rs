//! The key is changed on both sides while they serve, in the three steps of docs/control.md.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hb_core::auth::Signature;
use hb_core::wire;
use hb_tests::relay::Packet;

use crate::Test;
use crate::changes::HOME;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene, name};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("keys::a_key_is_changed_while_both_serve_ours_first", || rotate([Ours, Real], Ours)),
        Test::new("keys::a_key_is_changed_while_both_serve_the_real_one_first", || rotate([Real, Ours], Real)),
    ]
}

const OLD: &str = "1 sha1 a-key-for-this-laboratory\n";
const NEW: &str = "2 sha1 the-next-key-of-this-laboratory\n";
/// What 3.0.6 logs when it has read the file again, once in its master process.
const REREAD: &str = "info: Rereading authentication file.";
/// What it logs of a packet whose signature is not that of its own `auth` line.
const REFUSED: &str = "netstring authentication failed";
/// Between the two nodes' steps: several heartbeats, and far less than the dead time.
const BETWEEN: Duration = Duration::from_secs(1);

/// The scene, and who is what in it.
struct Rotation {
    scene: Scene,
    ours: usize,
    real: usize,
    /// How often the real one has read its keys again.
    reread: usize,
}

impl Rotation {
    /// Gives one node other keys while it serves, and waits until it has them.
    fn set(&mut self, which: usize, authkeys: &str) -> Result<()> {
        self.scene.set_keys(which, authkeys)?;
        self.scene.reload(which)?;
        if which == self.real {
            self.reread += 1;
            let reread = self.reread;
            self.scene
                .wait("the real one reads its keys", |scene| scene.log(which).matches(REREAD).count() == reread)?;
        }
        Ok(())
    }

    /// How many packets the real one has refused so far.
    fn refused(&self) -> usize {
        self.scene.log(self.real).matches(REFUSED).count()
    }

    /// How often the real one has got everything that it missed of ours.
    fn completions(&self) -> usize {
        self.scene.log(self.real).matches(&format!("No pkts missing from {}!", name(self.ours))).count()
    }

    /// Nobody died, nothing moved, ours refused nothing.
    fn undisturbed(&self) -> Result<()> {
        let scene = &self.scene;
        for which in 0..2 {
            ensure!(!scene.log(which).contains(": is dead"), "a false death: {scene:?}");
            let says = scene.says(which);
            ensure!(says == HOME.0[which] && scene.placement() == HOME.1, "{} says {says}: {scene:?}", name(which));
        }
        scene.without_complaint_of(self.ours, &[])?;
        Ok(())
    }

    /// The packets of a node from the `from`th of all.
    fn packets(&self, of: usize, from: usize) -> Vec<Packet> {
        self.scene.wires[0].packets(from).into_iter().filter(|packet| packet.from == of).collect()
    }

    /// Waits until both have said something that is signed with this key, as the wire shows.
    fn both_sign_with(&self, key: u8) -> Result<()> {
        let from = self.scene.wires[0].count();
        self.scene.wait(&format!("both sign with key {key}"), |_| {
            (0..2).all(|which| self.packets(which, from).iter().any(|packet| key_of(packet) == Some(key)))
        })
    }
}

/// The key by which a packet says that it is signed.
fn key_of(packet: &Packet) -> Option<u8> {
    let decoded = wire::decode(&packet.payload).ok()?;
    Signature::of(&decoded).ok().map(|signature| signature.key)
}

fn rotate(kinds: [Kind; 2], first: Kind) -> Outcome {
    let at = |kind: Kind| kinds.iter().position(|one| *one == kind).context("one of each");
    let plan = Plan::new(&kinds).with("deadtime 3\n", "deadtime 10\n").with("initdead 8\n", "initdead 20\n");
    let scene = Scene::started(plan.signed(&format!("auth 1\n{OLD}")))?;
    let mut rotation = Rotation { scene, ours: at(Ours)?, real: at(Real)?, reread: 0 };
    let order = [at(first)?, 1 - at(first)?];
    rotation.scene.settles("the pair is settled", HOME.0, HOME.1)?;
    // 3.0.6 reads the file only if its time has changed; a second is a change by any measure.
    let pause = || std::thread::sleep(Duration::from_millis(1100));

    // 1. The new key behind the old one.
    for which in order {
        pause();
        rotation.set(which, &format!("auth 1\n{OLD}{NEW}"))?;
        std::thread::sleep(BETWEEN);
        rotation.undisturbed()?;
    }
    rotation.both_sign_with(1)?;
    ensure!(rotation.refused() == 0, "the real one refuses something: {:?}", rotation.scene);

    // 2. The new key signs. Between the two reloads the real one hears nothing of ours, and ours hears everything.
    pause();
    let completions = rotation.completions();
    rotation.set(order[0], &format!("auth 2\n{OLD}{NEW}"))?;
    std::thread::sleep(BETWEEN);
    rotation.undisturbed()?;
    ensure!(rotation.refused() > 0, "it hears only the key of its own auth line: {:?}", rotation.scene);
    rotation.set(order[1], &format!("auth 2\n{OLD}{NEW}"))?;
    rotation.both_sign_with(2)?;
    // It asks for what it has refused, and gets it signed anew.
    rotation.scene.wait("what was refused has come", |_| rotation.completions() > completions)?;
    rotation.undisturbed()?;
    let forced = rotation.refused();

    // 3. The old key goes.
    for which in order {
        pause();
        rotation.set(which, &format!("auth 2\n{NEW}"))?;
        std::thread::sleep(BETWEEN);
        rotation.undisturbed()?;
    }
    rotation.both_sign_with(2)?;

    // They still understand each other: orders that take a conversation.
    let scene = &rotation.scene;
    scene.standby(0, "local")?;
    scene.settles("h2 serves", &["active active none", "active active all"], "A@h2 B@h2")?;
    scene.takeover(0, "local")?;
    scene.settles("and h1 again", HOME.0, HOME.1)?;
    ensure!(rotation.refused() == forced, "refused outside of the second step: {scene:?}");
    // What it says of each packet that it refuses.
    scene.without_complaint(&["authtoken does not match", REFUSED, "ERROR: MSG"])
}
