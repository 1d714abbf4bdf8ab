//! What the simulated world does, a few lines of a scenario each: machines, devices, clocks, links.

use hb_sim::ground::Share;
use hb_sim::label::Label;
use hb_sim::recording::{Packet, What};
use hb_sim::{Detail, Lost, Plan, Recording, Report};
use std::time::Duration;

/// A pair that rests at zero; overlaps are not what these tests are about.
const PAIR: &str = "base C2\nset auto_failback off\nboot h1 h2\nsettle\nhazards\n";

fn play(text: &str, detail: Detail) -> Report {
    let plan = Plan::parse("world", text).unwrap_or_else(|problems| panic!("{}", hb_sim::render_all(&problems, text)));
    hb_sim::run(&plan, 1, detail)
}

/// Plays a pair to which these lines happen; what they expect must come.
fn pair(lines: &str) -> Recording {
    let report = play(&format!("{PAIR}{lines}"), Detail::Lines);
    let missed: Vec<_> = report.missed().collect();
    assert!(missed.is_empty(), "{missed:?}\n{}", report.recording.timeline());
    report.recording
}

/// All packets from h1 to h2 that were sent after zero.
fn packets(lines: &str) -> (Recording, Vec<Packet>) {
    let recording = play(&format!("{PAIR}{lines}"), Detail::Packets).recording;
    let zero = recording.zero;
    let is_meant = |packet: &&Packet| (packet.from, packet.to) == (0, 1) && packet.at >= zero;
    let packets = recording.packets.iter().filter(is_meant).cloned().collect();
    (recording, packets)
}

fn millis(recording: &Recording, entry: impl Fn(&What) -> bool) -> Option<u128> {
    let entry = recording.entries.iter().find(|known| known.at >= recording.zero && entry(&known.what))?;
    Some(entry.at.since(recording.zero).as_millis())
}

/// What a device on h1 said, and when.
fn device(recording: &Recording) -> Option<(u128, String)> {
    recording.entries.iter().find_map(|entry| match &entry.what {
        What::Device(0, text) => Some((entry.at.since(recording.zero).as_millis(), text.clone())),
        _ => None,
    })
}

/// Who runs all of A so many milliseconds after zero, `-` if nobody does.
fn owners(recording: &Recording, millis: u64) -> String {
    let until = recording.zero.plus(Duration::from_millis(millis));
    let mut shares = vec![Share::Nothing; recording.hosts.len()];
    for entry in recording.entries.iter().filter(|entry| entry.at <= until) {
        if let What::Share(host, 0, share) = entry.what {
            shares[host] = share;
        }
    }
    let names = recording.hosts.iter().zip(shares).filter(|(_, share)| *share == Share::All);
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    if names.is_empty() { "-".to_owned() } else { names.join("+") }
}

/// The same at several times.
fn course<const N: usize>(lines: &str, millis: [u64; N]) -> [String; N] {
    let recording = pair(lines);
    millis.map(|millis| owners(&recording, millis))
}

/// The times between heartbeats of h1, in milliseconds.
fn rhythm(packets: &[Packet]) -> Vec<u128> {
    let beats: Vec<_> =
        packets.iter().filter(|packet| Label::of(&packet.frame).is_some_and(|label| label.is_status)).collect();
    beats.windows(2).map(|two| two[1].at.since(two[0].at).as_millis()).collect()
}

/// The generations that h1 has announced, one for each life.
fn generations(lines: &str) -> Vec<u64> {
    let (recording, _) = packets(lines);
    let frames = recording.packets.iter().filter(|packet| packet.from == 0);
    let mut generations: Vec<u64> = frames.filter_map(|packet| Some(Label::of(&packet.frame)?.generation.0)).collect();
    generations.dedup();
    generations
}

// --- daemons and machines

#[test]
fn a_stopped_process_keeps_its_addresses() {
    // Clients are answered all the time, by the kernel of the one and then by the other, too.
    assert_eq!(course("at 0 suspend h1\ngap A 1ms\nend 6\n", [2000, 4000]), ["h1", "h1+h2"]);
}

#[test]
fn a_machine_that_stands_still_answers_nobody_until_it_goes_on() {
    for stand in ["stall", "freeze"] {
        let lines = format!("at 0 {stand} h1\nat 1.9 resume h1\nend 6\n");
        let recording = pair(&format!("{lines}gap A 1901ms\n"));
        assert_eq!([0, 1899, 1900].map(|at| owners(&recording, at)), ["-", "-", "h1"]);
        assert!(!recording.has_said(1, "is dead"), "that was short");
        let report = play(&format!("{PAIR}{lines}gap A 1899ms\n"), Detail::Lines);
        assert!(!report.passed(), "a client has missed it all that time");
        // Longer than the dead time: it goes on with what it had, and the other has it as well.
        let long = format!("at 0 {stand} h1\nat 5 resume h1\nend 5.01\n");
        assert_eq!(course(&long, [2000, 4000, 5000]), ["-", "h2", "h1+h2"]);
    }
}

/// The clocks of a stalled machine have run on, those of a frozen one have not: only one of them knows that time passed.
#[test]
fn only_a_stalled_machine_buries_the_others_when_it_goes_on() {
    let buries = |stand: &str| {
        let recording = pair(&format!("at 0 {stand} h1\nat 10 resume h1\nend 30\n"));
        recording.has_said(0, "node h2: is dead") || recording.has_said(0, "Late heartbeat: Node h2")
    };
    assert!(buries("stall"));
    assert!(!buries("freeze"));
}

#[test]
fn a_killed_daemon_leaves_what_runs_and_its_script_goes_on() {
    let slow = "base C2\nset auto_failback off\nboot h1 h2\nhazards\nslow h1 Tst::A start 3\nat 2 kill h1\nend 4\n";
    let recording = play(slow, Detail::Lines).recording;
    let began = millis(&recording, |what| matches!(what, What::Runs(0, resource, true) if resource == "Tst::A"));
    assert!(began.is_some_and(|began| (3000..3500).contains(&began)), "{began:?}");
    assert!(!recording.has_said(0, "runs here"), "nobody was there to hear of it");
    assert_eq!(course("at 0 kill h1\nend 6\n", [2000, 4000]), ["h1", "h1+h2"]);
    // A machine without power runs no script.
    let recording = play(&slow.replace("kill", "crash"), Detail::Lines).recording;
    assert_eq!(millis(&recording, |what| matches!(what, What::Runs(0, resource, true) if resource == "Tst::A")), None);
}

#[test]
fn a_daemon_that_is_started_again_takes_old_addresses_away() {
    let recording = pair("at 0 kill h1\nat 1 start h1\nend 1.001\n");
    let gone = |what: &What| matches!(what, What::Runs(0, resource, false) if resource.starts_with("10.77.0.100"));
    assert_eq!(millis(&recording, gone), Some(1000));
    let script = |what: &What| matches!(what, What::Runs(0, resource, false) if resource == "Tst::A");
    assert_eq!(millis(&recording, script), None, "of scripts it knows nothing");
}

#[test]
fn what_a_lying_disk_has_not_kept_is_gone_with_the_power() {
    let first = generations("end 1\n")[0];
    let reboots = "at 0 kill h1\nat 1 start h1\nat 5 crash h1\nat 6 start h1\nend 8\n";
    assert_eq!(generations(reboots), [first, first + 1, first + 2]);
    let lies = format!("at 0 lose-writes h1\n{reboots}");
    assert_eq!(generations(&lies), [first, first + 1], "the same generation, used again");
    // Without a loss of power the cache keeps it.
    assert_eq!(generations(&lies.replace("crash", "kill")), [first, first + 1, first + 2]);
}

#[test]
fn a_link_of_a_dead_machine_leads_to_nobody() {
    let (_, packets) = packets("at 0 crash h2\nend 1\n");
    assert!(!packets.is_empty() && packets.iter().all(|packet| packet.fate == Err(Lost::NoReceiver)));
}

// --- guard, watchdog, fencing device

#[test]
fn a_guard_takes_away_what_its_daemon_left() {
    let recording = pair("guard h1 50ms\nat 0 kill h1\nend 6\n");
    assert_eq!([49, 50, 4000].map(|at| owners(&recording, at)), ["h1", "-", "h2"]);
    assert_eq!(device(&recording), Some((50, "the guard of h1 takes away what its daemon left".to_owned())));
    // Nothing died.
    assert_eq!(device(&pair("guard h1 50ms\nat 0 suspend h1\nat 1 resume h1\nat 2 stop h1\nend 8\n")), None);
    // A new life waits until the guard is done: nothing of the old one is left when it begins.
    let recording = pair("guard h1 500ms\nat 0 kill h1\nat 0.4 start h1\nend 3\n");
    assert_eq!([499, 520, 1500].map(|at| owners(&recording, at)), ["h1", "-", "h2"]);
}

#[test]
fn a_watchdog_that_nobody_feeds_resets_the_machine() {
    let reset = Some((2000, "h1 is reset by its watchdog".to_owned()));
    for fault in ["kill", "suspend", "stall"] {
        let recording = pair(&format!("watchdog h1 2\nat 0 {fault} h1\nend 6\n"));
        assert_eq!([2000, 4000].map(|at| owners(&recording, at)), ["-", "h2"], "{fault}");
        assert_eq!(device(&recording), reset, "{fault}");
    }
    // A frozen guest's watchdog is frozen, too; and what is fed again in time does nothing.
    assert_eq!(device(&pair("watchdog h1 2\nat 0 freeze h1\nat 9 resume h1\nend 12\n")), None);
    assert_eq!(device(&pair("watchdog h1 2\nat 0 stall h1\nat 1.9 resume h1\nend 12\n")), None);
    assert_eq!(device(&pair("watchdog h1 2\nat 0 kill h1\nat 1.9 start h1\nend 12\n")), None);
}

#[test]
fn a_fencing_device_works_or_lies_or_fails_or_hangs() {
    let fence = |does: &str| {
        let recording = pair(&format!("device h1 {does} 1.5\nat 0 fence h1\nend 2\n"));
        (device(&recording), [1499, 1500].map(|at| owners(&recording, at)))
    };
    let said = |text: &str| Some((1500, text.to_owned()));
    let owners = |before: &str, after: &str| [before.to_owned(), after.to_owned()];
    assert_eq!(fence("works"), (said("h1 now reset."), owners("h1", "-")));
    assert_eq!(fence("lies"), (said("h1 now reset."), owners("h1", "h1")));
    assert_eq!(fence("fails"), (said("h1 not reset!"), owners("h1", "h1")));
    assert_eq!(fence("hangs"), (None, owners("h1", "h1")));
    assert_eq!(device(&pair("at 0 fence h1\nby 0 A@h1\nend 60\n")), None, "there is no device");
}

// --- clocks

#[test]
fn a_fast_clock_makes_a_fast_heart() {
    let beats = |drift: i32| rhythm(&packets(&format!("clock h1 drift {drift}\nend 60\n")).1);
    assert!(beats(0).iter().all(|between| *between == 250));
    assert!(beats(100_000).iter().all(|between| (227..=228).contains(between)));
    assert!(beats(-100_000).iter().all(|between| (277..=278).contains(between)));
    // The dead time is counted by the same clock.
    for drift in [100_000, 0, -100_000] {
        let recording = pair(&format!("clock h2 drift {drift}\nat 0 crash h1\nend 6\n"));
        let buried = |what: &What| matches!(what, What::Said(1, _, text) if text.contains("node h1: is dead"));
        let at = millis(&recording, buried).unwrap_or_else(|| panic!("{}", recording.timeline()));
        let expected = 3_000_000_000 / u128::from(1_000_000_u32.checked_add_signed(drift).unwrap());
        assert!((expected - 300..=expected).contains(&at), "{at} {expected}");
    }
}

#[test]
fn the_wall_clock_is_said_and_nothing_else() {
    let quiet = |lines: &str| {
        pair(&format!("{lines}at 1 step-clock h1 -90000\ncalls h1 0\ncalls h2 0\nby 0 A@h1 B@h2\nend 30\n"))
    };
    let lines = quiet("").lines().filter(|line| line.who.starts_with('h')).count();
    assert_eq!(quiet("clock h1 offset 100000\n").lines().filter(|line| line.who.starts_with('h')).count(), lines);
    let times = |lines: &str| {
        let (recording, packets) = packets(lines);
        let text = |packet: &Packet| String::from_utf8_lossy(&packet.frame).into_owned();
        let stamp = |text: &str| text.split_once("(0)ts=").map(|(_, rest)| rest[..8].to_owned());
        let stamps: Vec<String> = packets.iter().filter_map(|packet| stamp(&text(packet))).collect();
        let seconds = |stamp: &String| u64::from_str_radix(stamp, 16).unwrap();
        assert!(recording.end > recording.zero);
        (seconds(&stamps[0]), seconds(stamps.last().unwrap()))
    };
    let (first, last) = times("at 1 step-clock h1 -90000\nend 11\n");
    assert!((79..=81).contains(&(first - last)), "{first} {last}");
}

#[test]
fn a_daemon_that_lags_is_late_and_never_lost() {
    let beats = rhythm(&packets("lag h1 100ms\nend 60\n").1);
    // Its heart beats so much after the last beat, not after when that should have been.
    assert!(beats.iter().any(|between| *between > 330) && beats.iter().any(|between| *between < 270), "{beats:?}");
    assert!(beats.iter().all(|between| (250..=350).contains(between)), "{beats:?}");
    // After the calm it is as quick as any.
    let (recording, packets) = packets("lag h1 100ms\ncalm 10\nend 60\n");
    let after: Vec<Packet> =
        packets.into_iter().filter(|packet| packet.at.since(recording.zero) > Duration::from_secs(12)).collect();
    assert!(rhythm(&after).iter().all(|between| *between == 250));
}

/// The socket of a daemon that does not read takes some hundred packets, and no more.
#[test]
fn a_socket_that_nobody_reads_is_full_in_the_end() {
    let is_full = |end: u32| {
        let recording = pair(&format!("at 0 suspend h1\nend {end}\n"));
        device(&recording).is_some_and(|(_, text)| text.contains("buffer is full"))
    };
    assert!(!is_full(20));
    assert!(is_full(120));
}

// --- links

#[test]
fn a_duplicated_packet_arrives_twice() {
    let (_, once) = packets("end 5\n");
    let (_, twice) = packets("net duplicate 1\nend 5\n");
    assert_eq!(twice.len(), 2 * once.len());
    for two in twice.chunks(2) {
        assert_eq!((two[0].at, &two[0].frame), (two[1].at, &two[1].frame));
        assert!(two[0].fate.unwrap() < two[1].fate.unwrap());
    }
}

#[test]
fn a_corrupted_packet_is_refused() {
    let recording = pair("at 0 net h1>h2 corrupt 1\nend 2\n");
    assert!(recording.has_said(1, "eth1"), "{}", recording.timeline());
    let refused = recording.lines().filter(|line| line.who == "h2" && line.at_us > 0).collect::<Vec<_>>();
    assert!(!refused.is_empty());
    // Nothing that came was heard: it is as if h1 were silent, in that direction alone.
    // And h1, which hears that, gives way.
    assert_eq!(course("at 0 net h1>h2 corrupt 1\nend 6\n", [2000, 4000]), ["h1", "h2"]);
    assert!(!pair("at 0 net h1>h2 corrupt 1\nend 6\n").has_said(0, "is dead"));
}

#[test]
fn a_slow_line_takes_its_time_for_every_byte() {
    let (_, packets) = packets("at 0 net h1> baud 19200\nat 0 net delay constant 1ms\nend 3\n");
    assert!(packets.len() > 5);
    let mut free = packets[0].at;
    for packet in &packets {
        // One after another; ten bits a byte, and then the way.
        let bits = u32::try_from(packet.frame.len() * 10).unwrap();
        free = free.max(packet.at).plus(Duration::from_secs(1) * bits / 19200);
        let late = packet.fate.unwrap().since(free).abs_diff(Duration::from_millis(1));
        assert!(late < Duration::from_micros(1), "{late:?} for {} bytes", packet.frame.len());
    }
}

#[test]
fn a_line_that_is_too_slow_loses_what_its_queue_cannot_hold() {
    let slow = |rules: &str| packets(&format!("at 0 net h1>h2 rate 4000\n{rules}end 20\n")).1;
    let lost = |packets: &[Packet]| packets.iter().filter(|packet| packet.fate == Err(Lost::Queue)).count();
    let (usual, short) = (slow(""), slow("at 0 net h1>h2 queue 4\n"));
    assert!(lost(&short) > lost(&usual) && lost(&usual) > 0, "{} {}", lost(&short), lost(&usual));
    // What waits longest: four packets and the one that is being sent, of some 200 bytes each.
    let waited = short.iter().filter_map(|packet| Some(packet.fate.ok()?.since(packet.at))).max().unwrap();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
    assert_eq!(lost(&slow("at 0 net h1>h2 rate unlimited\n")), 0);
}

#[test]
fn a_cut_is_told_from_bad_luck() {
    let fates = |lines: &str| packets(lines).1.iter().map(|packet| packet.fate.err()).collect::<Vec<_>>();
    assert!(fates("at 0 mute h1\nend 2\n").iter().all(|fate| *fate == Some(Lost::Cut)));
    assert!(fates("at 0 deafen h1\nend 2\n").iter().all(Option::is_none));
    assert!(fates("at 0 block h1>h2\nend 2\n").iter().all(|fate| *fate == Some(Lost::Cut)));
    assert!(fates("at 0 block h2>h1\nend 2\n").iter().all(Option::is_none));
    let half = fates("at 0 net loss 0.5\nend 60\n");
    let lost = half.iter().filter(|fate| **fate == Some(Lost::Luck)).count();
    assert!((half.len() * 4 / 10..half.len() * 6 / 10).contains(&lost), "{lost} of {}", half.len());
}
