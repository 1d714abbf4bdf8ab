//! How much each event matters to an administrator.

use super::{Difference, Event, Level};
use crate::config::Takes;
use crate::input::Carrier;

impl Event {
    /// How much it matters.
    pub fn level(&self) -> Level {
        use Event::{
            Acquired, Acquiring, AllReleased, BothOwn, Changed, Cleaned, ClientJoined, ClientLeft, ClientRefused,
            ClientSilenced, ClientsHeard, CommunicationUp, CutShort, DeadTimeCapped, DeadTimeLong, Decision, Dialect,
            Dropped, Fence, ForeignOp, FoundRunning, Generation, GivenUp, GivingUpGroup, GroupsDiffer, ImpossibleAck,
            LateHeartbeat, Link, LocalStatus, Lost, Medium, Membership, NetworkBack, NoAnswerToStarting, NoIpfail,
            NoNodeList, NoStonith, NodeDead, NodeListDiffers, NodeStatus, NothingMissing, OpFailed, Ownership,
            ProgramBuiltIn, ProgramEnded, ProgramFatal, ProgramRespawns, ProgramStarts, ProgramTooFast, Ran, Released,
            Releasing, ReloadWithoutKeys, Reloaded, ResourceLost, Restart, Restarting, ReturnAfterPartition, Running,
            ShutdownBegins, ShutdownComplete, ShutdownNotice, StandbyAcquired, StandbyAnswered, StandbyAsked,
            StandbyCancelled, StandbyIgnored, StandbyReleased, StandbyTaken, StartedOver, StopFailed, StopRetry,
            Stranger, TakeoverAsked, WokeLate,
        };
        match self {
            Running { .. } | Ran { .. } => Level::Debug,
            Generation(_)
            | LocalStatus(_)
            | CommunicationUp
            | Dialect { .. }
            | Reloaded { .. }
            | ShutdownBegins { .. }
            | AllReleased
            | NetworkBack { .. }
            | ShutdownComplete { .. }
            | Link { .. }
            | NodeStatus { .. }
            | ShutdownNotice { .. }
            | NothingMissing { .. }
            | Decision { .. }
            | Acquiring { .. }
            | Releasing { .. }
            | Acquired { .. }
            | Released { .. }
            | Cleaned { .. }
            | StandbyAsked { .. }
            | StandbyAnswered { .. }
            | StandbyReleased { .. }
            | StandbyAcquired { .. }
            | StandbyTaken { .. }
            | TakeoverAsked { .. }
            | ClientJoined { .. }
            | ClientLeft { .. }
            | ClientsHeard(true)
            | Event::Ipfail(_)
            | ProgramBuiltIn { .. }
            | ProgramStarts { .. }
            | ProgramEnded { expected: true, .. } => Level::Info,
            Membership(change) => change.level(),
            GroupsDiffer { difference, .. } => difference.level(),
            Ownership { step, .. } => step.level(),
            Fence { step, .. } => step.level(),
            Changed(change) => match change.takes {
                Takes::Now => Level::Info,
                Takes::Restart(_) => Level::Warn,
            },
            Medium { carrier, .. } => match carrier {
                Carrier::Up => Level::Info,
                Carrier::Down => Level::Error,
            },
            LateHeartbeat { deadtime: None, .. }
            | WokeLate { overslept: false, .. }
            | NodeDead { .. }
            | NoIpfail { .. }
            | DeadTimeCapped { .. }
            | DeadTimeLong { .. }
            | Restart { .. }
            | Lost { .. }
            | NodeListDiffers { .. }
            | NoNodeList { .. }
            | NoAnswerToStarting { .. }
            | NoStonith { .. }
            | StandbyIgnored { .. }
            | StandbyCancelled { .. }
            | StopRetry { .. }
            | OpFailed { verb: "status" | "monitor", .. }
            | FoundRunning { .. }
            | CutShort { .. }
            | Restarting { .. }
            | ClientRefused { .. }
            | ClientSilenced { .. }
            | ClientsHeard(false)
            | ProgramEnded { expected: false, .. }
            | ProgramRespawns { .. } => Level::Warn,
            Dropped { .. }
            | StartedOver { .. }
            | GivenUp { .. }
            | ImpossibleAck { .. }
            | ForeignOp(_)
            | ReloadWithoutKeys
            | OpFailed { .. }
            | ResourceLost { .. }
            | BothOwn { .. }
            | ProgramTooFast { .. } => Level::Error,
            LateHeartbeat { deadtime: Some(_), .. }
            | WokeLate { overslept: true, .. }
            | ReturnAfterPartition { .. }
            | Stranger { .. }
            | GivingUpGroup { .. }
            | StopFailed { .. }
            | ProgramFatal { .. } => Level::Crit,
        }
    }
}

impl Difference {
    fn level(self) -> Level {
        match self {
            Difference::Other => Level::Error,
            Difference::NotTheirs | Difference::NotOurs => Level::Warn,
        }
    }
}
