//! No death while heard: a node is declared dead only after a silence as long as its dead time.

use super::{Check, Fact, Moment};

/// Looks at every death that a node reports.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alive;

impl Check for Alive {
    fn name(&self) -> &'static str {
        "no death while heard"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        let Fact::Reported(observer, hb_core::Event::NodeDead { node, .. }) = fact else { return };
        let Some(dead) = moment.plan.configs().position(|config| config.local_name() == node) else { return };
        // One that was never heard in this life was not heard before either, as far as its observer knows.
        let Some(silence) = moment.contact.silence(moment.now, *observer, dead) else { return };
        let limit = moment.contact.limit(dead);
        if silence < limit {
            let (by, silent, limit) = (moment.name(*observer), silence.as_millis(), limit.as_millis());
            found.push(format!("{by} buried {node} after {silent} ms, its dead time is {limit} ms"));
        }
    }
}
