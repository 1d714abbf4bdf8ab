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

#[test]
fn a_recording_is_replayed_drawn_or_refused() {
    let place = place("replay");
    let [keys, others, cut, empty, text, svg] =
        ["authkeys", "others", "cut.hbtrace", "empty.hbtrace", "text.hbtrace", "picture.svg"]
            .map(|name| place.join(name).to_str().unwrap().to_owned());
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/src/trace/golden.trace");
    let bytes = std::fs::read(golden).unwrap();
    std::fs::write(&keys, "auth 2\n1 md5 another-word\n2 sha1 the-secret-of-the-test\n").unwrap();
    std::fs::write(&others, "auth 1\n1 crc\n").unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 3]).unwrap();
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&text, "no recording").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&[golden, "--authkeys", &keys, "--svg", &svg], 0, "equal: "),
        (&[golden, "--authkeys", &keys, "--timeline", "--from", "1", "--until", "2"], 0, "equal: "),
        (&[&cut, "--authkeys", &keys], 0, "the recording ends within a record"),
        (&[&empty, "--authkeys", &keys], 2, "it is empty"),
        (&[&text, "--authkeys", &keys], 2, "this is no recording"),
        (&[golden, "--authkeys", &others], 2, "these are not the keys of the recording"),
        (&[golden, "--authkeys", "no-such-file"], 2, "name the cluster's authkeys with --authkeys"),
        (&[golden, "--authkeys", &keys, "--svg", "no/such/place.svg"], 2, "cannot write"),
    ];
    for (arguments, status, message) in cases {
        let output = hbsim(&[&["replay"], arguments].concat());
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
}
