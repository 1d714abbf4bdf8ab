//! What `hbsim run` leaves behind: files, output and exit statuses.

use std::path::PathBuf;
use std::process::{Command, Output};

fn hbsim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hbsim")).args(arguments).output().unwrap()
}

/// A place for files of one test.
fn place(name: &str) -> PathBuf {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&place).unwrap();
    place
}

#[test]
fn a_run_writes_its_picture_its_capture_and_its_json() {
    let place = place("run");
    let [svg, pcap] = ["F4.svg", "F4.pcapng"].map(|name| place.join(name));
    let output = hbsim(&["run", "F4", "--json", "--svg", svg.to_str().unwrap(), "--pcap", pcap.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    assert!(std::fs::read(pcap).unwrap().starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]));
    let text = String::from_utf8(output.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["passed"], true);
}

#[test]
fn what_cannot_be_done_is_said_with_exit_status_2() {
    let place = place("refused");
    let broken = place.join("broken.hbs");
    std::fs::write(&broken, "base C2\nend soon\n").unwrap();
    let nowhere = place.join("no").join("such").join("place.svg");
    let nowhere = nowhere.to_str().unwrap();
    let cases: [(&[&str], &str); 4] = [
        (&["run", "F4", "--svg", nowhere], "cannot write"),
        (&["run", "F4", "--pcap", nowhere], "cannot write"),
        (&["run", "nothing-like-that"], "no scenario is called nothing-like-that"),
        (&["run", broken.to_str().unwrap()], "broken.hbs:2:5"),
    ];
    for (arguments, message) in cases {
        let output = hbsim(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

#[test]
fn a_missed_expectation_is_exit_status_1() {
    let scenario = place("missed").join("missed.hbs");
    std::fs::write(&scenario, "base C2\nset auto_failback on\nboot h1 h2\nlog h1 never said\nend 3\n").unwrap();
    let output = hbsim(&["run", scenario.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("MISSED"));
}
