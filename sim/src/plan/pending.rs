//! Scenarios that the daemon does not meet yet, and what each waits for.
//!
//! They are written with what is wanted, and run with all others. One that starts to pass fails the tests until it is
//! taken off this list, so that the list never grows old.

const GUARD: &str = "needs the resource manager: a guard process that outlives the daemon";
const BAD_AUTH: &str =
    "needs the resource manager: a peer heard only with bad signatures lives, nothing is taken from it";
const CONFLICT: &str = "needs the resource manager: after a partition the winner keeps what it had (native ownership)";
const ONE_WAY: &str = "needs the resource manager: no takeover while the peer says that it hears us (native ownership)";
const FENCING: &str = "needs the resource manager: stonith and stonith_host are refused";
const START_FAILURE: &str = "needs the resource manager: a start that fails is tried at the next candidate";
const DIFFERENCE: &str = "needs the resource manager: peers must tell what their haresources list";
const IPFAIL: &str = "needs the resource manager: connectivity to ping nodes decides nothing yet (ipfail built in)";
const MANY: &str = "needs the resource manager: groups on more than two nodes are refused";

/// Name and reason.
pub const PENDING: &[(&str, &str)] = &[
    ("S7", BAD_AUTH),
    ("F14", GUARD),
    ("P4", CONFLICT),
    ("P6", ONE_WAY),
    ("P10", FENCING),
    ("P11", FENCING),
    ("P12", FENCING),
    ("P13", FENCING),
    ("P14", FENCING),
    ("P15", FENCING),
    ("T15", START_FAILURE),
    ("T16", START_FAILURE),
    ("T20", DIFFERENCE),
    ("I1", IPFAIL),
    ("I2", IPFAIL),
    ("I2-on", IPFAIL),
    ("I4", IPFAIL),
    ("I5", IPFAIL),
    ("I6", IPFAIL),
    ("I7", IPFAIL),
    ("I8", IPFAIL),
    ("N1", MANY),
    ("N2", MANY),
    ("N3", MANY),
    ("N3-legacy", MANY),
    ("N3-off", MANY),
    ("N4", MANY),
    ("N4-off", MANY),
    ("N5", MANY),
    ("N6", MANY),
    ("N7", MANY),
    ("N7-legacy", MANY),
    ("N8", MANY),
    ("N9", MANY),
    ("N10", MANY),
    ("N11", MANY),
    ("N12", MANY),
    ("N13", MANY),
];

/// What the scenario of that name waits for, if it is not met yet.
pub fn reason(name: &str) -> Option<&'static str> {
    PENDING.iter().find(|(pending, _)| *pending == name).map(|(_, reason)| *reason)
}
