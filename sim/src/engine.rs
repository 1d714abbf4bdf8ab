//! The program that is a node: the production core. Everything around it treats it as bytes in, actions out.

use hb_core::config::Config;
use hb_core::time::Instant;
use hb_core::{Action, Boot, Input, Level, Node};

/// What an engine does to its host.
pub(crate) enum Effect {
    /// An action of the core.
    Do(Action),
    /// A log line.
    Say(Level, String),
}

/// A node, whoever wrote it.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    Ours(Box<Node>),
}

impl Engine {
    pub(crate) fn ours(config: Config, boot: Boot) -> Engine {
        Engine::Ours(Box::new(Node::new(config, boot)))
    }

    /// One step; every effect is handed over in order.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>, mut effect: impl FnMut(Effect)) {
        match self {
            Engine::Ours(node) => node.handle(now, input).for_each(|action| effect(Effect::Do(action))),
        }
    }

    /// The production node, if it is one.
    pub(crate) fn node(&self) -> Option<&Node> {
        match self {
            Engine::Ours(node) => Some(node),
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        match self {
            Engine::Ours(node) => node.digest(),
        }
    }

    /// The word it announces: `init`, `up`, `active`.
    pub(crate) fn status_word(&self) -> &'static str {
        match self {
            Engine::Ours(node) => node.status().nodes().find(|node| node.is_local).map_or("init", |node| node.status),
        }
    }

    /// The classes it says that it holds, and whether it calls itself stable.
    pub(crate) fn holding(&self) -> (&'static str, bool) {
        match self {
            Engine::Ours(node) => (node.status().holding(), node.status().is_stable()),
        }
    }

    /// Whether it is stable, and every group has an owner as far as it knows.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Engine::Ours(node) => {
                let status = node.status();
                status.is_stable() && status.groups().all(|group| group.owner.is_some())
            }
        }
    }
}
