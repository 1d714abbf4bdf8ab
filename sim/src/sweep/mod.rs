//! Sweeps.
mod grid;
mod measure;
mod plan;
pub mod theory;
pub use grid::{Act, Cell};
pub use plan::Sweep;
