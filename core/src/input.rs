//! Everything that can happen to a node. With [`Action`](crate::Action) this is the whole boundary.

use crate::ids::{ClientId, GroupId, MediumId, NodeId, OpId, ProgramId};
use crate::reload::Reload;
use crate::resource::Transcript;
use crate::time::UnixTime;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::net::IpAddr;

/// One thing that happened; [`Node::handle`](crate::Node::handle) takes exactly one at a time.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Input<'a> {
    /// Bytes arrived on a medium: one datagram, or one framed message of a serial line. They may be anything.
    Frame {
        /// The medium they came by.
        medium: MediumId,
        /// The payload, untouched.
        #[cfg_attr(feature = "trace", serde(serialize_with = "crate::trace::serialize_bytes"))]
        bytes: &'a [u8],
    },
    /// Time passed. The only input that fires deadlines; with nothing due it changes nothing.
    Wake,
    /// A medium began or ceased to accept what is sent on it.
    Carrier {
        /// The medium.
        medium: MediumId,
        /// Its new state.
        carrier: Carrier,
    },
    /// An operation ended that an action started.
    OpDone {
        /// The operation, as named by the action.
        op: OpId,
        /// How it ended.
        outcome: Outcome,
        /// What it left for the log.
        said: Transcript,
    },
    /// A local client asks for something; the answer is [`Action::Reply`](crate::Action::Reply), perhaps much later.
    Client {
        /// Who asks.
        client: ClientId,
        /// What for.
        request: Request,
    },
    /// The operator, through a signal.
    Operator(Command),
    /// The wall clock reads this now. It fills `ts=` and log lines and is never compared with anything.
    WallClock(UnixTime),
    /// The machine's load, for `ld=` of our heartbeats.
    Load(LoadAverage),
    /// The numbers of the users and groups that [`Config::accounts`](crate::config::Config::accounts) names; until they
    /// are known nobody is authorised by name.
    Accounts(Accounts),
    /// A program connected to the API socket. No other one on that socket had its identifier before.
    ApiOpened {
        /// Its name from now on.
        client: ClientId,
        /// Who it is, as the kernel says.
        peer: Credentials,
    },
    /// The body of one frame from a client of the API. It may be anything.
    ApiMessage {
        /// From whom.
        client: ClientId,
        /// The body, untouched.
        #[cfg_attr(feature = "trace", serde(serialize_with = "crate::trace::serialize_bytes"))]
        bytes: &'a [u8],
    },
    /// A client of the API is gone, and with it all that was still to be told.
    ApiClosed {
        /// Which.
        client: ClientId,
        /// Why.
        why: Closed,
    },
    /// One message written to the command FIFO, by root. It may be anything.
    Fifo {
        /// From the start marker to the end marker's newline.
        #[cfg_attr(feature = "trace", serde(serialize_with = "crate::trace::serialize_bytes"))]
        bytes: &'a [u8],
    },
    /// The files of the configuration were read again and are good.
    Reload(Box<Reload>),
    /// A program ended that an action started, or never began.
    ProgramEnded {
        /// Which.
        program: ProgramId,
        /// How.
        end: ProgramEnd,
    },
    /// The network of an address that was put up here is back: while it was away nobody could hear where the address is.
    NetworkBack {
        /// Which; one that is not up now is nobody's concern.
        address: IpAddr,
    },
}

/// Who a client is, as the kernel saw it connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Credentials {
    /// Its process.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group; supplementary ones do not count (CLIENT 5).
    pub gid: u32,
}

/// The numbers of users and groups by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub struct Accounts {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

/// Why a client of the API is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Closed {
    /// It closed its end.
    Eof,
    /// Its process is gone.
    Died,
    /// It did not read, and too much waits for it.
    Overflow {
        /// How many messages waited.
        waiting: u32,
    },
    /// It sent what is no frame.
    BadFrame,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum ProgramEnd {
    /// By itself.
    Exited {
        /// Its process.
        pid: u32,
        /// Its exit code.
        code: i32,
    },
    /// By a signal.
    Killed {
        /// Its process.
        pid: u32,
        /// The signal.
        signal: i32,
    },
    /// The machine did not start it, in its own words.
    NotStarted(String),
}

/// Whether a medium carries what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Carrier {
    /// Sending works, as far as the machine can tell.
    Up,
    /// Sending fails: the interface is down or gone.
    Down,
}

/// How an operation on a resource ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Outcome {
    /// Start or stop succeeded.
    Done,
    /// `status` says that the resource runs here.
    Running,
    /// `status` says that it does not.
    NotRunning,
    /// It did not do what was asked.
    Failed(Failure),
}

impl Outcome {
    /// The word in log lines.
    pub const fn word(&self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Running => "it runs",
            Outcome::NotRunning => "it does not run",
            Outcome::Failed(_) => "failed",
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Failure {
    /// The script ended with this code.
    #[error("Return code {0}")]
    ExitCode(i32),
    /// The script was killed by this signal.
    #[error("killed by signal {0}")]
    Signal(i32),
    /// The script was ended because its time limit had passed.
    #[error("time limit of {0} s exceeded")]
    TimedOut(u32),
    /// No script of that name is in any script directory.
    #[error("Cannot locate resource script")]
    NoScript,
    /// The machine refused, in its own words.
    #[error("{0}")]
    Machine(String),
}

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Request {
    /// Give resources to the other node (`hb_standby`).
    Standby(Which),
    /// Take resources from the other node (`hb_takeover`).
    Takeover(Which),
    /// Forget that a group failed here, or try once more to stop what could not be stopped.
    Cleanup(GroupId),
    /// Take the operator's word that a silent node runs nothing.
    Confirm(NodeId),
    /// Give one group, or all that run here, to a node, or to the next that can. Native only.
    Give {
        /// The group; all if none is named.
        group: Option<GroupId>,
        /// The node; for each group the next that can if none is named.
        to: Option<NodeId>,
    },
    /// Take one group, or all that a node runs. Native only.
    Take {
        /// The group; all of the node if none is named.
        group: Option<GroupId>,
        /// The node; whoever runs the group if none is named.
        from: Option<NodeId>,
    },
}

/// Which groups a standby or takeover is about, seen from the node where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Which {
    /// All groups.
    All,
    /// The groups whose preferred node this is.
    Local,
    /// The other node's groups.
    Foreign,
    /// Every group to its preferred node.
    Failback,
}

impl Which {
    /// The word of the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Which::All => "all",
            Which::Local => "local",
            Which::Foreign => "foreign",
            Which::Failback => "failback",
        }
    }

    /// The set named by a word of the command line.
    pub fn from_word(word: &str) -> Option<Which> {
        [Which::All, Which::Local, Which::Foreign, Which::Failback].into_iter().find(|which| which.word() == word)
    }
}

/// What the operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Command {
    /// Release everything, tell the others, end (CLUSTER b.4).
    Stop,
}

/// The text of /proc/loadavg without its newline, at most [`LoadAverage::MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoadAverage {
    text: [u8; LoadAverage::MAX],
    len: u8,
}

impl LoadAverage {
    /// Room for three averages, the run queue and a process id.
    pub const MAX: usize = 63;

    /// Takes the first line of `text`, cut at [`MAX`](Self::MAX) bytes; `None` if it is not printable ASCII.
    pub fn new(text: &str) -> Option<LoadAverage> {
        let line = text.lines().next().unwrap_or("");
        if !line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return None;
        }
        let mut load = LoadAverage::default();
        for (slot, byte) in load.text.iter_mut().zip(line.bytes()) {
            *slot = byte;
            load.len = load.len.saturating_add(1);
        }
        Some(load)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self.text.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Default for LoadAverage {
    fn default() -> LoadAverage {
        LoadAverage { text: [0; LoadAverage::MAX], len: 0 }
    }
}

impl core::fmt::Debug for LoadAverage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(feature = "trace")]
impl serde::Serialize for LoadAverage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "trace")]
impl<'de> serde::Deserialize<'de> for LoadAverage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<LoadAverage, D::Error> {
        let text = String::deserialize(deserializer)?;
        LoadAverage::new(&text).ok_or_else(|| serde::de::Error::custom("a load average is printable ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_line_is_one_printable_line_of_bounded_length() {
        assert_eq!(LoadAverage::new("0.57 0.20 0.12 4/114 11721\n").unwrap().as_str(), "0.57 0.20 0.12 4/114 11721");
        assert_eq!(LoadAverage::new(&"1".repeat(100)).unwrap().as_str().len(), LoadAverage::MAX);
        assert!(LoadAverage::new("0.1\u{7f}").is_none());
    }

    #[test]
    fn every_set_has_its_word() {
        assert_eq!(Which::from_word("failback"), Some(Which::Failback));
        assert_eq!(Which::from_word("none"), None);
    }
}
