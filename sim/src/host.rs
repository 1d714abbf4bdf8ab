//! A machine: one node, the disk that outlives it, the processes that run its resources.

use hb_core::config::Config;
use hb_core::ids::{Generation, NodeUuid};
use hb_core::time::{Instant, UnixTime};
use hb_core::{Boot, Node};

/// The wall clock at the origin of virtual time.
const EPOCH: u64 = 1_700_000_000;

/// A machine and what it keeps.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) config: Config,
    pub(crate) node: Option<Node>,
    /// On disk: the generation of the last life.
    generation: Generation,
    /// Counts lives, so that what was ordered in an earlier one is not answered in a later.
    pub(crate) life: u64,
    number: u8,
}

impl Host {
    pub(crate) fn new(number: usize, config: Config) -> Host {
        let name = config.local_name().to_owned();
        let number = u8::try_from(number + 1).unwrap_or(u8::MAX);
        Host { name, config, node: None, generation: Generation(EPOCH), life: 0, number }
    }

    /// Starts the daemon: a new life with the next generation.
    pub(crate) fn start(&mut self, now: Instant, seed: u64) {
        self.life += 1;
        self.generation = Generation(self.generation.0 + 1);
        let mut bytes = [self.number; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.life.to_le_bytes());
        let boot = Boot {
            now,
            wall_clock: UnixTime(EPOCH + now.as_nanos() / 1_000_000_000),
            generation: self.generation,
            uuid: NodeUuid::from_random([self.number; 16]),
            seed: bytes,
        };
        self.node = Some(Node::new(self.config.clone(), boot));
    }

    /// The daemon is gone, whatever the reason.
    pub(crate) fn end(&mut self) {
        self.node = None;
        self.life += 1;
    }
}
