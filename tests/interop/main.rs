//! Ours beside a real Heartbeat 3.0.6, in one cluster: what each shows and where the addresses are, at every step.
//!
//! Where the kernel forbids namespaces, or the Debian package `heartbeat` is missing, every test counts as ignored, with the
//! reason beside it. The tests mostly wait, so many run side by side. A new file of tests is one more module and one more
//! line in `tests`.

mod alike;
mod changes;
mod compression;
mod ipfail;
mod joining;
mod keys;
mod loss;
mod media;
mod membership;
mod pings;
mod scene;
mod strangers;
mod three;

use hb_shell::net::namespace;
use hb_tests::real;
use libtest_mimic::{Arguments, Completion, Trial};

use crate::scene::Outcome;

/// How many tests run side by side: few enough that no node of them is late by a dead time on two processors.
const SIDE_BY_SIDE: usize = 10;

/// A fault of the original, seen about once in fifty starts on a busy machine: it drops a message of its own scripts, here the
/// one that starts a group of its own, which then stays down.
const DROPS_ITS_OWN: &str = "msg2string: Message with zero fields";
/// How often a test is begun again because of that.
const AGAIN: usize = 2;

/// A named test.
struct Test {
    name: String,
    run: Box<dyn Fn() -> Outcome + Send>,
}

impl Test {
    fn new(name: impl Into<String>, run: impl Fn() -> Outcome + Send + 'static) -> Test {
        Test { name: name.into(), run: Box::new(run) }
    }
}

fn tests() -> Vec<Test> {
    [
        alike::tests(),
        changes::tests(),
        compression::tests(),
        ipfail::tests(),
        joining::tests(),
        keys::tests(),
        loss::tests(),
        media::tests(),
        membership::tests(),
        pings::tests(),
        strangers::tests(),
        three::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs a test, once more where the original failed on its own.
fn run(test: &Test) -> Outcome {
    for _ in 0..AGAIN {
        match (test.run)() {
            Err(error) if format!("{error:#}").contains(DROPS_ITS_OWN) => {
                eprintln!(
                    "{}: again, since the real Heartbeat dropped a message of its own: {DROPS_ITS_OWN}",
                    test.name
                );
            }
            outcome => return outcome,
        }
    }
    (test.run)()
}

fn main() {
    // Before anything starts a thread.
    let entered = namespace::enter();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let hindrance = entered.err().map(|error| error.to_string()).or_else(real::missing);
    let trials = tests().into_iter().map(|test| {
        let hindrance = hindrance.clone();
        Trial::ignorable_test(test.name.clone(), move || match hindrance {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => run(&test).map_err(|error| format!("{error:#}").into()),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
