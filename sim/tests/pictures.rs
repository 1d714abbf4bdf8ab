//! What a run looks like: one picture as a snapshot, and that every picture is XML whatever the names are.

use hb_sim::swimlane::{Heading, View, draw};
use hb_sim::{Detail, Plan, library};

/// Two owners, lost packets, a violation: most of what a picture can have.
const PARTITION: &str = "title a partition without any means against it\nbase C2\nset auto_failback on\nboot h1 h2\nsettle\n\
    at 0 cut h1\nat 5 heal h1\nend 12\n";

fn picture(name: &str, text: &str, seed: u64) -> String {
    let plan = Plan::parse(name, text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, text)));
    let (world, _) = hb_sim::run::play(&plan, seed, Detail::Packets);
    let note = format!("{name}, seed {seed}");
    draw(&world.recording, &Heading { title: plan.title.clone(), note, view: View::World })
}

#[test]
fn a_partition_is_drawn_as_always() {
    insta::assert_snapshot!("partition", picture("partition", PARTITION, 1));
}

#[test]
fn pictures_are_well_formed_and_name_their_hosts() {
    for name in ["F1", "F4", "P1", "S3", "T1"] {
        let svg = picture(name, library::find(name).unwrap(), 1);
        let document = roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{name}: {error}"));
        let texts: Vec<&str> = document.descendants().filter_map(|node| node.text()).map(str::trim).collect();
        assert!(["h1", "h2"].iter().all(|host| texts.contains(host)), "{name}");
    }
}

#[test]
fn no_text_breaks_the_picture() {
    let heading = Heading {
        title: "<svg> & \"quotes\" ' \u{0} \u{1b}[1m \u{ffff} ]]>".into(),
        note: "</text>".into(),
        view: View::Node,
    };
    let plan = Plan::parse("partition", PARTITION).unwrap();
    let (mut world, _) = hb_sim::run::play(&plan, 1, Detail::Packets);
    let recording = &mut world.recording;
    recording.hosts[0] = "<&>".repeat(100);
    recording.groups[0] = "\u{65e5}\u{672c}".repeat(50);
    let svg = draw(recording, &heading);
    let document = roxmltree::Document::parse(&svg).unwrap();
    assert!(
        document
            .descendants()
            .filter_map(|node| node.text())
            .any(|text| text.trim().starts_with("<svg> & \"quotes\" '"))
    );
}

#[test]
fn an_empty_recording_is_a_picture() {
    let svg = draw(&hb_sim::Recording::default(), &Heading::default());
    assert!(roxmltree::Document::parse(&svg).is_ok(), "{svg}");
}

/// Machines that freeze, daemons that wait, devices, dozens of marks.
#[test]
fn a_storm_is_a_picture() {
    let plan = hb_sim::search::generate::plan(7, 4, hb_sim::search::generate::Promise::Any);
    let (world, _) = hb_sim::run::play(&plan, 7, Detail::Packets);
    let svg = draw(&world.recording, &Heading::default());
    assert!(roxmltree::Document::parse(&svg).is_ok());
    assert!(svg.len() < 500_000, "{} bytes for ten minutes", svg.len());
}
