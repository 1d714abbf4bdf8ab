//! Disks that are full, slow, gone; what a reader then finds.

use super::*;
use crate::log::Targets;
use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{Generation, MediumId, NodeUuid};
use hb_core::time::UnixTime;
use hb_core::trace::{Entries, Entry, Made, Reader, Segment, Text};
use hb_core::{Boot, Carrier};
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const HA_CF: &[u8] = b"node alpha beta\nbcast eth0\nauto_failback on\nlogfacility none\n";
const AUTHKEYS: &[u8] = b"auth 1\n1 sha1 a-secret-word\n";

/// A directory of this test, removed at its end, and a node.
struct Scene {
    directory: PathBuf,
    node: Node,
    head: Head,
    now: Instant,
    log: Option<Log>,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let directory = std::env::temp_dir().join(format!("hb-trace-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let text = |name, bytes| SourceText { name, bytes };
        let reading = Config::read(&Sources {
            local_name: "alpha",
            ha_cf: text("ha.cf", HA_CF),
            haresources: None,
            authkeys: text("authkeys", AUTHKEYS),
        });
        let config = reading.config.unwrap();
        let head = Head {
            build: "test".into(),
            local_name: "alpha".into(),
            ha_cf: Text { name: "ha.cf".into(), bytes: HA_CF.into() },
            haresources: None,
            entries: Entries::of(config.keyring()),
            reload: None,
            dropped: None,
        };
        let now = Instant::from_nanos(1_000_000_000);
        let (wall_clock, generation, uuid) = (UnixTime(1_700_000_000), Generation(1), NodeUuid([1; 16]));
        let node = Node::new(
            config,
            Boot {
                now,
                wall_clock,
                generation,
                uuid,
                seed: [1; 32],
                hostcache: hb_core::config::Hostcache::default(),
                longest_deadtime: Duration::ZERO,
                cut_short: Vec::new(),
            },
        );
        let targets = Targets { logfile: Some(directory.join("log")), ..Targets::default() };
        let log = Some(Log::open("alpha", &targets).unwrap());
        Scene { directory, node, head, now, log }
    }

    fn settings(&self, size: u64) -> Settings {
        Settings { directory: self.directory.join("trace"), size }
    }

    /// One step of the node and one turn of the recorder.
    fn turn(&mut self, recorder: &mut Recorder, input: &Input<'_>) {
        self.now = self.now.plus(Duration::from_millis(100));
        recorder.begin(self.now, input);
        for action in self.node.handle(self.now, input.clone()) {
            recorder.action(&action);
        }
        recorder.end(self.now);
        recorder.tend(self.now, &self.node, self.log.as_ref().unwrap());
    }

    /// A turn after which the thread has done everything, however slow the machine is.
    fn settled_turn(&mut self, recorder: &mut Recorder, input: &Input<'_>) {
        self.turn(recorder, input);
        while ACTIVE.with_borrow(|active| active.as_ref().unwrap().shared.waiting.load(Ordering::Relaxed)) > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// The recorder's own log lines.
    fn log(&mut self) -> Vec<String> {
        self.log.take().unwrap().close();
        let text = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        text.lines().map(|line| line.split("]: ").last().unwrap().to_owned()).collect()
    }

    /// All files of the ring, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let directory = std::fs::read_dir(self.directory.join("trace")).unwrap();
        let mut files: Vec<PathBuf> = directory.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _: std::io::Result<()> = std::fs::remove_dir_all(&self.directory);
    }
}

/// Replays a file: its steps, and what it says was dropped before it.
fn replay(path: &Path) -> (usize, Option<Dropped>) {
    let bytes = std::fs::read(path).unwrap();
    let mut entries = Reader::new(&bytes);
    let Some(Ok(Entry::Segment(segment))) = entries.next() else { panic!("{} has no beginning", path.display()) };
    let Segment { head, .. } = &*segment;
    let mut node = segment.restore(SourceText { name: "authkeys", bytes: AUTHKEYS }).unwrap();
    let mut steps = 0;
    for entry in entries {
        let Ok(Entry::Step(step)) = entry else { panic!("{entry:?}") };
        let actions: Vec<Action> = node.handle(step.now, step.input).collect();
        assert_eq!(Made::of(&actions), step.made, "step {steps} of {}", path.display());
        steps += 1;
    }
    (steps, head.dropped.clone())
}

#[test]
fn what_happened_is_on_disk_without_the_secret_and_for_nobody_else() {
    let mut scene = Scene::new("plain");
    let mut recorder = Recorder::start(&scene.settings(1 << 20), scene.head.clone(), &scene.node, scene.now).unwrap();
    for _ in 0..100 {
        scene.settled_turn(&mut recorder, &Input::Wake);
    }
    recorder.close(scene.now);
    let files = scene.files();
    assert_eq!(files.len(), 1);
    assert_eq!(replay(&files[0]), (100, None));
    assert_eq!(std::fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&files[0]).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"a-secret"));
    assert!(scene.log().is_empty());
}

#[test]
fn the_oldest_go_first_and_each_that_is_left_replays_alone() {
    let mut scene = Scene::new("ring");
    let size = 256 * 1024;
    let mut recorder = Recorder::start(&scene.settings(size), scene.head.clone(), &scene.node, scene.now).unwrap();
    for number in 0..3000_u32 {
        let garbage = number.to_le_bytes().repeat(50);
        scene.settled_turn(&mut recorder, &Input::Frame { medium: MediumId(0), bytes: &garbage });
    }
    recorder.close(scene.now);
    let files = scene.files();
    let total: u64 = files.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!(total <= size && total > size / 2, "{total}");
    assert!(!files[0].ends_with("00000001.hbtrace"), "the first is gone");
    for file in &files {
        let (steps, dropped) = replay(file);
        assert!(dropped.is_none() && steps > 0, "{}", file.display());
    }
    // A later life goes on with the numbers.
    let last = files.last().unwrap().clone();
    let recorder = Recorder::start(&scene.settings(size), scene.head.clone(), &scene.node, scene.now).unwrap();
    recorder.close(scene.now);
    assert!(*scene.files().last().unwrap() > last);
    assert!(scene.log().is_empty());
}

#[test]
fn a_full_disk_is_told_once_and_recording_goes_on_when_there_is_room() {
    let mut scene = Scene::new("full");
    let (active, mut writer, orders) = connect(&scene.settings(1 << 20), scene.head.clone(), &scene.node, scene.now);
    let mut recorder = Recorder { thread: PhantomData };
    writer.ring = writer.ring.writing_to(File::options().write(true).open("/dev/full").unwrap());
    ACTIVE.set(Some(active));
    let thread = std::thread::spawn(move || writer.run(&orders));
    let carrier = |carrier| Input::Carrier { medium: MediumId(0), carrier };
    for number in 0..200 {
        // Each is worth a line and so handed over at once.
        scene.settled_turn(&mut recorder, &carrier(if number % 2 == 0 { Carrier::Down } else { Carrier::Up }));
    }
    recorder.close(scene.now);
    thread.join().unwrap();
    let log = scene.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].contains("No space left on device") && log[0].starts_with("WARN: flight recorder: "), "{log:?}");
    assert_eq!(log[1], "info: flight recorder: recording again");
    let files = scene.files();
    let (steps, dropped) = replay(&files[0]);
    let dropped = dropped.expect("what is missing is marked");
    assert!(dropped.why.contains("No space left on device"), "{dropped:?}");
    assert_eq!(dropped.steps + steps as u64, 200);
    assert!(dropped.steps >= 50, "the next attempt is five seconds later");
}

#[test]
fn a_disk_that_hangs_costs_a_bounded_queue_and_never_the_loop() {
    let mut scene = Scene::new("hang");
    let (mut active, writer, orders) = connect(&scene.settings(1 << 26), scene.head.clone(), &scene.node, scene.now);
    active.begin_segment(State::of(&scene.node), None, scene.now);
    let mut recorder = Recorder { thread: PhantomData };
    ACTIVE.set(Some(active));
    // Nobody takes anything. Large packets, and no time passes: the limit of bytes is met first.
    let packet = vec![0; 50_000];
    let input = Input::Frame { medium: MediumId(0), bytes: &packet };
    for _ in 0..100 {
        recorder.begin(scene.now, &input);
        for action in scene.node.handle(scene.now, input.clone()) {
            recorder.action(&action);
        }
        recorder.end(scene.now);
    }
    let waiting = ACTIVE.with_borrow(|active| active.as_ref().unwrap().shared.waiting.load(Ordering::Relaxed));
    assert!(waiting <= WAITING_MAX && waiting > WAITING_MAX / 2, "{waiting}");
    scene.turn(&mut recorder, &Input::Wake);
    // The disk is back: what waited is written, and a new segment begins by itself.
    let thread = std::thread::spawn(move || writer.run(&orders));
    for _ in 0..200 {
        scene.settled_turn(&mut recorder, &Input::Wake);
    }
    recorder.close(scene.now);
    thread.join().unwrap();
    let files = scene.files();
    let ((before, none), (after, dropped)) = (replay(&files[0]), replay(&files[1]));
    let dropped = dropped.expect("what is missing is marked");
    assert_eq!((none, dropped.why.as_str()), (None, "the disk is too slow"));
    assert_eq!(before as u64 + dropped.steps + after as u64, 301);
    let log = scene.log();
    assert_eq!(log.len(), 2, "{log:?}");
}

#[test]
fn a_disk_that_takes_nothing_is_noticed_before_the_queue_is_full() {
    let mut scene = Scene::new("stall");
    let (active, _writer, _orders) = connect(&scene.settings(1 << 26), scene.head.clone(), &scene.node, scene.now);
    let mut recorder = Recorder { thread: PhantomData };
    ACTIVE.set(Some(active));
    for _ in 0..200 {
        scene.turn(&mut recorder, &Input::Wake);
    }
    recorder.close(scene.now);
    let log = scene.log();
    let said =
        "WARN: flight recorder: the disk has taken nothing for 10 s: what happens is not recorded until it can be";
    assert_eq!(log, [said]);
}

#[test]
fn a_directory_that_cannot_be_is_a_line_in_the_log() {
    let mut scene = Scene::new("nowhere");
    let settings = Settings { directory: scene.directory.join("log/trace"), size: 1 << 20 };
    let mut recorder = Recorder::start(&settings, scene.head.clone(), &scene.node, scene.now).unwrap();
    while ACTIVE.with_borrow(|active| active.as_ref().unwrap().mode == Mode::Recording) {
        scene.settled_turn(&mut recorder, &Input::Wake);
    }
    recorder.close(scene.now);
    let log = scene.log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("cannot write ") && log[0].contains("Not a directory"), "{log:?}");
}

#[test]
fn the_step_that_panics_is_the_last_of_the_recording() {
    let mut scene = Scene::new("panic");
    let mut recorder = Recorder::start(&scene.settings(1 << 20), scene.head.clone(), &scene.node, scene.now).unwrap();
    scene.settled_turn(&mut recorder, &Input::Wake);
    recorder.begin(scene.now, &Input::WallClock(UnixTime(7)));
    rescue();
    // A busy machine may take longer than a panic waits.
    let mut bytes = Vec::new();
    while Reader::new(&bytes).count() < 3 {
        std::thread::sleep(Duration::from_millis(1));
        bytes = scene.files().first().map_or(Vec::new(), |file| std::fs::read(file).unwrap());
    }
    let entries: Vec<_> = Reader::new(&bytes).collect();
    let Some(Ok(Entry::Step(step))) = entries.last() else { panic!("{entries:?}") };
    assert!(matches!(step.input, Input::WallClock(UnixTime(7))) && step.made == Made::default());
}

#[test]
fn a_recorder_of_no_size_makes_nothing() {
    let mut scene = Scene::new("off");
    let mut recorder = Recorder::start(&scene.settings(0), scene.head.clone(), &scene.node, scene.now).unwrap();
    scene.turn(&mut recorder, &Input::Wake);
    recorder.close(scene.now);
    assert!(!scene.directory.join("trace").exists());
}
