//! How a resource script is called, and what its end means (CLUSTER d.1, d.3 to d.5).

use std::path::Path;
use std::time::Duration;

use hb_core::config::{Resource, ScriptCall, ScriptClass};
use hb_core::ids::OpId;
use hb_core::resource::script::{argument, outcome};
use hb_core::{Failure, Outcome, ResourceRun, Transcript, Verb};

use crate::config::INIT_DIR;
use crate::ocf;
use crate::process::{End, Finished, ScriptRun};

/// The script of a call, by name where directories are searched for it, else by path.
pub(crate) fn script_run(op: OpId, call: &ScriptCall, verb: Verb, limit: Duration) -> ScriptRun {
    let (script, args, env) = match &call.class {
        ScriptClass::Heartbeat => (call.name.clone(), call.args.clone(), Vec::new()),
        ScriptClass::Lsb => (Path::new(INIT_DIR).join(&call.name).display().to_string(), call.args.clone(), Vec::new()),
        ScriptClass::Ocf { provider } => {
            let root = ocf::root();
            let agent = ocf::path(&root, provider, &call.name).display().to_string();
            (agent, Vec::new(), ocf::variables(&root, provider, call))
        }
    };
    ScriptRun { op, script, args, action: argument(&call.class, verb).to_owned(), env, limit }
}

/// What the end of a script means.
pub(crate) fn outcome_of(run: &ResourceRun, finished: &Finished) -> Outcome {
    match &finished.end {
        End::Exited(code) => {
            let class = match &run.resource {
                Resource::Script(call) => &call.class,
                Resource::Address(_) => &ScriptClass::Heartbeat,
            };
            outcome(class, run.verb, *code, &finished.stdout)
        }
        End::Killed(signal) => Outcome::Failed(Failure::Signal(*signal)),
        End::TimedOut => {
            let seconds = u32::try_from(run.limit.as_secs()).unwrap_or(u32::MAX);
            Outcome::Failed(Failure::TimedOut(seconds))
        }
        End::NotFound => Outcome::Failed(Failure::NoScript),
        End::NotStarted(why) => Outcome::Failed(Failure::Machine(why.clone())),
    }
}

/// What a script leaves for the log.
pub(crate) fn transcript_of(finished: &Finished) -> Transcript {
    let code = if let End::Exited(code) = &finished.end { Some(*code) } else { None };
    Transcript::new(code, &finished.stdout, &finished.stderr)
}
