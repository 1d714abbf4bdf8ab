use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::interfaces;

/// A configuration directory that goes away with its test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str, files: &[(&str, &[u8], u32)]) -> Dir {
        let dir = std::env::temp_dir().join(format!("hb-check-{}-{name}", std::process::id()));
        for (file, bytes, mode) in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Dir(dir)
    }

    fn load(&self) -> Loaded {
        load(&self.0, Some("alpha"), true)
    }

    /// The text without what differs between machines.
    fn neutral(&self, text: &str) -> String {
        let text = text.replace(&format!("it has {}", interfaces().join(", ")), "it has lo, eth0, eth1");
        text.replace(&self.0.display().to_string(), "/etc/ha.d")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

const BROKEN_HA_CF: &[u8] = b"# The pair in the cellar, configured f\xfcr 2009
use_logd yes
keepalvie 500ms
deadtime 3s
warntime 40
initdead 8
node alpha beta
node Beta
bcast lo nosuch0
udpport 1694
ucast lo fe80::1
mcast lo 10.0.0.1 694 1 0
\tserial /dev/nosuch0,/dev/nosuch1
ping 10.0.0.254
respawn hacluster /opt/nosuch/dopd
watchdog /dev/watchdog
crm respawn
logfacility local9
auto_failback legacy
";

const BROKEN_HARESOURCES: &[u8] = b"alpha 10.0.0.300 Web
beta  IPaddr2::10.0.0.7/24/nosuch1 \\
      Web   # the web server
alfa  Mail 10.0.0.7
";

const BROKEN_AUTHKEYS: &[u8] = b"auth 2\n1 sha1 geheim\n2 shal geheim\n3 geheim\n";

const SCRIPT: &[u8] = b"#!/bin/sh\n";

fn broken(name: &str) -> Dir {
    Dir::new(
        name,
        &[
            ("ha.cf", BROKEN_HA_CF, 0o644),
            ("haresources", BROKEN_HARESOURCES, 0o644),
            ("authkeys", BROKEN_AUTHKEYS, 0o644),
            ("resource.d/Web", SCRIPT, 0o755),
            ("resource.d/Mail", SCRIPT, 0o644),
        ],
    )
}

fn good(name: &str) -> Dir {
    Dir::new(
        name,
        &[
            ("ha.cf", b"node alpha beta\nbcast lo\nauto_failback off\nlogfacility daemon\n", 0o644),
            ("haresources", b"alpha 10.0.0.1 Web\nbeta 10.0.0.2\n", 0o644),
            ("authkeys", b"auth 1\n1 sha1 geheim\n", 0o600),
            ("resource.d/Web", SCRIPT, 0o755),
        ],
    )
}

#[test]
fn a_broken_configuration_is_shown_with_every_problem() {
    let dir = broken("text");
    let loaded = dir.load();
    assert_eq!(loaded.config, None);
    insta::assert_snapshot!(dir.neutral(&text(&loaded, Paint::Plain)));
}

#[test]
fn no_secret_is_shown() {
    let dir = broken("secret");
    let loaded = dir.load();
    for shown in [text(&loaded, Paint::Colour), json(&loaded)] {
        assert!(!shown.contains("geheim"), "{shown}");
    }
}

#[test]
fn a_file_cannot_steer_the_terminal() {
    let dir = Dir::new("escape", &[("ha.cf", b"no\x1b[2Jde a\nbcast \x1b]0;x\x07\n", 0o644)]);
    let shown = text(&dir.load(), Paint::Plain);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
}

#[test]
fn a_good_configuration_names_its_policy() {
    let dir = good("good");
    let loaded = dir.load();
    assert!(loaded.config.is_some());
    insta::assert_snapshot!(dir.neutral(&text(&loaded, Paint::Plain)), @r"
    configuration is valid: 2 nodes, 1 medium, 2 groups; 0 warnings
    policy is at-least-one: neither fencing nor quorum is configured, so that during a partition
    of the cluster a group can have two owners, one on each side
    ");
    insta::assert_snapshot!(
        dir.neutral(&json(&loaded)),
        @r#"{"diagnostics":[],"summary":{"valid":true,"errors":0,"warnings":0,"node":"alpha","nodes":2,"media":1,"groups":2,"policy":"at-least-one"}}"#
    );
}

#[test]
fn the_json_of_a_problem_has_its_place() {
    let dir = good("json");
    fs::write(dir.0.join("haresources"), "alpha Größe\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(&json(&dir.load())).unwrap();
    let row = &document["diagnostics"][0];
    assert_eq!((&row["code"], &row["severity"]), (&"E0504".into(), &"error".into()));
    assert_eq!((&row["line"], &row["column"], &row["end_column"]), (&1.into(), &7.into(), &12.into()));
    assert_eq!((&document["summary"]["valid"], &document["summary"]["errors"]), (&false.into(), &1.into()));
}

#[test]
fn missing_files_are_named_once_each() {
    let dir = Dir::new("missing", &[("nodeinfo", b"gamma\n", 0o644)]);
    let loaded = load(&dir.0, None, true);
    assert_eq!(loaded.local_name, "gamma");
    let lines: Vec<String> = loaded.diagnostics.iter().map(|one| dir.neutral(&one.to_string())).collect();
    let reason = "No such file or directory (os error 2)";
    assert_eq!(
        lines,
        [
            format!("/etc/ha.d/ha.cf:1:1: error[E0501]: Cannot open config file [/etc/ha.d/ha.cf]: {reason}"),
            format!(
                "/etc/ha.d/haresources:1:1: error[E0501]: Cannot open resource file [/etc/ha.d/haresources]: {reason}"
            ),
            format!("/etc/ha.d/authkeys:1:1: error[E0501]: Cannot open keyfile [/etc/ha.d/authkeys]: {reason}"),
        ]
    );
}

#[test]
fn only_read_bits_of_the_key_file_count() {
    for (mode, good_mode) in [(0o600, true), (0o622, true), (0o640, false), (0o604, false), (0o644, false)] {
        let dir = good(&format!("mode{mode:o}"));
        fs::set_permissions(dir.0.join("authkeys"), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(dir.load().config.is_some(), good_mode, "{mode:o}");
    }
}

#[test]
fn what_is_no_file_is_refused_without_waiting() {
    let dir = good("fifo");
    fs::remove_file(dir.0.join("ha.cf")).unwrap();
    nix::unistd::mkfifo(&dir.0.join("ha.cf"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(dir.load().diagnostics[0].message.ends_with("not a file"));
    fs::remove_file(dir.0.join("ha.cf")).unwrap();
    fs::create_dir(dir.0.join("ha.cf")).unwrap();
    assert!(dir.load().config.is_none());
}

#[test]
fn the_exit_status_is_that_of_the_original() {
    assert_eq!(exit_status(&good("exit").load()), 0);
    assert_eq!(exit_status(&broken("exit6").load()), NOT_CONFIGURED);
}
