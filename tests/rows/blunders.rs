//! The player itself: what is wrong must be seen.

use anyhow::{Result, ensure};
use hb_sim::Plan;
use libtest_mimic::Completion;

use crate::play;

/// Two nodes that never hear each other both run A from the end of the initial dead time on, and each line that expects
/// something expects something else.
const SCENARIO: &str = "\
title nothing of this is true
ha.cf:
  node h1 h2
  bcast eth1
  keepalive 100ms
  deadtime 1
  initdead 2
  auto_failback on
  logfacility none
haresources:
  h1 10.77.0.100/24/eth0 Tst::A
authkeys:
  auth 1
  1 sha1 the-key-of-the-laboratory
group A 10.77.0.100/24/eth0
at 0 cut h1
at 0 start h1
at 0 start h2
near 1 A@h1+h2
by 4 A@h1
together 5 A
gap A 1
calls h1 3
log h1 all is well
no-log h1 is dead
holds h1 none
end 6
";

/// Every expectation is missed, and the two owners are counted.
pub(crate) fn are_seen() -> Result<Completion> {
    let plan = Plan::parse("blunders", SCENARIO)
        .map_err(|problems| anyhow::anyhow!("{}", hb_sim::render_all(&problems, SCENARIO)))?;
    let seen = play::play(&plan)?;
    let verdicts = seen.verdicts(&plan);
    ensure!(verdicts.len() == plan.expectations.len() + 1, "two owners have a verdict of their own: {verdicts:?}");
    for verdict in verdicts {
        ensure!(verdict.missed.is_some(), "this was not seen: {}\n{}", verdict.what, seen.tell(&plan));
    }
    Ok(Completion::Completed)
}
