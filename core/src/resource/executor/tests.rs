//! One node's executor with a machine that does what it is told.

use super::*;
use crate::action::{Action, ResourceRun};
use crate::config::{SourceText, Sources};
use crate::deadlines::{Deadlines, Timer};
use crate::input::Failure;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

const A: GroupId = GroupId(0);
const WEB: GroupId = GroupId(1);
const ME: ClientId = ClientId(7);

struct Bench {
    config: Config,
    deadlines: Deadlines,
    actions: Vec<Action>,
    executor: Executor,
    now: Instant,
    /// Operations that have begun and not ended.
    begun: VecDeque<(OpId, ResourceRun)>,
    /// What was begun, as `Tst::A start`.
    history: Vec<String>,
    log: Vec<String>,
    replies: Vec<Response>,
    reboots: usize,
}

impl Bench {
    fn new(ha_cf: &str) -> Bench {
        let text = |name, bytes| SourceText { name, bytes };
        let ha_cf = format!("node h1 h2\nbcast eth0\nauto_failback on\nlogfacility none\n{ha_cf}");
        let config = Config::read(&Sources {
            local_name: "h1",
            ha_cf: text("ha.cf", ha_cf.as_bytes()),
            haresources: Some(text("haresources", b"h1 10.0.0.1/24/eth0 Tst::A Tst::B\nh2 Web\n")),
            authkeys: text("authkeys", b"auth 1\n1 sha1 k\n"),
        });
        let config = config.config.unwrap_or_else(|| panic!("{:?}", config.diagnostics));
        let now = Instant::after_origin(Duration::from_secs(100));
        Bench {
            executor: Executor::new(now, &config),
            config,
            deadlines: Deadlines::default(),
            actions: Vec::new(),
            now,
            begun: VecDeque::new(),
            history: Vec::new(),
            log: Vec::new(),
            replies: Vec::new(),
            reboots: 0,
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Executor, &mut Context<'_>)) {
        let mut context = Context::new(self.now, &self.config, &mut self.deadlines, &mut self.actions);
        act(&mut self.executor, &mut context);
        for action in self.actions.drain(..) {
            match action {
                Action::RunResource { op, run } => {
                    self.history.push(format!("{} {}", run.resource, run.verb.word()));
                    self.begun.push_back((op, run));
                }
                Action::Report(event) => self.log.push(event.to_string()),
                Action::Reply { client, response } => {
                    assert_eq!(client, ME);
                    self.replies.push(response);
                }
                Action::Reboot => self.reboots += 1,
                _ => {}
            }
        }
    }

    fn want(&mut self, group: GroupId, wanted: bool) {
        self.act(|executor, cx| executor.want(cx, group, wanted));
    }

    /// The operation `what` ends.
    fn end(&mut self, what: &str, outcome: Outcome) {
        let is_it = |(_, run): &(OpId, ResourceRun)| format!("{} {}", run.resource, run.verb.word()) == what;
        let at = self.begun.iter().position(is_it).unwrap_or_else(|| panic!("{what} of {:?}", self.begun));
        let (op, _) = self.begun.remove(at).unwrap();
        self.now = self.now.plus(Duration::from_millis(10));
        self.act(|executor, cx| executor.on_done(cx, op, outcome, Transcript::new(Some(0), b"line\n", b"")));
    }

    /// Everything ends as it should, until nothing is under way.
    fn settle(&mut self) {
        while let Some((_, run)) = self.begun.front() {
            let what = format!("{} {}", run.resource, run.verb.word());
            let outcome = match run.verb {
                Verb::Start | Verb::Stop => Outcome::Done,
                Verb::Status => Outcome::NotRunning,
                Verb::Monitor => Outcome::Running,
            };
            self.end(&what, outcome);
        }
    }

    /// Time passes until something is begun; what is due happens.
    fn pass(&mut self, span: Duration) {
        let (end, before) = (self.now.plus(span), self.begun.len());
        while let Some(next) = self.deadlines.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            while let Some(timer) = self.deadlines.take_due(self.now) {
                self.act(|executor, cx| match timer {
                    Timer::StopRetry(group) => executor.on_retry(cx, group),
                    Timer::Monitor(group) => executor.on_monitor(cx, group),
                    Timer::Announce => executor.on_announce(cx),
                    other => panic!("{other:?}"),
                });
            }
            if self.begun.len() > before {
                return;
            }
        }
        self.now = end;
    }

    fn started(ha_cf: &str) -> Bench {
        let mut bench = Bench::new(ha_cf);
        bench.want(A, true);
        bench.settle();
        assert_eq!(bench.executor.doing(A), Doing::Running);
        bench.history.clear();
        bench
    }

    fn taken(&mut self) -> Vec<String> {
        core::mem::take(&mut self.history)
    }

    #[track_caller]
    fn has_logged(&self, text: &str) {
        assert!(self.log.iter().any(|line| line.contains(text)), "{text}: {:#?}", self.log);
    }
}

const FAILED: Outcome = Outcome::Failed(Failure::ExitCode(1));

#[test]
fn all_scripts_are_asked_at_once_and_the_address_waits_for_none_of_them() {
    let mut bench = Bench::new("");
    bench.want(A, true);
    assert_eq!(bench.taken(), ["10.0.0.1/24/eth0 start", "Tst::A status", "Tst::B status"]);
    bench.end("10.0.0.1/24/eth0 start", Outcome::Done);
    bench.end("Tst::B status", Outcome::Running);
    assert_eq!(bench.taken(), [""; 0], "nobody knows whether Tst::A runs");
    bench.end("Tst::A status", Outcome::NotRunning);
    assert_eq!(bench.taken(), ["Tst::A start"]);
    bench.end("Tst::A start", Outcome::Done);
    assert_eq!((bench.executor.doing(A), bench.taken()), (Doing::Running, Vec::new()));
    bench.has_logged("Tst::A start: done after 10 ms, exit code 0: line");
}

#[test]
fn a_start_that_fails_waits_for_the_answers_and_stops_what_they_found_running() {
    let mut bench = Bench::new("");
    bench.want(A, true);
    bench.end("10.0.0.1/24/eth0 start", FAILED);
    assert_eq!(bench.begun.len(), 2, "the scripts are still asked");
    bench.end("Tst::A status", Outcome::NotRunning);
    bench.taken();
    bench.end("Tst::B status", Outcome::Running);
    bench.settle();
    assert_eq!(bench.taken(), ["Tst::B stop", "Tst::A stop", "10.0.0.1/24/eth0 stop"]);
    assert_eq!(bench.executor.doing(A), Doing::Failed);
    let blame = bench.executor.blame(A).map(ToString::to_string);
    assert_eq!(blame.as_deref(), Some("10.0.0.1/24/eth0 start: Return code 1"));
}

#[test]
fn who_is_not_wanted_any_more_while_it_is_asked_is_stopped_as_far_as_it_runs() {
    let mut bench = Bench::new("");
    bench.want(WEB, true);
    bench.want(WEB, false);
    bench.end("Web status", Outcome::NotRunning);
    assert_eq!((bench.executor.doing(WEB), bench.taken()), (Doing::Stopped, alloc::vec!["Web status".to_string()]));
    bench.want(WEB, true);
    bench.want(WEB, false);
    bench.end("Web status", Outcome::Running);
    assert_eq!(bench.taken(), ["Web status", "Web stop"]);
}

#[test]
fn at_the_start_of_the_node_what_runs_is_stopped_from_right_to_left_and_the_rest_left_alone() {
    let mut bench = Bench::new("");
    bench.act(|executor, cx| executor.probe(cx, &[]));
    assert_eq!(bench.taken(), ["10.0.0.1/24/eth0 status", "Tst::A status", "Tst::B status", "Web status"]);
    bench.end("Web status", Outcome::NotRunning);
    assert_eq!((bench.executor.doing(WEB), bench.executor.doing(A)), (Doing::Stopped, Doing::Probing));
    bench.end("10.0.0.1/24/eth0 status", Outcome::Failed(Failure::Machine("no route".into())));
    bench.end("Tst::A status", Outcome::Running);
    bench.end("Tst::B status", Outcome::NotRunning);
    assert!(bench.executor.is_probing(), "it is being stopped");
    assert_eq!(bench.taken(), ["Tst::A stop"]);
    bench.has_logged("Tst::A runs here already");
    bench.end("Tst::A stop", Outcome::Done);
    assert_eq!((bench.executor.is_probing(), bench.executor.doing(A), bench.begun.len()), (false, Doing::Stopped, 0));
}

#[test]
fn what_an_earlier_life_did_not_see_end_is_stopped_without_being_asked() {
    let mut bench = Bench::new("");
    let cut_short = ["Tst::B".to_string(), "Tst".to_string(), "Web".to_string()];
    bench.act(|executor, cx| executor.probe(cx, &cut_short));
    assert_eq!(bench.taken(), ["10.0.0.1/24/eth0 status", "Tst::A status", "Web stop"]);
    bench.has_logged("Tst::B: an earlier heartbeat did not see the end of its start or stop");
    bench.end("10.0.0.1/24/eth0 status", Outcome::NotRunning);
    bench.end("Tst::A status", Outcome::NotRunning);
    bench.end("Tst::B stop", Outcome::Done);
    bench.end("Web stop", Outcome::Done);
    assert_eq!((bench.executor.is_probing(), bench.begun.len()), (false, 0));
    assert_eq!((bench.executor.doing(A), bench.executor.doing(WEB)), (Doing::Stopped, Doing::Stopped));
}

#[test]
fn what_cannot_be_told_at_the_start_of_the_node_is_stopped_and_what_cannot_be_stopped_is_stuck() {
    let mut bench = Bench::new("stop_retries 1\n");
    bench.act(|executor, cx| executor.probe(cx, &[]));
    bench.end("Web status", Outcome::Failed(Failure::TimedOut(60)));
    assert_eq!(bench.taken().pop().as_deref(), Some("Web stop"));
    bench.end("Web stop", FAILED);
    bench.settle();
    bench.pass(Duration::from_secs(2));
    bench.end("Web stop", FAILED);
    bench.end("Web status", FAILED);
    assert_eq!((bench.executor.doing(WEB), bench.executor.is_probing()), (Doing::Stuck, false));
}

#[test]
fn a_wish_that_comes_while_the_node_looks_around_is_obeyed_afterwards() {
    let mut bench = Bench::new("");
    bench.act(|executor, cx| executor.probe(cx, &[]));
    bench.want(WEB, true);
    assert_eq!(bench.executor.doing(WEB), Doing::Probing);
    bench.end("Web status", Outcome::NotRunning);
    assert_eq!(bench.executor.doing(WEB), Doing::Starting);
}

#[test]
fn a_failed_group_stays_failed_until_it_is_cleaned_or_wanted_anew() {
    let mut bench = Bench::new("");
    bench.want(WEB, true);
    bench.end("Web status", Outcome::NotRunning);
    bench.end("Web start", FAILED);
    bench.settle();
    bench.want(WEB, false);
    assert_eq!(bench.executor.doing(WEB), Doing::Failed);
    bench.act(|executor, cx| executor.clean(cx, WEB, ME));
    assert_eq!((bench.executor.doing(WEB), bench.executor.blame(WEB)), (Doing::Stopped, None));
    assert_eq!(bench.replies, [Response::Cleaned("group Web is stopped here and may be started again".into())]);
    bench.has_logged("cleaning up group Web, which failed here: Web start: Return code 1");

    bench.want(WEB, true);
    bench.end("Web status", Outcome::NotRunning);
    bench.end("Web start", FAILED);
    bench.settle();
    bench.want(WEB, false);
    bench.want(WEB, true);
    assert_eq!(bench.executor.doing(WEB), Doing::Starting, "whoever wants it anew knows that it failed");
}

#[test]
fn a_clean_up_of_what_is_wanted_starts_it_and_waits_for_the_outcome() {
    for (outcome, reply) in [
        (Outcome::Done, Response::Cleaned("group Web runs here now".into())),
        (FAILED, Response::Cancelled(crate::action::Cancellation::StartFailed)),
    ] {
        let mut bench = Bench::new("");
        bench.want(WEB, true);
        bench.end("Web status", Outcome::NotRunning);
        bench.end("Web start", FAILED);
        bench.settle();
        bench.act(|executor, cx| executor.clean(cx, WEB, ME));
        bench.end("Web status", Outcome::NotRunning);
        assert_eq!(bench.replies, [], "it has just begun");
        bench.act(|executor, cx| executor.clean(cx, WEB, ME));
        assert_eq!(bench.replies.pop(), Some(Response::Refused(Refusal::LocalFlux)));
        bench.end("Web start", outcome);
        bench.settle();
        assert_eq!(bench.replies, [reply]);
    }
}

/// Stops Web, which fails as often as it is tried.
fn stuck(ha_cf: &str) -> Bench {
    let mut bench = Bench::new(ha_cf);
    bench.want(WEB, true);
    bench.settle();
    bench.want(WEB, false);
    for _ in 0..3 {
        bench.end("Web stop", FAILED);
        bench.pass(Duration::from_secs(1));
    }
    bench.end("Web status", Outcome::Running);
    assert_eq!(bench.executor.doing(WEB), Doing::Stuck);
    bench.history.clear();
    bench
}

#[test]
fn a_clean_up_of_what_is_stuck_is_another_round_of_stops() {
    let mut bench = stuck("stop_retries 2\n");
    bench.has_logged(
        "Resource STOP failure. Reboot required! [Web] may still run here: its group is not given to any node",
    );
    assert_eq!(bench.reboots, 0);
    bench.act(|executor, cx| executor.clean(cx, WEB, ME));
    bench.end("Web stop", FAILED);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.replies, []);
    bench.end("Web stop", Outcome::Done);
    assert_eq!(bench.replies, [Response::Cleaned("group Web is stopped here and may be started again".into())]);
    assert_eq!(bench.executor.doing(WEB), Doing::Stopped);

    let mut bench = stuck("stop_retries 2\n");
    bench.act(|executor, cx| executor.clean(cx, WEB, ME));
    for _ in 0..3 {
        bench.end("Web stop", FAILED);
        bench.pass(Duration::from_secs(1));
    }
    bench.end("Web status", Outcome::Running);
    assert_eq!(bench.replies, [Response::Cancelled(crate::action::Cancellation::StopFailed)]);
}

#[test]
fn where_nothing_failed_nothing_is_cleaned() {
    let mut bench = Bench::started("");
    bench.act(|executor, cx| executor.clean(cx, A, ME));
    bench.act(|executor, cx| executor.clean(cx, GroupId(9), ME));
    let nothing = Response::Cleaned("nothing to clean up: group 10.0.0.1/24/eth0 is running here".into());
    assert_eq!(bench.replies, [nothing, Response::Refused(Refusal::NoSuchGroup)]);
    assert_eq!(bench.taken(), [""; 0]);
}

#[test]
fn what_cannot_be_stopped_reboots_the_machine_where_that_is_configured() {
    let bench = stuck("stop_retries 2\nstop_failure reboot\n");
    assert_eq!(bench.reboots, 1);
    bench.has_logged("Resource STOP failure. Reboot required! [Web] may still run here: this machine reboots now");
}

#[test]
fn a_stop_may_be_tried_for_ever() {
    let mut bench = Bench::new("stop_retries 0\n");
    bench.want(WEB, true);
    bench.settle();
    bench.want(WEB, false);
    for _ in 0..100 {
        bench.end("Web stop", FAILED);
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.executor.doing(WEB), Doing::Stopping);
}

#[test]
fn each_verb_has_the_limit_of_its_group() {
    let mut bench = Bench::new("script_limit start 7 Web\nscript_limit status 2\nscript_limit stop 9\n");
    let limit = |bench: &Bench| bench.begun.front().map(|(_, run)| run.limit);
    bench.want(WEB, true);
    assert_eq!(limit(&bench), Some(Duration::from_secs(2)));
    bench.end("Web status", Outcome::NotRunning);
    assert_eq!(limit(&bench), Some(Duration::from_secs(7)));
    bench.end("Web start", Outcome::Done);
    bench.want(WEB, false);
    assert_eq!(limit(&bench), Some(Duration::from_secs(9)));
}

// --- monitors

/// The next monitor is begun within `span`, and ends so.
fn monitor(bench: &mut Bench, span: Duration, what: &str, outcome: Outcome) {
    bench.pass(span);
    bench.end(what, outcome);
}

const TWO: Duration = Duration::from_secs(2);

#[test]
fn without_a_directive_nobody_is_asked() {
    let mut bench = Bench::started("");
    bench.pass(Duration::from_hours(1));
    assert_eq!(bench.taken(), [""; 0]);
}

#[test]
fn who_runs_is_asked_one_at_a_time_an_interval_after_its_last_answer() {
    let mut bench = Bench::started("monitor 2\nmonitor 5 Tst::B\n");
    bench.pass(Duration::from_millis(1999));
    bench.pass(Duration::from_millis(1999));
    assert_eq!(bench.taken(), ["10.0.0.1/24/eth0 monitor"]);
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.taken(), [""; 0], "one at a time");
    bench.end("10.0.0.1/24/eth0 monitor", Outcome::Running);
    assert_eq!(bench.taken(), ["Tst::A monitor"]);
    bench.end("Tst::A monitor", Outcome::Running);
    bench.end("Tst::B monitor", Outcome::Running);
    assert_eq!(bench.executor.doing(A), Doing::Running);
}

#[test]
fn a_group_that_lost_a_resource_is_restarted_here() {
    let mut bench = Bench::started("monitor 2 fall 2 Tst::A\n");
    monitor(&mut bench, TWO, "Tst::A monitor", Outcome::NotRunning);
    assert_eq!(bench.executor.doing(A), Doing::Running, "once is not enough");
    monitor(&mut bench, TWO, "Tst::A monitor", Outcome::Running);
    monitor(&mut bench, TWO, "Tst::A monitor", FAILED);
    monitor(&mut bench, TWO, "Tst::A monitor", FAILED);
    bench.has_logged("Tst::A ceased to run here: Return code 1 (2 monitors in a row)");
    bench.has_logged("group 10.0.0.1/24/eth0 is restarted here for Tst::A: restart 1 of 3 in ten minutes");
    bench.taken();
    assert_eq!(bench.executor.doing(A), Doing::Stopping);
    bench.settle();
    assert_eq!(bench.executor.doing(A), Doing::Running);
}

#[test]
fn after_a_restart_one_failure_is_enough_until_it_was_found_running_often_enough() {
    let mut bench = Bench::started("monitor 2 fall 2 rise 2 Tst::A\n");
    for _ in 0..2 {
        monitor(&mut bench, TWO, "Tst::A monitor", FAILED);
    }
    bench.settle();
    monitor(&mut bench, TWO, "Tst::A monitor", Outcome::Running);
    monitor(&mut bench, TWO, "Tst::A monitor", FAILED);
    assert_eq!(bench.executor.doing(A), Doing::Stopping, "it owed one more success");
    bench.settle();
    for _ in 0..2 {
        monitor(&mut bench, TWO, "Tst::A monitor", Outcome::Running);
    }
    monitor(&mut bench, TWO, "Tst::A monitor", FAILED);
    assert_eq!(bench.executor.doing(A), Doing::Running, "forgiven");
}

#[test]
fn three_restarts_in_ten_minutes_are_enough() {
    let mut bench = Bench::started("monitor 2 Tst::A\n");
    for _ in 0..3 {
        monitor(&mut bench, TWO, "Tst::A monitor", Outcome::NotRunning);
        bench.settle();
        assert_eq!(bench.executor.doing(A), Doing::Running);
    }
    monitor(&mut bench, TWO, "Tst::A monitor", Outcome::NotRunning);
    bench.settle();
    assert_eq!(bench.executor.doing(A), Doing::Failed);
    let blame = bench.executor.blame(A).map(ToString::to_string);
    assert_eq!(blame.as_deref(), Some("Tst::A monitor: it does not run"));

    let mut bench = Bench::started("monitor 300 Tst::A\n");
    for _ in 0..10 {
        monitor(&mut bench, Duration::from_mins(5), "Tst::A monitor", Outcome::NotRunning);
        bench.settle();
        assert_eq!(bench.executor.doing(A), Doing::Running, "five minutes apart is seldom enough");
    }
}

#[test]
fn a_group_that_is_given_away_while_it_is_asked_is_stopped_and_not_restarted() {
    let mut bench = Bench::started("monitor 2 Tst::A\n");
    bench.pass(TWO);
    bench.want(A, false);
    assert_eq!(bench.taken(), ["Tst::A monitor"]);
    bench.end("Tst::A monitor", Outcome::NotRunning);
    bench.settle();
    assert_eq!(bench.executor.doing(A), Doing::Stopped);
    assert!(!bench.log.iter().any(|line| line.contains("restart")), "{:?}", bench.log);
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.begun, []);
}

#[test]
fn a_reload_begins_to_monitor_what_runs() {
    let mut bench = Bench::started("");
    bench.config = Bench::new("monitor 2 Tst::A\n").config;
    bench.act(Executor::renew);
    monitor(&mut bench, TWO, "Tst::A monitor", Outcome::Running);
    bench.config = Bench::new("").config;
    bench.act(Executor::renew);
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.begun, []);
}
