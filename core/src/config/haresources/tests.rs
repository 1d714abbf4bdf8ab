use alloc::string::String;
use proptest::prelude::*;

use super::*;

fn nodes(names: &[&str]) -> Vec<NodeConfig> {
    names.iter().map(|name| NodeConfig { name: (*name).into(), span: Some(Span::FILE), removed: false }).collect()
}

fn groups(text: &str, names: &[&str]) -> (Vec<Group>, Vec<String>) {
    let mut report = Report::new("haresources");
    let groups = read(SourceText { name: "haresources", bytes: text.as_bytes() }, &nodes(names), &mut report);
    let problems = report.finish();
    let lines = problems.iter().map(|one| alloc::format!("{}:{} {}", one.span.line, one.span.column, one.code));
    (groups, lines.collect())
}

/// `home key: word word`, for each group.
fn summary(text: &str) -> Vec<String> {
    let (groups, problems) = groups(text, &["h1", "h2"]);
    assert_eq!(problems, [""; 0], "{text}");
    let lines = groups.iter().map(|group| {
        let words: Vec<_> = group.resources.iter().map(ToString::to_string).collect();
        alloc::format!("{} {}: {}", group.home.0, group.key, words.join(" "))
    });
    lines.collect()
}

#[test]
fn groups_are_read_as_by_the_original() {
    assert_eq!(summary(""), [""; 0]);
    assert_eq!(summary("# only a comment\n \t \n"), [""; 0]);
    assert_eq!(summary("h1 10.0.0.1"), ["0 10.0.0.1: 10.0.0.1"]);
    assert_eq!(summary("H2\t10.0.0.1/24/eth0   Tst::A\r\n"), ["1 10.0.0.1/24/eth0: 10.0.0.1/24/eth0 Tst::A"]);
    assert_eq!(
        summary("h1 10.0.0.1 \\\n   Filesystem::/dev/sda1::/mnt \\\n apache\nh2 Tst::B\n"),
        ["0 10.0.0.1: 10.0.0.1 Filesystem::/dev/sda1::/mnt apache", "1 Tst::B: Tst::B"]
    );
}

#[test]
fn scripts_have_a_name_and_arguments() {
    let (groups, _) = groups("h1 Tst::C::x::y Tst::::z:: apache", &["h1"]);
    let calls: Vec<_> = groups[0]
        .resources
        .iter()
        .map(|resource| match resource {
            Resource::Script(call) => (call.name.as_str(), call.args.clone()),
            Resource::Address(address) => panic!("{address}"),
        })
        .collect();
    let args = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(calls, [("Tst", args(&["C", "x", "y"])), ("Tst", args(&["z"])), ("apache", args(&[]))]);
}

#[test]
fn what_loses_a_group_in_the_original_is_refused() {
    for (text, problems) in [
        ("h3 Tst::A", &["1:1 E0301"][..]),
        ("10.0.0.1 h1", &["1:1 E0301"]),
        ("h1", &["1:1 W0302"]),
        ("h1 10.0.0.999", &["1:4 E0303"]),
        ("h1 Tst::A\nh2 Tst::A", &["2:4 E0304"]),
        ("h1 10.0.0.1\nh2 10.0.0.1", &["2:4 E0304"]),
        ("h1 10.0.0.1\nh2 Tst::B 10.0.0.1", &["2:11 E0306"]),
        ("h1 10.0.0.1\nh2 IPaddr2::10.0.0.1/24/eth0", &["2:4 E0306"]),
        ("h1 Tst::A 10.0.0.1 10.0.0.1", &["1:20 E0306"]),
        ("h1 Tst::A\nh2 Tst::B Tst::A", &["2:11 E0305"]),
        ("h2 Tst::B Tst::A\nh1 Tst::A", &["1:11 E0305"]),
        ("h1 Tst::A Tst::A", &["1:11 E0305"]),
        ("h1 Tst::A \\\n Tst::B # comment", &["2:9 E0307"]),
        ("h1 Tst::A \\\n# comment\n", &["2:1 E0307"]),
        ("h1 Tst::A # comment \\\nh2 Tst::B", &["1:11 W0308"]),
        ("h1 Tst::A \\ \nh2 Tst::B", &["1:11 E0309"]),
        ("h1 Tst#A", &["1:7 W0210"]),
        ("h1 ../../bin/sh", &["1:4 E0311"]),
        ("h1 /etc/init.d/apache", &["1:4 E0311"]),
        ("h1 ::x", &["1:4 E0311"]),
    ] {
        assert_eq!(groups(text, &["h1", "h2"]).1, problems, "{text}");
    }
}

#[test]
fn groups_of_more_than_sixteen_nodes_are_refused() {
    let names: Vec<String> = (1..=17).map(|number| alloc::format!("h{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(groups("h1 Tst::A", &names).1, ["1:1 E0310"]);
    assert_eq!(groups("h1 Tst::A", &names[..16]).1, [""; 0]);
    assert_eq!(groups("", &names).1, [""; 0]);
}

#[test]
fn unknown_nodes_are_not_reported_when_no_node_is_known() {
    assert_eq!(groups("h1 Tst::A", &[]).1, [""; 0]);
}

proptest! {
    #[test]
    fn a_printed_group_reads_as_the_same_group(
        addresses in proptest::collection::btree_set(0x0a00_0001_u32..0x0aff_ffff, 1..5),
        scripts in proptest::collection::vec("[A-Z][a-z]{1,8}(::[a-z/0-9]{1,5}){0,3}", 0..4),
        prefix in 1_u8..=32,
    ) {
        let mut written: Vec<String> =
            addresses.iter().map(|address| alloc::format!("{}/{prefix}/eth0", Ipv4Addr::from(*address))).collect();
        written.extend(scripts);
        let line = alloc::format!("h2 {}", written.join(" "));
        let (first, _) = groups(&line, &["h1", "h2"]);
        let words: Vec<_> = first[0].resources.iter().map(ToString::to_string).collect();
        let printed = alloc::format!("h2 {}", words.join(" "));
        prop_assert_eq!(&printed, &line);
        prop_assert_eq!(groups(&printed, &["h1", "h2"]).0, first);
    }

    #[test]
    fn any_bytes_give_spans_inside_the_text(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut report = Report::new("haresources");
        read(SourceText { name: "haresources", bytes: &bytes }, &nodes(&["h1"]), &mut report);
        for problem in report.finish() {
            prop_assert!(problem.span.start <= problem.span.end && problem.span.end <= bytes.len());
        }
    }
}
