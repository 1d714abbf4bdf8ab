//! The machine around the core.
