//! What the log says of nodes that are reset (CLUSTER f.2), in the original's words where it has some.

use super::{Level, fmt_output};
use crate::input::Failure;
use crate::resource::Transcript;
use crate::time::Millis;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// A step on the way to the proof that a silent node runs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are what the line prints")]
pub enum FenceStep {
    /// This node cannot prove it by itself.
    Awaited,
    /// A device begins to reset it.
    Shooting { device: String },
    /// The device says that it was reset.
    Done { took: Duration },
    /// The device says that it was not, or nothing.
    Failed { failure: Failure, took: Duration, said: Transcript },
    /// It was heard again, or proved to run nothing in another way.
    Ceased,
    /// The device says that it could reset it.
    InOrder { device: String },
    /// The device says that it could not, or nothing.
    OutOfOrder { device: String, failure: Failure, said: Transcript },
    /// A program is told that it is dead.
    Alarm { program: String },
    /// That program failed, on this node.
    AlarmFailed { failure: Failure, said: Transcript },
    /// Another node, or an operator here, says that it runs nothing.
    Told { by: Option<String> },
}

impl FenceStep {
    pub(super) fn level(&self) -> Level {
        match self {
            FenceStep::Shooting { .. }
            | FenceStep::Done { .. }
            | FenceStep::Told { .. }
            | FenceStep::Alarm { .. }
            | FenceStep::InOrder { .. } => Level::Info,
            FenceStep::Awaited | FenceStep::Ceased => Level::Warn,
            FenceStep::Failed { .. } | FenceStep::AlarmFailed { .. } | FenceStep::OutOfOrder { .. } => Level::Error,
        }
    }

    pub(super) fn fmt(&self, node: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FenceStep::Awaited => write!(
                f,
                "nothing is taken from node {node}, which may still run it, before another node has reset it or an \
                 operator says that it is down: `heartbeat confirm {node}`"
            ),
            FenceStep::Shooting { device } => write!(f, "Resetting node {node} with [{device}]"),
            FenceStep::Done { took } => write!(f, "node {node} now reset. (took {} ms)", Millis(*took)),
            FenceStep::Failed { failure, took, said } => {
                write!(f, "STONITH of {node} failed.  Retrying... ({failure}, after {} ms)", Millis(*took))?;
                fmt_output(said, f)
            }
            FenceStep::Ceased => write!(f, "the reset of node {node} is cancelled: it is not needed any more"),
            FenceStep::InOrder { device } => {
                write!(f, "STONITH device {device} is operational: it could reset node {node}")
            }
            FenceStep::OutOfOrder { device, failure, said } => {
                write!(f, "STONITH device {device} not operational! ({failure}) Node {node} could not be reset")?;
                fmt_output(said, f)
            }
            FenceStep::Alarm { program } => write!(f, "telling {program} that node {node} is dead"),
            FenceStep::AlarmFailed { failure, said } => {
                write!(f, "the takeover_alarm of {node} failed ({failure})")?;
                fmt_output(said, f)
            }
            FenceStep::Told { by: Some(by) } => write!(f, "node {node} runs nothing: {by} says that it was reset"),
            FenceStep::Told { by: None } => write!(f, "node {node} runs nothing: an operator of this node says so"),
        }
    }
}
