//! Scenarios that the daemon does not meet yet, and what each waits for.
//!
//! They are written with what is wanted, and run with all others. One that starts to pass fails the tests until it is
//! taken off this list, so that the list never grows old.

/// Name and reason.
pub const PENDING: &[(&str, &str)] = &[];

/// What the scenario of that name waits for, if it is not met yet.
pub fn reason(name: &str) -> Option<&'static str> {
    PENDING.iter().find(|(pending, _)| *pending == name).map(|(_, reason)| *reason)
}
