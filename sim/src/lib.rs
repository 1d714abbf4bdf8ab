//! A deterministic cluster simulator around the production core.
//!
//! The very [`Node`](hb_core::Node) of the daemon runs here, in virtual time, on hosts and networks that are data. Frames
//! are real bytes on every path: signed, sent, delivered, verified and decoded by the core.
//!
//! | file | what |
//! |---|---|
//! | `plan/` | a scenario as data, its language, its text again |
//! | `world.rs`, `world/` | the queue of events in virtual time; what happens to machines, what actions do |
//! | `host.rs`, `clock.rs`, `engine.rs` | a machine: its disk, its clocks, the program that is its node |
//! | `network.rs` | links: delay, loss, bandwidth, cuts; luck |
//! | `ground.rs`, `contact.rs` | the truth: what runs where, who answers a client, who heard whom; never asks a node |
//! | `check/` | one property a file, judged on the truth |
//! | `recording.rs`, `timeline.rs` | what happened, as data and as prose |
//! | `swimlane/`, `pcap.rs`, `json.rs` | ... as a picture, as a capture, as JSON |
//! | `replay/` | recordings of real daemons lived through again |
//! | `search/` | random plans, the smallest that breaks a property, what was reached |
//! | `run.rs`, `judge.rs`, `summary.rs` | a scenario run twice, judged, and told in a line a group |
//! | `explain/` | what a real configuration will do: run, measured, and told |
//! | `explore/` | every interleaving of two or three nodes within a budget of faults, on a small state of its own |
//! | `sweep/` | a grid of parameters, many seeds: measured, drawn, compared with theory |

#[path = "../../shell/src/render.rs"]
pub mod render;

#[path = "../../shell/src/source.rs"]
pub mod source;

pub mod bench;
pub mod check;
mod clock;
pub mod contact;
mod engine;
pub mod explain;
pub mod explore;
pub mod ground;
mod host;
pub mod json;
pub mod judge;
pub mod label;
pub mod model;
mod network;
pub mod pcap;
pub mod plan;
pub mod recording;
pub mod replay;
pub mod run;
pub mod search;
pub mod summary;
pub mod sweep;
pub mod swimlane;
pub mod timeline;
pub mod world;

pub use network::Lost;
pub use plan::{Plan, library, pending};
pub use recording::{Detail, Recording};
pub use run::{Report, run, run_once};

/// Problems of a scenario, drawn with the lines they stand in.
pub fn render_all(diagnostics: &[hb_core::config::Diagnostic], text: &str) -> String {
    let drawn = diagnostics.iter().map(|diagnostic| render::render(diagnostic, text, render::Paint::Plain));
    drawn.collect::<Vec<_>>().join("\n\n")
}
