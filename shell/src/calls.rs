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
use crate::unfinished::Effort;

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
    let action = argument(&call.class, verb).to_owned();
    let changes = matches!(verb, Verb::Start | Verb::Stop);
    let effort = changes.then(|| Effort { resource: call.word.clone(), verb });
    ScriptRun { op, script, args, action, env, limit, effort }
}

/// What the end of an operation's script means.
pub(crate) fn outcome_of(run: &ResourceRun, finished: &Finished) -> Outcome {
    let class = match &run.resource {
        Resource::Script(call) => &call.class,
        Resource::Address(_) => &ScriptClass::Heartbeat,
    };
    meaning(class, run.verb, run.limit, finished)
}

/// What the end of a script of that class means.
pub(crate) fn meaning(class: &ScriptClass, verb: Verb, limit: Duration, finished: &Finished) -> Outcome {
    match &finished.end {
        End::Exited(code) => outcome(class, verb, *code, &finished.stdout),
        End::Killed(signal) => Outcome::Failed(Failure::Signal(*signal)),
        End::TimedOut => {
            let seconds = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX);
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

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::{Config, SourceText, Sources};
    use hb_core::ids::GroupId;

    fn resource(word: &str) -> Resource {
        let text = |name, bytes| SourceText { name, bytes };
        let haresources = format!("alpha {word}");
        let reading = Config::read(&Sources {
            local_name: "alpha",
            ha_cf: text("ha.cf", b"node alpha\nbcast lo\nauto_failback on\nlogfacility none\n"),
            haresources: Some(text("haresources", haresources.as_bytes())),
            authkeys: text("authkeys", b"auth 1\n1 sha1 k\n"),
        });
        reading.groups.into_iter().flat_map(|group| group.resources).next().unwrap()
    }

    fn called(word: &str, verb: Verb) -> ScriptRun {
        let Resource::Script(call) = resource(word) else { panic!("{word}") };
        script_run(OpId(1), &call, verb, Duration::from_secs(5))
    }

    #[test]
    fn each_class_is_called_its_own_way() {
        let run = called("Web::a::b", Verb::Monitor);
        assert_eq!((run.script.as_str(), run.args.join(" "), run.action.as_str()), ("Web", "a b".into(), "status"));
        assert_eq!(run.env, []);
        let run = called("lsb:web::a", Verb::Start);
        assert_eq!(
            (run.script.as_str(), run.args.join(" "), run.action.as_str()),
            ("/etc/init.d/web", "a".into(), "start")
        );
        let run = called("ocf:me:Web::a=b", Verb::Status);
        let agent = ocf::root().join("resource.d/me/Web").display().to_string();
        assert_eq!((run.script, run.args.len(), run.action.as_str()), (agent, 0, "monitor"));
        assert!(run.env.contains(&("OCF_RESKEY_a".into(), "b".into())), "{:?}", run.env);
    }

    #[test]
    fn every_end_has_a_meaning() {
        let outcome = |word: &str, verb, end: End, stdout: &str| {
            let limit = Duration::from_millis(7999);
            let run = ResourceRun { group: GroupId(0), resource: resource(word), verb, limit };
            let (stdout, took) = (stdout.as_bytes().to_vec(), Duration::ZERO);
            outcome_of(&run, &Finished { op: OpId(1), end, stdout, stderr: Vec::new(), took })
        };
        let failed = Outcome::Failed;
        for (word, verb, end, stdout, expected) in [
            ("Web", Verb::Status, End::Exited(1), "running", Outcome::Running),
            ("Web", Verb::Start, End::Exited(1), "running", failed(Failure::ExitCode(1))),
            ("Web", Verb::Stop, End::Exited(0), "", Outcome::Done),
            ("ocf:me:Web", Verb::Monitor, End::Exited(7), "running", Outcome::NotRunning),
            ("lsb:web", Verb::Monitor, End::Exited(0), "not running", Outcome::Running),
            ("Web", Verb::Status, End::Killed(9), "running", failed(Failure::Signal(9))),
            ("Web", Verb::Status, End::TimedOut, "running", failed(Failure::TimedOut(7))),
            ("Web", Verb::Stop, End::NotFound, "", failed(Failure::NoScript)),
            ("Web", Verb::Stop, End::NotStarted("no".into()), "", failed(Failure::Machine("no".into()))),
        ] {
            assert_eq!(outcome(word, verb, end.clone(), stdout), expected, "{word} {verb:?} {end:?}");
        }
    }
}
