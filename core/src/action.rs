//! Everything a node can do to the world. With [`Input`](crate::Input) this is the whole boundary.

use crate::config::{FenceDevice, Resource, VirtualIp};
use crate::event::Event;
use crate::ids::{ClientId, GroupId, MediumId, OpId, ProgramId};
use crate::time::Instant;
use crate::wire::Body;
use crate::wire::message::Unable;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use core::time::Duration;

/// The bytes of one message, encoded once and shared by all media and the history.
pub type Frame = Arc<[u8]>;

/// How urgent a message is on a medium that cannot carry all of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A heartbeat: late it is worth nothing, and the next one replaces it.
    Heartbeat,
    /// A message that is sent for the first time.
    Message,
    /// What repairs delivery: retransmissions, requests for them, acknowledgements.
    Repair,
}

impl Urgency {
    /// How urgent a message is when it is sent for the first time.
    pub fn of(body: &Body<'_>) -> Urgency {
        match body {
            Body::Status(_) => Urgency::Heartbeat,
            Body::Rexmit(_) | Body::Nak(_) | Body::Ack(_) => Urgency::Repair,
            _ => Urgency::Message,
        }
    }
}

/// One thing to be done, now and in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a frame on a medium. Losing it is no error.
    Send {
        /// The medium to send on.
        medium: MediumId,
        /// The payload.
        frame: Frame,
        /// What may pass before what, and what may be lost first, where a queue forms.
        urgency: Urgency,
    },
    /// The earliest deadline moved: give [`Input::Wake`](crate::Input::Wake) then. Always the last action.
    ArmTimer {
        /// When; [`Instant::FAR_FUTURE`] means that nothing is due at all.
        deadline: Instant,
    },
    /// Start an operation on a resource; the result comes back as [`Input::OpDone`](crate::Input::OpDone).
    RunResource {
        /// The name under which the result comes back.
        op: OpId,
        /// What to do.
        run: ResourceRun,
    },
    /// Tell the neighbours on the wire that an address is here.
    FireArp {
        /// The address; the operation that put it up has succeeded.
        address: VirtualIp,
        /// The form of the announcement; neighbour advertisements (IPv6) have only one.
        kind: ArpKind,
    },
    /// Answer a client.
    Reply {
        /// Who asked.
        client: ClientId,
        /// The answer to its only open request.
        response: Response,
    },
    /// Something worth a log line happened; [`Event`] is the log.
    Report(Event),
    /// End the process; nothing is expected from this node any more.
    Exit(ExitReason),
    /// Reboot the machine at once, whatever else runs there: a resource cannot be stopped (`stop_failure reboot`). If the
    /// machine cannot be rebooted the node goes on with a group that is stuck.
    Reboot,
    /// Reset another machine with the configured device; the end comes back as [`Input::OpDone`](crate::Input::OpDone), `Done`
    /// only if the device confirms.
    Fence {
        /// The name under which the result comes back.
        op: OpId,
        /// The machine.
        node: String,
        /// The device.
        device: FenceDevice,
        /// When to end the device's program by force.
        limit: Duration,
    },
    /// Ask the configured device whether it could reset another machine, and do nothing to that; the answer comes back as
    /// [`Input::OpDone`](crate::Input::OpDone), `Done` if it could.
    Inspect {
        /// The name under which the answer comes back.
        op: OpId,
        /// The machine.
        node: String,
        /// The device.
        device: FenceDevice,
        /// When to end the device's program by force.
        limit: Duration,
    },
    /// Tell a program that a node is dead, before anything is taken from it; its end comes back as
    /// [`Input::OpDone`](crate::Input::OpDone), and nothing waits for it.
    Alarm {
        /// The name under which its end comes back.
        op: OpId,
        /// The program; it is called with `dead` and the node's name.
        program: String,
        /// The node.
        node: String,
    },
    /// End the program of a device; what it did or not comes back all the same.
    CeaseFire {
        /// Its operation.
        op: OpId,
    },
    /// Let clients of the API in and hear them, or not.
    Door(Door),
    /// Send a client of the API one message, in its turn; then, if so wished, a signal to its process.
    Tell {
        /// Whom.
        client: ClientId,
        /// The body of the frame.
        message: Arc<[u8]>,
        /// The number of the signal.
        signal: Option<u8>,
    },
    /// From now on this many messages may wait for a client of the API before it is thrown out.
    Allow {
        /// Whom.
        client: ClientId,
        /// How many messages.
        waiting: u32,
    },
    /// Disconnect a client of the API after what it was told; nothing is expected from it any more.
    Dismiss {
        /// Whom.
        client: ClientId,
    },
    /// Start a program; its end comes back as [`Input::ProgramEnded`](crate::Input::ProgramEnded).
    StartProgram {
        /// The name under which the end comes back.
        program: ProgramId,
        /// The user it runs as.
        user: String,
        /// The command line, for a shell.
        command: String,
    },
    /// Ask a program to end, and make it if it does not.
    StopProgram {
        /// Which.
        program: ProgramId,
    },
    /// Keep a text for later lives of this node in the place of what the file held. Nothing waits for it.
    Persist {
        /// Which file.
        file: StateFile,
        /// All that it is to hold.
        text: String,
    },
    /// Leave word with whoever outlives the daemon, in the place of what was left before (OWNERSHIP 5, scenario F14).
    ///
    /// If the daemon dies, or has not left word anew by `until`, the guard releases what the node holds here, and when
    /// nothing of it is left sends `farewell`, which tells the peers what an orderly stop would have told them.
    Entrust {
        /// When silence means that the daemon is stuck.
        until: Instant,
        /// When a watchdog must have reset the machine, unless all was released: peers take over right after.
        reset: Instant,
        /// What to send on which medium; nothing while it is not known what an earlier life left here.
        farewell: Arc<[(MediumId, Frame)]>,
    },
}

/// A file in the directory of the node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum StateFile {
    /// Who is a member (WIRE 8).
    Hostcache,
    /// Who was removed.
    Delhostcache,
    /// The longest dead time of another node in milliseconds, if it is longer than `initdead` (OWNERSHIP 2).
    Deadtime,
}

impl StateFile {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            StateFile::Hostcache => "hostcache",
            StateFile::Delhostcache => "delhostcache",
            StateFile::Deadtime => "deadtime",
        }
    }
}

/// Whether clients of the API are let in and heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Let them in and hear them.
    Open,
    /// Leave what they say unread; they wait.
    Paused,
}

/// One operation on one resource of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceRun {
    /// The group it belongs to.
    pub group: GroupId,
    /// The resource.
    pub resource: Resource,
    /// What to do with it.
    pub verb: Verb,
    /// When to end it by force; the outcome is then [`Failure::TimedOut`](crate::Failure::TimedOut).
    pub limit: Duration,
}

/// What to do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Verb {
    /// Ask whether it runs here (CLUSTER d.3).
    Status,
    /// Start it (d.4).
    Start,
    /// Stop it (d.5).
    Stop,
    /// Ask whether it still runs here, again and again.
    Monitor,
}

impl Verb {
    /// The word in log lines; what a script is told depends on its class, too ([`argument`](crate::resource::script::argument)).
    pub const fn word(self) -> &'static str {
        match self {
            Verb::Status => "status",
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Monitor => "monitor",
        }
    }
}

/// The two broadcast frames that update ARP caches; some caches listen to one, some to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArpKind {
    /// "Who has A? Tell A."
    Request,
    /// "A is at this hardware address."
    Reply,
}

/// What became of a client's request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Response {
    /// It is done: the groups run where they were asked to.
    #[error("done")]
    Done,
    /// What was cleaned up, or that there was nothing to.
    #[error("{0}")]
    Cleaned(String),
    /// It was not begun.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It was begun and did not come to its end.
    #[error("cancelled: {0}")]
    Cancelled(Cancellation),
}

/// Why a request was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Our own communication is not up, or resources are being started or stopped here.
    #[error("local resources in flux")]
    LocalFlux,
    /// The other node is starting, stopping or moving resources.
    #[error("other side is in flux")]
    PeerFlux,
    /// There is no live other node.
    #[error("no other node is active")]
    NoPeer,
    /// This node is shutting down.
    #[error("shutdown in progress")]
    Stopping,
    /// The rule book for two nodes cannot say who of several would take over.
    #[error("with more than two nodes there is no single other side")]
    ManyPeers,
    /// No other node can take a group now.
    #[error("no other node can take it now")]
    NoTaker,
    /// This node may not start a group.
    #[error("this node is not able to run it: {}", .0.word())]
    Unable(Unable),
    /// There is no haresources.
    #[error("this daemon was started without resource management")]
    Unmanaged,
    /// haresources has no such group.
    #[error("there is no such group")]
    NoSuchGroup,
    /// The node is no member.
    #[error("there is no such node")]
    NoSuchNode,
    /// What is to be given does not run here.
    #[error("it does not run on this node")]
    NotHere,
    /// What is to be taken does not run there.
    #[error("it does not run on that node")]
    NotThere,
    /// The classic book moves sets.
    #[error("beside a 3.0.6, or with `dialect classic`, only whole sets move: all, local, foreign, failback")]
    OnlySets,
    /// Only who was declared dead can be said to run nothing.
    #[error("that node is not dead: it was heard within its dead time")]
    Alive,
    /// Groups are taken from silent nodes without a proof.
    #[error("nothing waits for it: neither `takeover manual` nor a fencing device is configured")]
    NoProofWanted,
}

/// Why a request that was begun did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub enum Cancellation {
    /// The other node did not answer in time.
    #[error("No reply to standby request")]
    NoReply,
    /// The other node died meanwhile.
    #[error("the other node died")]
    PeerDied,
    /// The other node restarted meanwhile.
    #[error("the other node restarted")]
    PeerRestarted,
    /// The other node asked for the opposite at the same moment and comes first in the `node` lines.
    #[error("the other node went standby at the same moment")]
    Yielded,
    /// A resource could not be stopped.
    #[error("a resource could not be stopped")]
    StopFailed,
    /// A group could not be started on the node that was to take it.
    #[error("a resource could not be started")]
    StartFailed,
    /// The node that was to take a group did not start it.
    #[error("the other node did not take it")]
    NotTaken,
    /// A 3.0.6 joined, and what was asked for is decided by other rules.
    #[error("a node of the classic dialect joined")]
    Classic,
    /// The last 3.0.6 is gone, and what was asked for is decided by other rules.
    #[error("the last node of the classic dialect is gone")]
    Native,
    /// This node began to shut down.
    #[error("shutdown in progress")]
    Stopping,
    /// This node did not run for longer than its dead time.
    #[error("this node did not run meanwhile")]
    Overslept,
    /// The work took longer than the protocol allows (CLUSTER a.4: standby work).
    #[error("the work was not finished in time")]
    TookTooLong,
    /// The owner of a group did not hand it over in time.
    #[error("the other node did not give it")]
    NotGiven,
}

/// Why a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitReason {
    /// It was told to stop, everything is released and the others know.
    Stopped,
    /// A program that it cannot do without ended (`failfast`); everything is released and the others know.
    Failfast,
}

/// The actions of one step, in order. They borrow the node: a step ends before the next begins.
#[must_use = "actions that are not performed are lost"]
#[derive(Debug)]
pub struct Actions<'a>(pub(crate) vec::Drain<'a, Action>);

impl Iterator for Actions<'_> {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Actions<'_> {}
