//! The program that is a node: the production core or the model of the original. Everything around it treats it as bytes
//! in, actions out.

use crate::model::{self, Model};
use crate::plan::EngineKind;
use hb_core::config::Config;
use hb_core::ids::Generation;
use hb_core::time::Instant;
use hb_core::{Action, Boot, Input, Level, Node};

/// What an engine does to its host.
pub(crate) enum Effect {
    /// An action of the core.
    Do(Action),
    /// A log line.
    Say(Level, String),
    /// It has begun a new life by itself: this generation is to be on disk.
    Generation(Generation),
}

/// A node, whoever wrote it.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    Ours(Box<Node>),
    Model(Box<Model>),
}

impl Engine {
    pub(crate) fn new(kind: EngineKind, config: Config, boot: Boot) -> Engine {
        match kind {
            EngineKind::Ours => Engine::Ours(Box::new(Node::new(config, boot))),
            EngineKind::Model => Engine::Model(Box::new(Model::new(config, boot))),
        }
    }

    /// One step; every effect is handed over in order.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>, mut effect: impl FnMut(Effect)) {
        match self {
            Engine::Ours(node) => node.handle(now, input).for_each(|action| effect(Effect::Do(action))),
            Engine::Model(model) => model.handle(now, input).into_iter().for_each(|done| {
                effect(match done {
                    model::Effect::Do(action) => Effect::Do(action),
                    model::Effect::Say(level, text) => Effect::Say(level, text),
                    model::Effect::Generation(generation) => Effect::Generation(generation),
                });
            }),
        }
    }

    /// The production node, if it is one.
    pub(crate) fn node(&self) -> Option<&Node> {
        match self {
            Engine::Ours(node) => Some(node),
            Engine::Model(_) => None,
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        match self {
            Engine::Ours(node) => node.digest(),
            Engine::Model(model) => model.digest(),
        }
    }

    /// The word it announces: `init`, `up`, `active`.
    pub(crate) fn status_word(&self) -> &'static str {
        match self {
            Engine::Ours(node) => node.status().nodes().find(|node| node.is_local).map_or("init", |node| node.status),
            Engine::Model(model) => model.status_word(),
        }
    }

    /// The classes it says that it holds, and whether it calls itself stable.
    pub(crate) fn holding(&self) -> (&'static str, bool) {
        match self {
            Engine::Ours(node) => (node.status().holding(), node.status().is_stable()),
            Engine::Model(model) => (model.rscstatus(), model.is_stable()),
        }
    }

    /// Whether it is stable, and every group has an owner as far as it knows.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Engine::Ours(node) => {
                let status = node.status();
                status.is_stable() && status.is_everything_owned()
            }
            Engine::Model(model) => model.is_stable() && model.status_word() == "active",
        }
    }
}
