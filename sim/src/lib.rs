//! A deterministic cluster simulator around the production core.
//!
//! The very [`Node`](hb_core::Node) of the daemon runs here, in virtual time, on hosts and networks that are data. Frames
//! are real bytes on every path: signed, sent, delivered, verified and decoded by the core.
//!
//! | file | what |
//! |---|---|
//! | `plan/script.rs` | the scenario language: text to [`Plan`], with diagnostics |
//! | `world.rs` | the queue of events in virtual time; the loop |
//! | `host.rs` | a machine: one node, its disk, its processes |
//! | `network.rs` | segments, delays, loss, cuts |
//! | `ground.rs` | the truth: what runs where, who answers a client; never asks a node |
//! | `check/` | one property a file, judged on the ground truth |
//! | `timeline.rs` | what happened, a line each |
//! | `run.rs` | a scenario run twice and judged |

#[path = "../../shell/src/render.rs"]
pub mod render;

pub mod bench;
pub mod check;
pub mod explore;
pub mod ground;
mod host;
mod network;
pub mod plan;
pub mod run;
pub mod timeline;
pub mod world;

pub use plan::{Plan, library};
pub use run::{Report, run};

/// Problems of a scenario, drawn with the lines they stand in.
pub fn render_all(diagnostics: &[hb_core::config::Diagnostic], text: &str) -> String {
    let drawn = diagnostics.iter().map(|diagnostic| render::render(diagnostic, text, render::Paint::Plain));
    drawn.collect::<Vec<_>>().join("\n\n")
}
