//! Users and groups of this machine, asked for at the start only: the answer may come over a network.

use hb_core::Accounts;
use hb_core::config::Config;
use nix::unistd::{Group, User};

/// The number of a user, named or written as a number.
pub(crate) fn user(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
}

/// The number of a group, named or written as a number.
pub(crate) fn group(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()))
}

/// The numbers by which a node judges its clients; names that this machine does not have are left out.
pub(crate) fn resolve(config: &Config) -> Accounts {
    let (users, groups) = config.accounts();
    let numbers = |names: std::collections::BTreeSet<&str>, number: fn(&str) -> Option<u32>| {
        names.into_iter().filter_map(|name| Some((name.to_owned(), number(name)?))).collect()
    };
    Accounts { users: numbers(users, user), groups: numbers(groups, group) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_accounts() {
        assert_eq!((user("root"), group("root"), user("12345")), (Some(0), Some(0), Some(12345)));
        assert_eq!(user("no such user"), None);
    }
}
