//! What a node does with resource groups.

pub mod script;
