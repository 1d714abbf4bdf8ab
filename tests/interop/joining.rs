//! Both programs find each other, whoever comes first, whatever signs and however messages are written.

use crate::Test;
use crate::scene::{Kind, Ours, Outcome, Plan, Real, Scene};

/// What a pair is made of.
struct Row {
    name: &'static str,
    /// The programs of h1 and h2.
    kinds: [Kind; 2],
    /// The nodes in the order of their start.
    order: [usize; 2],
    ha_cf: &'static str,
    authkeys: &'static str,
}

const SHA1: &str = "auth 1\n1 sha1 a-key-for-this-laboratory\n";
const MD5: &str = "auth 2\n1 sha1 another\n2 md5 a-key-for-this-laboratory\n";
const CRC: &str = "auth 3\n3 crc\n";

const ROWS: &[Row] = &[
    Row { name: "ours_first_signed_sha1", kinds: [Ours, Real], order: [0, 1], ha_cf: "", authkeys: SHA1 },
    Row { name: "the_real_one_first_signed_sha1", kinds: [Ours, Real], order: [1, 0], ha_cf: "", authkeys: SHA1 },
    Row { name: "ours_last_in_the_list_signed_md5", kinds: [Real, Ours], order: [1, 0], ha_cf: "", authkeys: MD5 },
    Row { name: "the_real_one_first_signed_crc", kinds: [Real, Ours], order: [0, 1], ha_cf: "", authkeys: CRC },
    Row {
        name: "ours_first_without_failback",
        kinds: [Real, Ours],
        order: [1, 0],
        ha_cf: "auto_failback off\n",
        authkeys: SHA1,
    },
    Row {
        name: "the_real_one_first_without_failback",
        kinds: [Ours, Real],
        order: [1, 0],
        ha_cf: "auto_failback off\n",
        authkeys: MD5,
    },
    Row {
        name: "ours_first_in_netstrings",
        kinds: [Ours, Real],
        order: [0, 1],
        ha_cf: "msgfmt netstring\n",
        authkeys: MD5,
    },
    Row {
        name: "the_real_one_first_in_netstrings",
        kinds: [Ours, Real],
        order: [1, 0],
        ha_cf: "msgfmt netstring\n",
        authkeys: SHA1,
    },
];

pub(crate) fn tests() -> Vec<Test> {
    ROWS.iter().map(|row| Test::new(format!("joining::{}", row.name), || join(row))).collect()
}

fn join(row: &Row) -> Outcome {
    let mut plan = Plan::new(&row.kinds).signed(row.authkeys);
    if row.ha_cf.starts_with("auto_failback") {
        plan = plan.with("auto_failback on\n", row.ha_cf);
    } else {
        for node in &mut plan.nodes {
            node.ha_cf += row.ha_cf;
        }
    }
    let mut scene = Scene::new(plan)?;
    let [first, second] = row.order;
    scene.start(first)?;
    let up = "Local status now set to: 'up'";
    scene.logged(first, &[up])?;
    scene.start(second)?;
    scene.settles("the pair is settled", &["active active local"; 2], "A@h1 B@h2")?;
    for which in 0..2 {
        let other = if which == 0 { "h2" } else { "h1" };
        let (link, status) =
            (format!("Link {other}:eth1 up."), format!("Status update for node {other}: status active"));
        scene.logged(which, &[up, "Local status now set to: 'active'", &link, &status])?;
    }
    scene.without_complaint(&[])
}
