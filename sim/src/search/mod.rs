//! Random search: plans from seeds, run until a property breaks, shrunk to what breaks it.
//!
//! | file | what |
//! |---|---|
//! | `generate.rs` | a seed becomes a plan |
//! | `swarm.rs` | many seeds, in parallel; the first violation |
//! | `shrink.rs` | the smallest plan that still breaks the same property |
//! | `coverage.rs` | states that a campaign must have reached |

pub mod coverage;
pub mod generate;
pub mod shrink;
pub mod swarm;
