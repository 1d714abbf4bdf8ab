//! Laboratories: machines and cables made of namespaces, without external commands and, where the kernel allows, without
//! root.
//!
//! ```text
//!   machine "h1"        hub (a namespace of the Lab)      machine "h2"
//!   +----------+       +----------------------------+     +----------+
//!   |     eth0 |=======| port  bridge net0     port |=====| eth0     |     ===  a Cable: two ends of a veth
//!   |     eth1 |=======| port  bridge net1     port |=====| eth1     |
//!   +----------+       +----------------------------+     +----------+
//! ```
//!
//! ```no_run
//! use hb_shell::net::namespace::{self, Lab, Machine};
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     namespace::enter()?; // first thing, before any thread
//!     let mut lab = Lab::new()?;
//!     let (network, h1, h2) = (lab.network()?, Machine::new("h1", &[])?, Machine::new("h2", &[])?);
//!     let cable = lab.plug(&h1, "eth0", network, &["10.77.0.1/24".parse()?])?;
//!     lab.plug(&h2, "eth0", network, &["10.77.0.2/24".parse()?])?;
//!     lab.set_signal(cable, false)?; // pull it: both ends notice
//!     Ok(())
//! }
//! ```
//!
//! Invariants:
//! - namespaces have no names and leave no files: they end with the [`Lab`] and its machines, or with the process,
//! - programs started through [`Machine::spawn`] die with the machine, also when this process is killed,
//! - nothing reaches the networks of the computer: the process itself leaves them in [`enter`],
//! - interfaces have IPv6 without link-local addresses, so without duplicate address detection and router discovery.

mod lab;
mod machine;

use std::io;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};
use thiserror::Error;

pub use lab::{Cable, InterfaceAddress, Lab, Network, NotAnInterfaceAddress};
pub use machine::{Machine, Mount};

/// By which right the process made its namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It had the capability; user ids are those of the computer.
    Privileged,
    /// In a user namespace of its own, where it is root and no other user exists.
    UserNamespace,
}

/// Why the process cannot make namespaces; nothing was changed.
#[derive(Debug, Error)]
pub enum EnterError {
    /// The kernel or its security policy forbids user namespaces to ordinary users.
    #[error("cannot make {what} ({error}): {advice}")]
    Forbidden {
        /// What was refused.
        what: &'static str,
        /// The kernel's answer.
        error: io::Error,
        /// What the administrator can do.
        advice: String,
    },
    /// The process already runs several threads.
    #[error("user namespaces must be entered before the process starts threads; it has {0}")]
    Threads(usize),
}

/// Moves the process into its own network and mount namespaces, and into a user namespace if it lacks the right.
///
/// To be called first thing in `main`: a user namespace can only be entered by a process with a single thread.
/// Mounts made from here on are seen by nobody else.
pub fn enter() -> Result<Entered, EnterError> {
    let namespaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    let entered = match unshare(namespaces) {
        Ok(()) => Entered::Privileged,
        Err(Errno::EPERM) => {
            enter_as_ordinary_user(namespaces)?;
            Entered::UserNamespace
        }
        Err(error) => return Err(forbidden("network namespaces", error.into())),
    };
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| forbidden("private mounts", error.into()))?;
    Ok(entered)
}

fn enter_as_ordinary_user(namespaces: CloneFlags) -> Result<(), EnterError> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | namespaces).map_err(|error| {
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        match error {
            Errno::EINVAL if threads > 1 => EnterError::Threads(threads),
            _ => forbidden("user namespaces", error.into()),
        }
    })?;
    // Giving up supplementary groups is the price of mapping a group as an ordinary user.
    let map =
        |file: &str, text: String| std::fs::write(file, text).map_err(|error| forbidden("user namespaces", error));
    map("/proc/self/setgroups", "deny".to_owned())?;
    map("/proc/self/uid_map", format!("0 {user} 1"))?;
    map("/proc/self/gid_map", format!("0 {group} 1"))
}

fn forbidden(what: &'static str, error: io::Error) -> EnterError {
    let setting = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let is = |path, value: &str| setting(path).as_deref() == Some(value);
    let advice = if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "run as root, or allow it with `sysctl kernel.unprivileged_userns_clone=1`"
    } else if is("/proc/sys/user/max_user_namespaces", "0") {
        "run as root, or allow it with `sysctl user.max_user_namespaces=1000`"
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "run as root, or allow it with `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
    } else {
        "run as root; inside a container, outside of it or with the capability SYS_ADMIN and no seccomp filter against it"
    };
    EnterError::Forbidden { what, error, advice: advice.to_owned() }
}
