use core::net::Ipv4Addr;

use super::*;
use crate::auth::Sealing;
use crate::config::{Failback, GenerationMethod, MediumKind, UuidFrom};

const SMALLEST: &str = "node h1 h2\nbcast eth0\nauto_failback on\nlogfacility daemon\n";

fn parse(text: &str) -> (HaCf, Vec<String>) {
    let mut report = Report::new("ha.cf");
    let source = SourceText { name: "ha.cf", bytes: text.as_bytes() };
    let ha_cf = read(source, "h1", true, &mut report).expect("text");
    let problems = report.finish();
    (ha_cf, problems.iter().map(|one| alloc::format!("{} {}", one.code, one.message)).collect())
}

/// The codes of the problems that `lines` add to a good file.
fn codes(lines: &str) -> Vec<String> {
    let (_, problems) = parse(&alloc::format!("{SMALLEST}{lines}"));
    problems.iter().filter_map(|problem| problem.split(' ').next().map(ToString::to_string)).collect()
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let (ha_cf, problems) = parse(SMALLEST);
    assert_eq!(problems, [""; 0]);
    let settings = ha_cf.settings;
    assert_eq!(ha_cf.timing, Timing::new(Intervals::new(Duration::from_secs(1), Duration::from_secs(30))).ok());
    assert_eq!((settings.udp_port, settings.hopfudge, settings.memreserve), (694, 1, 6500));
    assert_eq!(settings.max_rexmit_delay, Duration::from_millis(250));
    assert_eq!(settings.conn_logd_time, Duration::from_mins(1));
    assert_eq!((settings.realtime, settings.coredumps, settings.rtprio), (true, true, None));
    assert_eq!(settings.sealing, Sealing::default());
    assert_eq!((settings.uuid_from, settings.generation_method), (UuidFrom::File, GenerationMethod::File));
    assert_eq!(settings.cluster, "linux-ha");
    assert_eq!((settings.log.log_badpack, settings.log.syslogmsgfmt, settings.log.debug), (true, true, 0));
}

#[test]
fn good_values_are_accepted_and_bad_ones_refused() {
    for (name, good, bad) in [
        ("keepalive", &["2", "250ms", "500000us", "250 ms"][..], &["0", "-5", "abc", "10s"][..]),
        ("deadtime", &["10", "2001ms"], &["0", "10m", "-1"]),
        ("warntime", &["1", "29"], &["0", "x"]),
        ("initdead", &["30", "60"], &["-1", "1h"]),
        ("deadping", &["3", "30"], &["x"]),
        ("auto_failback", &["on", "off", "ON"], &["yes", "never"]),
        ("udpport", &["1", "694", "65535"], &["0", "-1", "65536", "99999", "ha-cluster"]),
        ("baud", &["19200"], &["300", "fast"]),
        ("hopfudge", &["0", "255"], &["256", "-1"]),
        ("autojoin", &["none"], &["all"]),
        ("uuidfrom", &["file", "nodename"], &["disk"]),
        ("hbgenmethod", &["file", "time"], &["dice"]),
        ("logfile", &["/var/log/ha-log"], &[]),
        ("debugfile", &["/var/log/ha-debug"], &[]),
        ("logfacility", &["local0", "none", "daemon"], &["local8", "Daemon"]),
        ("use_logd", &["off", "no"], &["maybe"]),
        ("conn_logd_time", &["60"], &["0"]),
        ("debug", &["0", "255"], &["256", "x"]),
        ("realtime", &["on", "off", "true", "N"], &["2"]),
        ("rtprio", &["1", "99"], &["0", "100"]),
        ("memreserve", &["6500"], &["0"]),
        ("coredumps", &["yes"], &["sometimes"]),
        ("msgfmt", &["classic", "netstring"], &["json"]),
        ("compression", &["zlib", "bz2"], &["lz4"]),
        ("compression_threshold", &["1", "100"], &["0"]),
        ("traditional_compression", &["on", "off"], &["x"]),
        ("max_rexmit_delay", &["1", "500"], &["0", "250ms"]),
        ("log_badpack", &["on", "off"], &["x"]),
        ("syslogmsgfmt", &["on", "off"], &["x"]),
        ("cluster", &["linux-ha"], &[]),
        ("use_apphbd", &["off"], &["x"]),
        ("crm", &["off", "no", "false", "0"], &[]),
        ("pacemaker", &["off"], &[]),
        ("env", &["A=b", "A=", "A=b=c,d X=y"], &["A", "=b"]),
        ("bcast", &["eth1", "eth1 eth2", "eth1,eth2", "eth0:1"], &["../eth0", "averylonginterface"]),
        ("ucast", &["eth0 10.0.0.2", "eth0 h2"], &["eth0", "eth0 a b", "averylonginterface h2"]),
        (
            "mcast",
            &["eth0 239.0.0.1 694 1 0", "eth0 225.0.0.1 1 255 1"],
            &[
                "eth0",
                "eth0 239.0.0.1 694 1 0 9",
                "eth0 10.0.0.1 694 1 0",
                "eth0 239.0.0.1 0 1 0",
                "eth0 239.0.0.1 70000 1 0",
                "eth0 239.0.0.1 694 256 0",
                "eth0 239.0.0.1 694 1 2",
            ],
        ),
        ("ucast6", &["eth0 fe80::1", "eth0 fe80::1%eth0", "eth0 h2"], &["eth0", "eth0 a b", "eth0 fe80::1%eth1"]),
        (
            "mcast6",
            &["eth0 ff02::7 694 1 0", "eth0 ff05::1:2 1 255 1"],
            &["eth0", "eth0 ff02::7 694 1 0 9", "eth0 239.0.0.1 694 1 0", "eth0 fe80::1 694 1 0", "eth0 ff02::7 0 1 0"],
        ),
        ("ping", &["10.0.0.254", "10.0.0.254 10.0.0.253", "router"], &["h1"]),
        ("ping6", &["fe80::1", "router"], &["h1"]),
        ("ping_group", &["routers 10.0.0.254 10.0.0.253", "gw h2"], &["routers", "h1 10.0.0.254"]),
        ("node", &["h3", "h3 h4,h5"], &[]),
        ("hbaping", &[], &["x"]),
        ("rds", &[], &["x"]),
        ("tipc", &[], &["x"]),
        ("register_to_apphbd", &[], &["on"]),
        ("stonith", &["null /etc/ha.d/null.conf"], &["null", "null a b"]),
        ("stonith_host", &["* null h1 h2", "h1 null h2", "* fence_x ip=a,b"], &["*", "* fence_x ip"]),
        ("stonith_delay", &["500ms"], &["0"]),
        ("stonith_limit", &["30"], &["-1"]),
        ("takeover", &["manual", "automatic"], &["never"]),
        ("takeover_delay", &["10"], &["soon"]),
        ("takeover_alarm", &["/usr/local/sbin/wake"], &["wake"]),
        ("watchdog", &["/dev/watchdog"], &[]),
    ] {
        let is_error = |code: &String| code.starts_with('E');
        // Repeating what the smallest file has, or coming after its medium, is a warning of its own.
        let problems = |value: &&str| codes(&alloc::format!("{name} {value}\n"));
        for value in good {
            let found: Vec<_> = problems(value).into_iter().filter(|code| code != "W0107" && code != "W0134").collect();
            assert_eq!(found, [""; 0], "{name} {value}");
        }
        for value in bad {
            let found = problems(value);
            assert_eq!(found.iter().filter(|code| is_error(code)).count(), 1, "{name} {value}: {found:?}");
        }
    }
}

#[test]
fn what_is_not_acted_on_says_so_once_a_line() {
    for (line, code) in [
        ("use_logd on", "W0201"),
        ("conn_logd_time 30", "W0201"),
        ("memreserve 1000", "W0201"),
        ("coredumps off", "W0201"),
        ("coreroot /var/tmp", "W0201"),
        ("cluster mine", "W0201"),
        ("quorum_server q1", "W0201"),
        ("use_apphbd on", "W0201"),
        ("crm_daemon_dir /usr/lib", "W0201"),
        ("record_config_changes off", "W0201"),
        ("crm respawn", "E0203"),
        ("pacemaker on", "E0203"),
        ("autojoin any", "E0203"),
        ("autojoin other", "E0203"),
        ("keepalive", "W0103"),
        ("udp eth1", "W0135"),
        ("bcast eth0", "W0136"),
        ("udpport 1694", "W0134"),
        ("serial /dev/ttyS0\nbaud 9600", "W0134"),
        ("serial /dev/ttyS0 /dev/ttyS0", "W0136"),
        ("serial ttyS0", "E0138"),
        ("serial /dev/", "E0138"),
        ("node H1", "W0112"),
        ("env A-B=c", "W0209"),
        ("debug 1 2", "W0106"),
        ("initdead 5\ndeadtime 4", "W0123"),
        ("warntime 31", "W0124"),
        ("nice_failback on", "W0206"),
    ] {
        assert_eq!(codes(line), [code], "{line}");
    }
}

#[test]
fn every_directive_of_the_table_is_understood() {
    for row in TABLE.iter().filter(|row| !matches!(row.takes, Takes::Illegal(_))) {
        let found = codes(&alloc::format!("{} x y\n", row.name));
        assert!(!found.contains(&"E0101".to_string()), "{}: {found:?}", row.name);
    }
}

#[test]
fn media_keep_the_port_that_stood_before_them() {
    let text = "node h1\nbcast eth0\nudpport 1694\nbcast eth1\nmcast eth1 239.0.0.1 2000 2 1\nucast eth2 h2\n";
    let media = parse(text).0.media;
    let found: Vec<_> = media.iter().map(|medium| (medium.name.as_str(), medium.port, medium.span.line)).collect();
    assert_eq!(found, [("eth0", 694, 2), ("eth1", 1694, 4), ("eth1", 2000, 5), ("eth2", 1694, 6)]);
    let group = Ipv4Addr::new(239, 0, 0, 1);
    assert_eq!(
        media[2].kind,
        MediumKind::Mcast { interface: "eth1".into(), group, port: 2000, ttl: 2, loopback: true }
    );
}

#[test]
fn serial_lines_keep_the_speed_that_stood_before_them() {
    let text = "node h1\nserial /dev/ttyS0\nbaud 9600\nserial /dev/ttyS1 /dev/ttyUSB0\n";
    let media = parse(text).0.media;
    let line = |device: &str, baud| MediumKind::Serial { device: device.into(), baud };
    let found: Vec<_> = media.into_iter().map(|medium| (medium.kind, medium.port, medium.span.line)).collect();
    assert_eq!(
        found,
        [(line("/dev/ttyS0", 19200), 0, 2), (line("/dev/ttyS1", 9600), 0, 4), (line("/dev/ttyUSB0", 9600), 0, 4)]
    );
}

#[test]
fn the_scope_of_an_ipv6_peer_is_its_interface() {
    let media = parse("node h1\nucast6 eth0:1 fe80::2%eth0\nmcast6 eth1 ff02::7 2000 2 1\n").0.media;
    assert_eq!(media[0].kind, MediumKind::Ucast6 { interface: "eth0:1".into(), peer: "fe80::2".into() });
    let group = "ff02::7".parse().unwrap();
    assert_eq!(
        media[1].kind,
        MediumKind::Mcast6 { interface: "eth1".into(), group, port: 2000, ttl: 2, loopback: true }
    );
}

#[test]
fn each_ping_node_is_a_medium_of_its_name() {
    let (ha_cf, problems) = parse("node h1\nbcast eth0\nping A B,a\nping6 fe80::1\nping_group G c d\nping g\n");
    let names: Vec<_> = ha_cf.media.iter().map(|medium| (medium.name.as_str(), medium.kind.hosts())).collect();
    let hosts = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [("eth0", hosts(&[])), ("a", hosts(&["A"])), ("b", hosts(&["B"])), ("fe80::1", hosts(&["fe80::1"]))];
    assert_eq!(names[..4], expected.each_ref().map(|(name, hosts)| (*name, hosts.as_slice())));
    assert_eq!(names[4..], [("g", &hosts(&["c", "d"])[..])]);
    assert_eq!(ha_cf.ping_names, ["a", "b", "fe80::1", "g"]);
    assert_eq!(problems.iter().filter(|problem| problem.starts_with("W0136")).count(), 2, "{problems:?}");
    let alone = parse("node h1\nping a\n").1;
    assert!(alone.contains(&"E0130 no media are configured that reach other nodes".to_string()), "{alone:?}");
}

#[test]
fn names_of_nodes_are_lower_cased_and_kept_once() {
    let (ha_cf, problems) = parse("node H1 h2,H3\nnode h2 # again\nbcast eth0\nauto_failback off\nlogfile /x");
    let names: Vec<_> = ha_cf.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["h1", "h2", "h3"]);
    assert_eq!(ha_cf.local, Some(NodeId(0)));
    assert_eq!(ha_cf.settings.failback, Failback::Off);
    assert_eq!(problems, ["W0112 node h2 is configured already in line 1"]);
}

#[test]
fn limits_are_errors() {
    let many = (0..110).fold(String::from("node"), |line, n| line + &alloc::format!(" n{n}"));
    assert_eq!(codes(&many), ["E0114"]);
    let many = (0..70).fold(String::from("bcast"), |line, n| line + &alloc::format!(" e{n}"));
    assert_eq!(codes(&many), ["E0131"]);
    assert_eq!(codes(&alloc::format!("node {}", "n".repeat(100))), ["E0113"]);
    assert_eq!(codes(&alloc::format!("node {}", "n".repeat(99))), [""; 0]);
    let many_nodes = (0..70).fold(String::from("node"), |line, n| line + &alloc::format!(" n{n}")) + "\n";
    let pings = (0..99).fold(String::from("ping"), |line, n| line + &alloc::format!(" p{n}"));
    assert_eq!(codes(&pings), ["E0131"]);
    let pings = (0..40).fold(String::from("ping"), |line, n| line + &alloc::format!(" p{n}"));
    assert_eq!(codes(&(many_nodes + &pings)), ["E0114"]);
}

#[test]
fn what_contradicts_has_the_phrases_of_the_original() {
    for (text, problem) in [
        ("deadtime 2\n", "E0120 Dead time [2000] is too small compared to keeplive [1000]"),
        ("deadping 1\n", "E0121 Ping dead time [1000] is too small compared to keeplive [1000]"),
        ("initdead 20\n", "E0122 Initial dead time [20000] is smaller than deadtime [30000]"),
        ("deadtime 3\ninitdead 8", "W0123 Initial dead time [8000 ms] may be too small!"),
        ("warntime 0\n", "E0102 Warn time [0] is invalid."),
        ("KEEPALIVE 1\n", "E0101 Illegal directive [KEEPALIVE] in ha.cf"),
        ("ping h2 10.0.0.9\nping h3", "E0137 ping node h2 is a cluster node"),
    ] {
        let (_, problems) = parse(&alloc::format!("{SMALLEST}{text}"));
        assert!(problems.iter().any(|found| found == problem), "{text}: {problems:?}");
    }
    assert_eq!(
        parse("").1,
        [
            "E0110 no nodes defined",
            "W0204 auto_failback is not given; it acts as `on`: groups return when their home does",
            "W0207 No log entry found in ha.cf -- use logd",
            "E0130 no media are configured",
        ]
    );
    assert_eq!(
        parse("node a b\nping 10.0.0.9\nauto_failback legacy\nuse_logd off").1,
        [
            "E0130 no media are configured that reach other nodes",
            "E0111 Current node [h1] not in configuration!",
            "W0205 auto_failback legacy is not supported; it acts as `on`",
            "E0208 use_logd is off and no other log target is configured",
        ]
    );
}

#[test]
fn old_comments_in_any_character_set_do_no_harm() {
    let mut report = Report::new("ha.cf");
    let bytes = [SMALLEST.as_bytes(), b"# f\xfcr\xff\r\ndeadtime 10 # \xe4\r\n"].concat();
    let ha_cf = read(SourceText { name: "ha.cf", bytes: &bytes }, "h1", true, &mut report).expect("text");
    assert!(report.finish().is_empty());
    assert_eq!(ha_cf.timing.map(|timing| timing.deadtime()), Some(Duration::from_secs(10)));
}

#[test]
fn scripts_see_every_single_value_and_every_env() {
    let (ha_cf, _) =
        parse(&alloc::format!("{SMALLEST}keepalive 250 ms\nenv quorum=majority B=c,d\ndebug 1\ndebug 2\n"));
    let found: Vec<_> = ha_cf.environment.iter().map(|(name, value)| alloc::format!("{name}={value}")).collect();
    assert_eq!(
        found,
        [
            "HA_B=c,d",
            "HA_auto_failback=on",
            "HA_debug=2",
            "HA_keepalive=250 ms",
            "HA_logfacility=daemon",
            "HA_quorum=majority"
        ]
    );
    assert_eq!(ha_cf.parameters.get("keepalive").map(String::as_str), Some("250 ms"));
    assert_eq!(ha_cf.parameters.get("deadtime"), None);
}

#[test]
fn programs_and_their_rights_are_read() {
    let lines = "respawn hacluster /usr/lib/heartbeat/ipfail\nfailfast root\t/bin/sh -c 'a, b; c'\n\
                 apiauth ipfail uid=hacluster,5 gid=haclient\napiauth default uid=root\napiauth ipfail gid=7\n";
    let (ha_cf, problems) = parse(&alloc::format!("{SMALLEST}{lines}"));
    assert_eq!(problems, ["W0213 ipfail has a line already, line 7; this one counts"]);
    let programs = ha_cf.clients.programs.iter().map(|one| (&*one.user, &*one.command, one.failfast));
    assert!(programs.eq([("hacluster", "/usr/lib/heartbeat/ipfail", false), ("root", "/bin/sh -c 'a, b; c'", true)]));
    assert_eq!(ha_cf.clients.list_for("ipfail").map(|list| list.groups), Some(["7".to_string()].into()));
}

#[test]
fn what_is_no_program_and_no_right_is_told() {
    for (lines, code) in [
        ("respawn root", "E0104"),
        ("respawn root ipfail", "E0211"),
        ("apiauth ipfail", "E0212"),
        ("apiauth ipfail hacluster", "E0212"),
        ("apiauth ipfail uid=,", "E0212"),
        ("apiauth a-name-of-more-than-thirty-one-bytes uid=root", "E0212"),
    ] {
        assert!(codes(lines).iter().any(|found| found == code), "{lines}: {:?}", codes(lines));
    }
}

#[test]
fn a_watchdog_that_would_come_too_late_is_said_and_two_are_refused() {
    assert_eq!(codes("keepalive 250ms\ndeadtime 1\nwatchdog /dev/watchdog\n"), ["W0125"]);
    assert_eq!(codes("keepalive 250ms\ndeadtime 1\n"), [""; 0]);
    assert_eq!(codes("watchdog /dev/watchdog\nwatchdog /dev/watchdog1\n"), ["E0108"]);
}
