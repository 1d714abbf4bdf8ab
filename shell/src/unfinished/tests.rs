//! Real files and real processes: what is killed must be the script and nothing else.

use super::*;
use crate::log::Targets;
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for each test, and one child that runs until it is killed.
struct Place {
    directory: PathBuf,
    log: Log,
}

impl Place {
    fn new() -> Place {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("hb-unfinished-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let targets = Targets { logfile: None, debugfile: None, facility: None, stderr: false };
        Place { directory: std::env::temp_dir().join(name), log: Log::open("h1", &targets).unwrap() }
    }

    fn notes(&self) -> Unfinished {
        Unfinished::new(self.directory.clone())
    }

    fn settle(&self) -> Vec<String> {
        settle(&self.directory, |word| word != "Gone", &self.log)
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.directory).unwrap().count()
    }

    fn write(&self, name: &str, text: &str) {
        create_directory(&self.directory).unwrap();
        fs::write(self.directory.join(name), text).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.directory);
    }
}

fn effort(resource: &str, verb: Verb) -> Effort {
    Effort { resource: resource.to_owned(), verb }
}

/// A script under way, as the launcher starts one.
fn script(note: Note) -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("600").stdin(Stdio::null()).process_group(0);
    sys::note_start(&mut command, Arc::new(note));
    command.spawn().unwrap()
}

fn is_killed(child: &mut Child) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()) == Some(Signal::SIGKILL as i32)
}

#[test]
fn what_is_under_way_is_killed_and_named_until_a_stop_has_succeeded() {
    let place = Place::new();
    let mut child = script(place.notes().begin(&effort("Web::a b", Verb::Start)).unwrap());
    assert_eq!(place.settle(), ["Web::a b"]);
    assert!(is_killed(&mut child));
    assert_eq!(place.settle(), ["Web::a b"], "nobody has stopped it yet");
    let mut next = place.notes();
    next.begin(&effort("Web::a b", Verb::Stop)).unwrap();
    assert_eq!((place.files(), place.settle().len()), (1, 1), "the same file");
    next.succeeded("Web::a b");
    assert_eq!((place.files(), place.settle().len()), (0, 0));
}

#[test]
fn one_that_ended_by_itself_is_named_all_the_same() {
    let place = Place::new();
    let mut notes = place.notes();
    let mut child = script(notes.begin(&effort("Web", Verb::Start)).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    notes.begin(&effort("Db", Verb::Stop)).unwrap();
    assert_eq!(place.settle(), ["Web", "Db"]);
}

#[test]
fn a_process_that_only_has_the_number_is_left_alone() {
    let place = Place::new();
    let mut innocent = Command::new("/bin/sleep").arg("600").process_group(0).spawn().unwrap();
    // Long before it began.
    place.write("0", &format!("{} start Web\n{} 1000\n", boot_id(), innocent.id()));
    place.write("1", &format!("another-life-of-the-kernel start Old\n{} {}\n", innocent.id(), u64::MAX));
    assert_eq!(place.settle(), ["Web"]);
    assert!(innocent.try_wait().unwrap().is_none());
    assert_eq!(place.files(), 1, "what was up before the machine was booted is not up");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[test]
fn what_haresources_does_not_have_and_what_says_nothing_is_forgotten() {
    let place = Place::new();
    assert!(place.settle().is_empty(), "no directory");
    for (name, text) in [
        ("0", format!("{} start Gone\n", boot_id())),
        ("1", String::new()),
        ("2", "one\n".into()),
        ("3", "start Web".into()),
        ("4", format!("{} start Web\n12 ", boot_id())),
        ("05", format!("{} stop Db\nseven eight\n", boot_id())),
        ("x", format!("{} stop Other\n", boot_id())),
    ] {
        place.write(name, &text);
    }
    fs::create_dir(place.directory.join("z")).unwrap();
    assert_eq!(place.settle(), ["Web", "Db"]);
    assert_eq!(place.files(), 4, "and what is none of ours");
}

#[test]
fn a_directory_that_others_can_write_names_nothing() {
    let place = Place::new();
    let mut child = script(place.notes().begin(&effort("Web", Verb::Start)).unwrap());
    fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(place.settle().is_empty());
    assert!(child.try_wait().unwrap().is_none());
    fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.settle(), ["Web"]);
    assert!(is_killed(&mut child));
}

#[test]
fn a_number_that_cannot_be_written_keeps_no_script_from_running() {
    let place = Place::new();
    place.write("0", "");
    let file = File::open(place.directory.join("0")).unwrap();
    let mut child = script(Note { file: file.into(), at: 0 });
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_line_fits_whatever_the_numbers() {
    let mut buffer = [0; 48];
    let longest = line(&mut buffer, u32::MAX, Duration::from_nanos(u64::MAX));
    assert_eq!(longest, b"4294967295 18446744073709551615\n");
}
