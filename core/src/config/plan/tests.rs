use super::*;
use crate::config::{SourceText, Sources};

fn config(ha_cf: &str, haresources: &str, authkeys: &str) -> Config {
    let text = |name, text: &'static str| SourceText { name, bytes: text.as_bytes() };
    let leak = |text: &str| &*alloc::boxed::Box::leak(text.to_string().into_boxed_str());
    let sources = Sources {
        local_name: "h1",
        ha_cf: text("ha.cf", leak(ha_cf)),
        haresources: Some(text("haresources", leak(haresources))),
        authkeys: text("authkeys", leak(authkeys)),
    };
    let reading = Config::read(&sources);
    reading.config.unwrap_or_else(|| panic!("{:?}", reading.diagnostics))
}

const HA_CF: &str = "node h1 h2\nbcast eth1\nkeepalive 1\ndeadtime 10\nauto_failback on\nlogfacility none\n";
const KEYS: &str = "auth 1\n1 sha1 one\n";

fn between(old: &Config, new: &Config) -> String {
    let renewed = old.renewed(new);
    assert_eq!(Plan::between(old, &renewed).waiting().count(), 0);
    assert_eq!(Plan::between(&renewed, new).applied().count(), 0);
    assert_eq!(Plan::between(old, old), Plan::default());
    Plan::between(old, new).to_string()
}

#[test]
fn what_is_written_otherwise_is_no_change() {
    let old = config(HA_CF, "h1 10.0.0.1\n", KEYS);
    let new = "# a comment\nbcast  eth1\nkeepalive 1000ms\nnode h1\nnode h2\ndeadtime 10\nauto_failback on\nlogfacility none\n";
    assert_eq!(between(&old, &config(new, "\n# more\nh1   10.0.0.1\n", "#\nauth 1\n1 sha1 one")), "");
}

#[test]
fn keys_and_times_are_applied_and_secrets_are_not_told() {
    let old = config(HA_CF, "", "auth 1\n1 sha1 one\n3 md5 three\n");
    let new = HA_CF.replace("deadtime 10", "deadtime 20").replace("failback on", "failback off");
    let new = config(&new, "", "auth 2\n1 sha1 swordfish\n2 sha1 two\n");
    assert_eq!(
        between(&old, &new),
        "authkeys 1: sha1 becomes sha1 with another secret\n\
         authkeys 3: md5 is taken away\n\
         authkeys 2: sha1 is added\n\
         auth: 1 becomes 2\n\
         warntime: 5000 ms becomes 10000 ms\n\
         deadtime: 10000 ms becomes 20000 ms\n\
         deadping: 10000 ms becomes 20000 ms\n\
         auto_failback: on becomes off\n"
    );
    let renewed = old.renewed(&new);
    assert_eq!((renewed.timing(), renewed.keyring()), (new.timing(), new.keyring()));
    assert_eq!(renewed.parameter("deadtime"), Some("20"));
}

#[test]
fn what_is_opened_at_the_start_waits_and_says_why() {
    let old = config(HA_CF, "h1 10.0.0.1\n", KEYS);
    let new = HA_CF
        .replace("eth1", "eth1 eth2")
        .replace("node h1 h2", "node h2 h1\nudpport 700\nenv X=1\nrespawn root /bin/x");
    let new = config(&new, "h1 10.0.0.1 Web\n", KEYS);
    let plan = between(&old, &new);
    for line in [
        "node: h1, h2 becomes h2, h1; waits for a restart: ha.cf names the members",
        "media: bcast eth1, port 694 is taken away; waits for a restart: media are opened at the start\n",
        "media: bcast eth2, port 700 is added; waits",
        "haresources: h1 10.0.0.1 is taken away; waits",
        "haresources: h1 10.0.0.1 Web is added; waits",
        "udpport: 694 becomes 700; waits",
        "respawn, failfast: respawn root /bin/x is added; waits",
        "env: X=1 is added; waits",
    ] {
        assert!(plan.contains(line), "{line} is not in\n{plan}");
    }
    let renewed = old.renewed(&new);
    assert_eq!((renewed.nodes(), renewed.media(), renewed.groups()), (old.nodes(), old.media(), old.groups()));
    assert_eq!(renewed.parameter("udpport"), None);
}

#[test]
fn how_resources_are_looked_after_is_applied_at_once() {
    let old = config(HA_CF, "h1 10.0.0.1\n", KEYS);
    let new = format!("{HA_CF}script_limit stop 20 10.0.0.1\nmonitor 5\nstop_failure reboot\nstop_retries 0\n");
    let new = config(&new, "h1 10.0.0.1\n", KEYS);
    assert_eq!(
        between(&old, &new),
        "script_limit, monitor: script_limit stop 20000 ms 10.0.0.1 is added\n\
         script_limit, monitor: monitor 5000 ms fall 1 rise 1 is added\n\
         stop_retries: 10 becomes for ever\n\
         stop_failure: stay becomes reboot\n"
    );
    let renewed = old.renewed(&new);
    assert_eq!(renewed.limits(crate::ids::GroupId(0)), new.limits(crate::ids::GroupId(0)));
}
