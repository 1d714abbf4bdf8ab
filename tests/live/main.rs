//! Tests against the real kernel: machines of namespaces, real packets, real programs.
//!
//! Where the kernel forbids namespaces every test counts as ignored, with the reason beside it.
//! A new file of tests is one more module and one more line in `trials`.

mod addresses;
mod agents;
mod announcements;
mod clients;
mod configurations;
mod control;
mod daemons;
mod disk_lock;
mod drbddisk;
mod fencing;
mod filesystem;
mod guard;
mod hanging_start;
mod hostile;
mod ldirectord;
mod mac;
mod machines;
mod ocf;
mod outages;
mod pings;
mod propagate;
mod recordings;
mod reloads;
mod resource_types;
mod scene;
mod scripts;
mod serial;
mod tools;

use hb_shell::net::namespace;
use libtest_mimic::{Arguments, Completion, Trial};

use crate::scene::Outcome;

/// A named test.
type Test = (&'static str, fn() -> Outcome);

fn tests() -> Vec<Test> {
    let world =
        [addresses::TESTS, announcements::TESTS, clients::TESTS, control::TESTS, machines::TESTS, outages::TESTS]
            .concat();
    let daemons = [
        configurations::TESTS,
        daemons::TESTS,
        disk_lock::TESTS,
        fencing::TESTS,
        guard::TESTS,
        hanging_start::TESTS,
        hostile::TESTS,
        mac::TESTS,
        pings::TESTS,
        recordings::TESTS,
        reloads::TESTS,
        scripts::TESTS,
        serial::TESTS,
    ]
    .concat();
    let tools = [propagate::TESTS, tools::TESTS].concat();
    let agents = [drbddisk::TESTS, filesystem::TESTS, ldirectord::TESTS, ocf::TESTS, resource_types::TESTS].concat();
    [world, daemons, tools, agents].concat()
}

fn main() {
    // Before anything starts a thread.
    let entered = namespace::enter();
    let arguments = Arguments::from_args();
    let hindrance = entered.err().map(|error| error.to_string());
    let trials = tests().into_iter().map(|(name, test)| {
        let hindrance = hindrance.clone();
        Trial::ignorable_test(name, move || match hindrance {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => test().map_err(|error| format!("{error:#}").into()),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
