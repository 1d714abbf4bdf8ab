//! A resource script as daemon and guard run it, and what its end means (CLUSTER d.3 to d.5).

use std::time::Duration;

use hb_core::config::ScriptCall;
use hb_core::ids::OpId;
use hb_core::resource::script::says_running;
use hb_core::{Failure, Outcome, Verb};

use crate::process::{End, Finished, ScriptRun};

/// How a script is run.
pub(crate) fn script_run(op: OpId, call: &ScriptCall, verb: Verb, limit: Duration) -> ScriptRun {
    ScriptRun {
        op,
        script: call.name.clone(),
        args: call.args.clone(),
        action: verb.word().to_owned(),
        env: Vec::new(),
        limit,
    }
}

/// What its end means.
pub(crate) fn outcome_of(verb: Verb, limit: Duration, finished: &Finished) -> Outcome {
    match &finished.end {
        // Of `status` only the output counts.
        End::Exited(_) if verb == Verb::Status => {
            if says_running(&finished.stdout) {
                Outcome::Running
            } else {
                Outcome::NotRunning
            }
        }
        End::Exited(0) => Outcome::Done,
        End::Exited(code) => Outcome::Failed(Failure::ExitCode(*code)),
        End::Killed(signal) => Outcome::Failed(Failure::Signal(*signal)),
        End::TimedOut => {
            let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
            Outcome::Failed(Failure::TimedOut(seconds))
        }
        End::NotFound => Outcome::Failed(Failure::NoScript),
        End::NotStarted(why) => Outcome::Failed(Failure::Machine(why.clone())),
    }
}
