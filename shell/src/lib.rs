//! The machine around the core.

pub mod clock;
mod sys;
pub mod timer;
