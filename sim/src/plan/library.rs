//! The scenarios that come with the simulator.

macro_rules! scenarios {
    ($($name:literal),* $(,)?) => {
        /// Name and text of every scenario.
        pub const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".hbs")))),*];
    };
}

scenarios!(
    "F1",
    "F2",
    "F4",
    "F6",
    "P1",
    "S1",
    "S3",
    "T1",
    "start-fails-quietly",
    "late-request",
    "lost-release",
    "status-unknown"
);

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The texts that `base C2` stands for: the configuration of most two-node scenarios.
pub(super) const C2: [&str; 3] = [
    "node h1 h2\nbcast eth1\nkeepalive 250ms\nwarntime 1500ms\ndeadtime 3\ninitdead 8\nlogfacility none\n",
    "h1 10.77.0.100/24/eth0 Tst::A\nh2 10.77.0.101/24/eth0 Tst::B\n",
    "auth 1\n1 sha1 the-key-of-the-laboratory\n",
];
/// The labels of its groups.
pub(super) const C2_GROUPS: [(&str, &str); 2] = [("A", "10.77.0.100/24/eth0"), ("B", "10.77.0.101/24/eth0")];
