use super::*;

fn sources(ha_cf: &'static str, haresources: &'static str, authkeys: &'static str) -> Sources<'static> {
    let text = |name, text: &'static str| SourceText { name, bytes: text.as_bytes() };
    Sources {
        local_name: "H2",
        ha_cf: text("ha.cf", ha_cf),
        haresources: Some(text("haresources", haresources)),
        authkeys: text("authkeys", authkeys),
    }
}

const HA_CF: &str = "node h1 h2\nbcast eth0\nauto_failback on\nlogfacility daemon\nhopfudge 3\ndebug 7\n";

#[test]
fn a_good_configuration_has_no_problems_and_answers_questions() {
    let sources = sources(HA_CF, "h1 10.0.0.1 Tst::A", "auth 1\n1 sha1 k");
    let Reading { config, diagnostics, .. } = Config::read(&sources);
    assert_eq!(diagnostics, []);
    let config = config.expect("no errors");
    assert_eq!((config.local(), config.local_name()), (NodeId(1), "h2"));
    assert_eq!((config.node_named("H1"), config.node_named("h3")), (Some(NodeId(0)), None));
    assert_eq!((config.ttl(), config.hopfudge()), (5, 3));
    assert_eq!((config.parameter("debug"), config.parameter("keepalive")), (Some("7"), None));
    assert_eq!(config.groups().len(), 1);
    assert_eq!(config, Config::read(&sources).config.expect("no errors"));
}

#[test]
fn problems_of_all_files_come_together_and_there_is_no_configuration() {
    let sources = sources("node h1\nbcast eth0\nfoo bar\n", "h7 10.0.0.1", "auth 2\n1 sha1 k");
    let Reading { config, diagnostics, .. } = Config::read(&sources);
    assert_eq!(config, None);
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.is_error()).map(|one| one.code).collect();
    assert_eq!(errors, [Code::LocalNodeMissing, Code::IllegalDirective, Code::GroupHome, Code::AuthKeyNotFound]);
}

#[test]
fn a_file_of_nothing_but_mistakes_is_given_up_early() {
    let text = alloc::string::String::from("keepalvie 1\n").repeat(80_000);
    let mut sources = sources("", "", "");
    sources.ha_cf.bytes = text.as_bytes();
    let listed = Config::read(&sources).diagnostics.iter().filter(|one| one.file.0 == "ha.cf").count();
    assert_eq!(listed, 201);
}

#[test]
fn what_could_be_read_is_there_beside_errors() {
    let sources = sources("node h1\nbcast eth0\nfoo bar\n", "h7 10.0.0.1", "");
    let reading = Config::read(&sources);
    assert_eq!((reading.media.len(), reading.groups.len()), (1, 1));
}

#[test]
fn without_haresources_there_are_no_groups() {
    let sources = Sources { haresources: None, ..sources(HA_CF, "", "auth 1\n1 sha1 k") };
    assert!(Config::read(&sources).config.expect("no errors").groups().is_empty());
}
