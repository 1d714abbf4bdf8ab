//! `hbsim explain`: what it prints, whether its advice is true, and what it refuses.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn explain(dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hbsim"));
    command.arg("explain").arg("--config-dir").arg(dir).args(more).output().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A copy of a directory of this test: the work tree does not keep that keys are nobody else's to read.
fn fixture(name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain").join(name);
    let [ha_cf, haresources] = ["ha.cf", "haresources"].map(|file| std::fs::read_to_string(from.join(file)).unwrap());
    files(name, &ha_cf, &haresources)
}

/// A directory with files of one test; the keys are those of all.
fn files(name: &str, ha_cf: &str, haresources: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("explain").join(name);
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in [("ha.cf", ha_cf), ("haresources", haresources), ("authkeys", "auth 1\n1 sha1 a-secret\n")] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    std::fs::set_permissions(dir.join("authkeys"), std::fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

const PAIR: &str =
    "node alpha beta\nbcast eth1\nkeepalive 500ms\ndeadtime 2\ninitdead 10\nauto_failback on\nlogfacility none\n";
const GROUP: &str = "alpha 192.0.2.100/24/eth0\n";

fn json(dir: &Path) -> Vec<Value> {
    text(&explain(dir, &["--json", "--phases", "1"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_pair_with_one_link_is_explained() {
    insta::assert_snapshot!("pair", text(&explain(&fixture("pair"), &["--phases", "2"])));
}

#[test]
fn three_nodes_with_a_quorum_are_explained() {
    insta::assert_snapshot!("three", text(&explain(&fixture("three"), &["--phases", "1"])));
}

#[test]
fn advice_is_true_and_what_it_costs_is_said() {
    let before = json(&files("before", PAIR, GROUP));
    let summary = before.last().unwrap();
    assert!(summary["two_owners"].as_u64() > Some(0) && summary["violations"] == 0, "{summary}");
    let trials: Vec<&Value> = before.iter().filter(|line| line["kind"] == "trial").collect();
    let of = |line: &str| *trials.iter().find(|trial| trial["line"] == line).unwrap();
    // The files with the line in them are explained like any others.
    let most = of("ownership at-most-one");
    assert_eq!((most["leaves"].as_array().unwrap().len(), &most["refused"]), (0, &Value::Null));
    let price = |trial: &Value, what: &str| {
        trial["prices"].as_array().unwrap().iter().any(|price| price["what"] == what && price["now_us"].is_null())
    };
    assert!(price(most, "alpha loses power"), "{most}");
    let after = json(&files("after", &format!("{PAIR}ownership at-most-one\n"), GROUP));
    assert_eq!(after.last().unwrap()["two_owners"], 0);
    assert!(!after.iter().any(|line| line["kind"] == "trial"), "there is nothing to advise");
    // A second medium helps where one fails, and nowhere else.
    let second = of("bcast eth0");
    let first_of = |what: &str| before.iter().find(|line| line["what"] == what).unwrap()["experiment"].clone();
    let holds = |list: &Value, what: &str| list.as_array().unwrap().contains(&first_of(what));
    assert!(holds(&second["prevents"], "eth1 fails everywhere") && holds(&second["leaves"], "alpha is cut off"));
}

/// What nodes measure is within what the configuration promises.
#[test]
fn no_step_takes_longer_than_its_bound() {
    let ha_cf = format!("{PAIR}ucast eth0 192.0.2.11\nucast eth0 192.0.2.12\n");
    let lines = json(&files("bounds", &ha_cf, "alpha 192.0.2.100/24/eth0 httpd\nbeta 192.0.2.101/24/eth0\n"));
    let bounds: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "bound").collect();
    assert!(bounds.len() > 6);
    for bound in bounds {
        let (limit, measured) = (bound["limit_us"].as_u64(), bound["measured_us"].as_u64());
        // A heartbeat that was under way counts from its arrival.
        assert!(measured.unwrap_or(0) <= limit.unwrap_or(u64::MAX).saturating_add(1000), "{bound}");
    }
    let crash = lines.iter().find(|line| line["what"] == "alpha loses power").unwrap();
    assert_eq!(crash["groups"][0]["has"], serde_json::json!([["beta"]]));
    assert!(crash["because"][0].as_str().unwrap().contains("node alpha is dead"), "{crash}");
}

#[test]
fn what_cannot_be_explained_is_said_with_exit_status_2() {
    let cases = [
        (PathBuf::from("no-such-directory"), "Cannot open config file"),
        (files("unknown", &PAIR.replace("keepalive", "keepalve"), GROUP), "did you mean `keepalive`?"),
        (files("alone", &PAIR.replace("alpha beta", "alpha"), GROUP), "alpha is the only node"),
        (files("empty", PAIR, ""), "haresources has no groups"),
        (files("many", &PAIR.replace("alpha", "alpha a b c d e f g h i j k l m n o"), GROUP), "at most 16"),
        (files("slow", &PAIR.replace("initdead 10", "initdead 100000"), GROUP), "too many to simulate"),
    ];
    for (dir, message) in cases {
        let output = explain(&dir, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{}: {said}", dir.display());
        assert!(said.contains(message) && output.stdout.is_empty(), "{}: {said}", dir.display());
    }
    let keys = files("secret", PAIR, GROUP);
    std::fs::write(keys.join("authkeys"), "auth 1\n1 sha9 a-secret\n").unwrap();
    let said = String::from_utf8(explain(&keys, &[]).stderr).unwrap();
    assert!(said.contains("sha9") && !said.contains("a-secret"), "{said}");
}
