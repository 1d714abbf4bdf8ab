//! The scenarios that come with the simulator.

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every scenario.
        pub const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".hbs")))),*];
    };
}

// The rows of the scenario catalogue, then what was found later.
scenarios! {
    "S1", "S1-off", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11", "S12", "S13", "S14",
    "F1", "F2", "F3", "F4", "F5", "F6", "F6-off", "F7", "F8", "F9", "F9-on", "F10", "F11", "F12", "F13", "F14",
    "F15", "F16", "F17", "F18", "F19", "F20", "F21", "F21-monitor",
    "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12", "P13", "P14", "P15", "P16",
    "P16-legacy", "P16-off", "P17",
    "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T7-apart", "T8", "T9", "T10", "T11", "T12", "T12-just", "T13", "T14", "T15",
    "T16", "T17", "T18", "T19", "T20", "T21",
    "I1", "I2", "I2-on", "I3", "I4", "I5", "I6", "I7", "I8", "I9",
    "N1", "N2", "N3", "N3-legacy", "N3-off", "N4", "N4-off", "N5", "N6", "N7", "N7-legacy", "N8", "N9", "N10",
    "N11", "N12", "N13",
    "both-overslept", "by-hand", "cut-short", "deaf-newcomer", "guard-stuck", "guard-unsure", "guard-waits", "heard-again", "heard-by-another",
    "hopeless-takeover", "ipfail-classic", "ipfail-three", "late-request", "later", "lost-release", "monitor-gives-up", "network-back",
    "new-key", "overslept-at-start", "ping-target", "reference-address", "restart-unheard", "serial-noise",
    "silence-is-no-proof", "slow-line", "start-fails-quietly", "status-unknown", "stuck-twice", "three-shooters",
    // Rows of ownership-timelines: `sim/faults/amendments` shows that each fails without its amendment.
    "timeline-01-silence", "timeline-02-deaf-minority", "timeline-03-woken", "timeline-04-unsure",
    "timeline-05-receipt", "timeline-06-act", "timeline-07-goodbye", "timeline-08-late-confirmation",
    "timeline-09-watchdog", "timeline-10-left", "timeline-11-start-under-way", "timeline-12-failed-too-soon",
    "timeline-13-raised-deadtime", "timeline-14-unheard", "timeline-17-both-compare", "timeline-18-ring",
    "timeline-19-stale-verdict", "timeline-20-contact", "timeline-21-counter", "timeline-22-preferred",
    "timeline-23-each-other", "timeline-24-for-ever", "timeline-25-able-again", "timeline-26-two",
    "timeline-27-too-short",
}

/// What a scenario is about, whether it can be run or not.
pub fn title(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("title ")).unwrap_or_default().trim()
}

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// What `base NAME` stands for.
pub(super) struct Base {
    pub(super) name: &'static str,
    /// ha.cf, haresources, authkeys of all nodes.
    pub(super) files: [&'static str; 3],
    /// haresources of nodes that have their own.
    pub(super) own: &'static [(&'static str, &'static str)],
    /// Labels and keys.
    pub(super) groups: &'static [(&'static str, &'static str)],
}

const KEYS: &str = "auth 1\n1 sha1 the-key-of-the-laboratory\n";
const PAIR: &str =
    "node h1 h2\nbcast eth1\nkeepalive 250ms\nwarntime 1500ms\ndeadtime 3\ninitdead 8\nlogfacility none\n";
const THREE: &str =
    "node h1 h2 h3\nbcast eth1\nkeepalive 250ms\nwarntime 1500ms\ndeadtime 3\ninitdead 8\nlogfacility none\n";
const R1: &str = "h1 10.77.0.100/24/eth0 Tst::R1\n";
const R2: &str = "h3 10.77.0.103/24/eth0 Tst::R2\n";

/// The configurations of the scenario catalogue.
pub(super) const BASES: &[Base] = &[
    Base {
        name: "C2",
        files: [PAIR, "h1 10.77.0.100/24/eth0 Tst::A\nh2 10.77.0.101/24/eth0 Tst::B\n", KEYS],
        own: &[],
        groups: &[("A", "10.77.0.100/24/eth0"), ("B", "10.77.0.101/24/eth0")],
    },
    // The documented layout of three nodes: each file has what its node may run.
    Base {
        name: "C3",
        files: [THREE, "h1 10.77.0.100/24/eth0 Tst::R1\nh3 10.77.0.103/24/eth0 Tst::R2\n", KEYS],
        own: &[("h1", R1), ("h3", R2)],
        groups: &[("R1", "10.77.0.100/24/eth0"), ("R2", "10.77.0.103/24/eth0")],
    },
    // The same file on all three.
    Base {
        name: "C3s",
        files: [
            THREE,
            "h1 10.77.0.100/24/eth0 Tst::A\nh2 10.77.0.101/24/eth0 Tst::B\nh3 10.77.0.102/24/eth0 Tst::C\n",
            KEYS,
        ],
        own: &[],
        groups: &[("A", "10.77.0.100/24/eth0"), ("B", "10.77.0.101/24/eth0"), ("C", "10.77.0.102/24/eth0")],
    },
];
