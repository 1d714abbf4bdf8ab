//! `drbddisk` of drbd-utils, with a stand-in for `drbdadm`: who writes to a replicated disk, and in which order that changes.

use anyhow::{Result, ensure};
use hb_shell::testbed::Testbed;
use libtest_mimic::Completion;

use crate::Test;
use crate::agents::{self, Needed, PATIENCE};
use crate::scene::Outcome;

pub(crate) const TESTS: &[Test] = &[
    ("drbddisk::a_node_is_secondary_before_the_other_is_primary", order),
    ("drbddisk::who_cannot_become_primary_leaves_it_to_the_other", refused),
];

const NEEDED: &[Needed] = &[("/etc/ha.d/resource.d/drbddisk", "drbd-utils"), ("/usr/sbin/drbdadm", "drbd-utils")];

/// A disk with one primary: `role` beside both nodes names it, and nobody else becomes one. `hooks` come first.
fn drbdadm(testbed: &Testbed, hooks: &str) -> Result<()> {
    let body = format!(
        "primary=$(cat ../primary 2>/dev/null)\n\
         {hooks}\n\
         case $1 in\n\
         role) [ \"$primary\" = $HA_CURHOST ] && echo Primary/Secondary || echo Secondary/Secondary;;\n\
         primary) case $primary in ''|$HA_CURHOST) echo $HA_CURHOST > ../primary;; *) echo twice >> ../twice; exit 11;; esac;;\n\
         secondary) [ \"$primary\" = $HA_CURHOST ] && rm ../primary; exit 0;;\n\
         esac"
    );
    agents::stand_in(testbed, "drbdadm", &body)
}

/// Started with the disk below the file system's place; the stand-in lies over the real program.
fn started(hooks: &str) -> Result<Testbed> {
    let mut testbed = agents::pair("")?;
    drbdadm(&testbed, hooks)?;
    agents::prepare(&mut testbed, "h1 drbddisk::r0 10.77.0.100/24/eth0\n", &["/usr/sbin/drbdadm"])?;
    testbed.start(0)?;
    testbed.start(1)?;
    Ok(testbed)
}

/// What changed a role.
fn changes(testbed: &Testbed, which: usize) -> Vec<String> {
    agents::calls(testbed, which).into_iter().filter(|call| !call.contains(" role ")).collect()
}

fn never_twice(testbed: &Testbed) -> Result<()> {
    let shared = testbed.directory(0).with_file_name("twice");
    ensure!(!shared.exists(), "a node wanted to be primary beside the other");
    Ok(())
}

fn order() -> Outcome {
    if let Some(reason) = agents::hindrance(NEEDED) {
        return Ok(Completion::ignored_with(reason));
    }
    let mut testbed = started("")?;
    testbed.wait_until("h1 has the disk", PATIENCE, |testbed| agents::runs(testbed, 0))?;
    ensure!(changes(&testbed, 0) == ["drbdadm primary r0"], "{:?}", agents::calls(&testbed, 0));
    agents::stand_by(&testbed, 0)?;
    ensure!(changes(&testbed, 0) == ["drbdadm primary r0", "drbdadm secondary r0"], "{:?}", changes(&testbed, 0));
    ensure!(changes(&testbed, 1) == ["drbdadm primary r0"], "{:?}", changes(&testbed, 1));
    testbed.kill(1)?;
    testbed.wait_until("h1 has it again", PATIENCE, |testbed| agents::here(testbed, 0) == "running")?;
    ensure!(changes(&testbed, 1) == ["drbdadm primary r0", "drbdadm secondary r0"], "{:?}", changes(&testbed, 1));
    never_twice(&testbed)?;
    Ok(Completion::Completed)
}

fn refused() -> Outcome {
    if let Some(reason) = agents::hindrance(NEEDED) {
        return Ok(Completion::ignored_with(reason));
    }
    // The first attempt on either node fails, as while the connection is being made: the script tries again. On h1 all do.
    let hooks = "if [ $1 = primary ]; then\n\
                 [ $HA_CURHOST = h1 ] && exit 17\n\
                 [ -e tried ] || { touch tried; exit 17; }\n\
                 fi";
    let testbed = started(hooks)?;
    testbed.wait_until("h1 gives up and h2 has it", PATIENCE, |testbed| {
        agents::here(testbed, 0) == "failed" && agents::here(testbed, 1) == "running"
    })?;
    let tries = vec!["drbdadm primary r0"; 6];
    let of_h1 = changes(&testbed, 0);
    // What was tried is undone.
    ensure!(of_h1[..6] == tries && of_h1[6..] == ["drbdadm secondary r0"], "{of_h1:?}");
    ensure!(changes(&testbed, 1) == tries[..2], "{:?}", changes(&testbed, 1));
    let (giving_up, code) =
        ("Giving up resources due to failure of drbddisk::r0", "Return code 1 from drbddisk::r0 start");
    agents::logged_in_order(&testbed, 0, &["/resource.d/drbddisk r0 start", code])?;
    agents::logged_in_order(&testbed, 0, &[giving_up, "/resource.d/drbddisk r0 stop"])?;
    testbed.wait_until("only h2 has the address", PATIENCE, |testbed| testbed.is_owned_by(&[1]))?;
    never_twice(&testbed)?;
    Ok(Completion::Completed)
}
