//! Programs that run beside the daemon: when they start again, and how they end. Read CLUSTER g.5 first.
//!
//! ```text
//! Idle --start--> Running --ends--> Waiting --> Running ...     again at once, after a second, or never
//!                    |                 |
//!                    +--- shutdown ----+--> Stopping --ends or 10 s--> Over
//! ```

use crate::ids::ProgramId;
use crate::input::ProgramEnd;
use crate::time::Instant;
use alloc::vec::Vec;
use core::time::Duration;

/// A life shorter than this is a short one.
const SHORT: Duration = Duration::from_secs(30);
/// So many short lives in a row are the last.
const SHORT_LIVES_MAX: u32 = 10;
/// The pause after the second short life in a row and those that follow.
const PAUSE: Duration = Duration::from_secs(1);
/// The exit code of a program that does not want to be started again.
const NEVER_AGAIN: i32 = 100;
/// How long the end of a program is waited for; the shell ends it by force before that.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Where a program is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
enum Stage {
    #[default]
    Idle,
    Running,
    Waiting,
    Stopping,
    Over,
}

#[derive(Clone, Copy, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Run {
    stage: Stage,
    started: Instant,
    /// Short lives in a row.
    short: u32,
}

/// What to do now that a program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is not one of ours, or was over before.
    Nothing,
    /// Start it again, then.
    Again(Instant),
    /// It does not want to run here.
    Unwanted,
    /// It ends too often.
    TooFast,
    /// This node cannot do without it.
    Fatal,
    /// It was told to end.
    Stopped,
}

/// All programs, by position in ha.cf.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Programs {
    runs: Vec<Run>,
    /// One that this node cannot do without has failed.
    pub(crate) has_failed: bool,
    /// Nothing else keeps the node from ending.
    pub(crate) is_last: bool,
}

impl Programs {
    pub(crate) fn new(count: usize) -> Programs {
        Programs { runs: alloc::vec![Run::default(); count], ..Programs::default() }
    }

    /// How many there are.
    #[cfg(feature = "trace")]
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The program is started now.
    pub(crate) fn start(&mut self, program: ProgramId, now: Instant) -> bool {
        let Some(run) = self.runs.get_mut(program.index()) else { return false };
        let may = matches!(run.stage, Stage::Idle | Stage::Waiting);
        if may {
            run.stage = Stage::Running;
            run.started = now;
        }
        may
    }

    /// The program ended.
    pub(crate) fn end(&mut self, program: ProgramId, end: &ProgramEnd, failfast: bool, now: Instant) -> Next {
        let Some(run) = self.runs.get_mut(program.index()) else { return Next::Nothing };
        match run.stage {
            Stage::Running => {}
            Stage::Stopping => {
                run.stage = Stage::Over;
                return Next::Stopped;
            }
            Stage::Idle | Stage::Waiting | Stage::Over => return Next::Nothing,
        }
        run.stage = Stage::Over;
        let is_clean = matches!(end, ProgramEnd::Exited { code: 0, .. });
        if failfast && !is_clean {
            self.has_failed = true;
            return Next::Fatal;
        }
        if matches!(end, ProgramEnd::Exited { code: NEVER_AGAIN, .. }) {
            return Next::Unwanted;
        }
        let was_short = now.since(run.started) < SHORT;
        run.short = if was_short { run.short.saturating_add(1) } else { 0 };
        if run.short > SHORT_LIVES_MAX {
            return Next::TooFast;
        }
        run.stage = Stage::Waiting;
        Next::Again(if run.short > 1 { now.plus(PAUSE) } else { now })
    }

    /// The next program to be told to end, the last started first; `None` while one is ending, and when all are over.
    pub(crate) fn stop_next(&mut self) -> Option<ProgramId> {
        if self.runs.iter().any(|run| run.stage == Stage::Stopping) {
            return None;
        }
        let (at, run) = self.runs.iter_mut().enumerate().rev().find(|(_, run)| run.stage == Stage::Running)?;
        run.stage = Stage::Stopping;
        u16::try_from(at).ok().map(ProgramId)
    }

    /// Nothing is started any more.
    pub(crate) fn close(&mut self) {
        for run in self.runs.iter_mut().filter(|run| matches!(run.stage, Stage::Idle | Stage::Waiting)) {
            run.stage = Stage::Over;
        }
    }

    /// The program was told to end and is waited for no longer.
    pub(crate) fn give_up(&mut self, program: ProgramId) -> bool {
        let Some(run) = self.runs.get_mut(program.index()).filter(|run| run.stage == Stage::Stopping) else {
            return false;
        };
        run.stage = Stage::Over;
        true
    }

    /// Whether the program waits for its next start.
    pub(crate) fn is_waiting(&self, program: ProgramId) -> bool {
        self.runs.get(program.index()).is_some_and(|run| run.stage == Stage::Waiting)
    }

    /// Whether none runs.
    pub(crate) fn are_over(&self) -> bool {
        !self.runs.iter().any(|run| matches!(run.stage, Stage::Running | Stage::Stopping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ProgramId = ProgramId(0);

    fn at(seconds: u64) -> Instant {
        Instant::after_origin(Duration::from_secs(seconds))
    }

    fn exited(code: i32) -> ProgramEnd {
        ProgramEnd::Exited { pid: 1, code }
    }

    #[test]
    fn the_first_restart_is_at_once_the_next_after_a_second_the_eleventh_never() {
        let mut programs = Programs::new(1);
        assert!(programs.start(ONE, at(0)));
        assert_eq!(programs.end(ONE, &exited(1), false, at(0)), Next::Again(at(0)));
        for short in 2..=10 {
            assert!(programs.start(ONE, at(short)));
            assert_eq!(programs.end(ONE, &exited(1), false, at(short)), Next::Again(at(short + 1)), "{short}");
        }
        assert!(programs.start(ONE, at(20)));
        assert_eq!(programs.end(ONE, &exited(1), false, at(20)), Next::TooFast);
        assert!(!programs.start(ONE, at(21)));
    }

    #[test]
    fn a_long_life_redeems() {
        let mut programs = Programs::new(1);
        for _ in 0..30 {
            assert!(programs.start(ONE, at(0)));
            assert_eq!(programs.end(ONE, &exited(0), false, at(30)), Next::Again(at(30)));
        }
    }

    #[test]
    fn code_100_is_the_last_word_and_failfast_is_fatal() {
        for (end, failfast, next) in [
            (exited(100), false, Next::Unwanted),
            (exited(100), true, Next::Fatal),
            (exited(0), true, Next::Again(at(9))),
            (ProgramEnd::Killed { pid: 1, signal: 9 }, true, Next::Fatal),
            (ProgramEnd::Killed { pid: 1, signal: 9 }, false, Next::Again(at(9))),
            (ProgramEnd::NotStarted("no".into()), false, Next::Again(at(9))),
        ] {
            let mut programs = Programs::new(1);
            assert!(programs.start(ONE, at(9)));
            assert_eq!(programs.end(ONE, &end, failfast, at(9)), next, "{end:?} {failfast}");
        }
    }

    #[test]
    fn programs_are_stopped_one_by_one_the_last_first() {
        let mut programs = Programs::new(3);
        for number in 0..3 {
            assert!(programs.start(ProgramId(number), at(0)));
        }
        assert_eq!(programs.end(ProgramId(1), &exited(100), false, at(1)), Next::Unwanted);
        programs.close();
        assert_eq!((programs.stop_next(), programs.stop_next()), (Some(ProgramId(2)), None));
        assert_eq!(programs.end(ProgramId(2), &exited(0), false, at(1)), Next::Stopped);
        assert_eq!(programs.stop_next(), Some(ProgramId(0)));
        assert!(!programs.are_over());
        assert!(programs.give_up(ProgramId(0)) && programs.are_over());
    }
}
