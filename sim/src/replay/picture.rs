//! What a node knew while it was recorded, as lanes to be drawn: its own, and each other node as it saw it.

use super::why::order;
use super::{Difference, Moment};
use crate::ground::{Power, Share};
use crate::recording::{Heard, Recording, What};
use hb_core::time::Instant;
use hb_core::{Action, Event, Input, Node};
use std::time::Duration;

/// Gathers what is drawn; sees every moment of a replay.
#[derive(Debug, Default)]
pub struct Painter {
    recording: Recording,
    from: Duration,
    /// The recorded node's lane.
    me: usize,
    /// What each lane shows at present.
    words: Vec<&'static str>,
    /// Of each lane, its share of each group.
    shares: Vec<Vec<Share>>,
    /// The daemon said that it ends.
    has_ended: bool,
    /// Refused packets until now, as the node counts them.
    refused: u64,
}

impl Painter {
    /// For a picture that begins so long after the recording.
    pub fn from(from: Duration) -> Painter {
        let begin = Some(Instant::after_origin(from));
        Painter { recording: Recording { begin, ..Recording::default() }, from, ..Painter::default() }
    }

    /// Takes a moment so long after the beginning of the recording.
    pub fn see(&mut self, elapsed: Duration, moment: &Moment<'_>) {
        // What came before is how it stands when the picture begins.
        let at = Instant::after_origin(elapsed.max(self.from));
        match moment {
            Moment::Begin { node, continues, segment, .. } => {
                if !continues {
                    self.forget();
                }
                self.refused = refused(node);
                // Its lane is the first.
                self.me = self.host(at, node.status().local_name());
                self.look(at, node);
                if let Some(dropped) = segment.head.dropped.as_ref().filter(|_| elapsed >= self.from) {
                    let text = format!("{} steps before this were not recorded: {}", dropped.steps, dropped.why);
                    self.mark(at, text, &[]);
                }
            }
            Moment::Step { input, actions, node, .. } => {
                self.look(at, node);
                self.has_ended |= actions.iter().any(|action| matches!(action, Action::Exit(_)));
                if self.has_ended {
                    self.set_word(at, self.me, "down");
                }
                let (before, now) = (self.refused, refused(node));
                self.refused = now;
                if elapsed < self.from {
                    return;
                }
                if let Some(order) = order(input) {
                    self.mark(at, order, &[]);
                }
                for action in *actions {
                    if let Action::Report(event) = action {
                        self.hear(at, event);
                    }
                }
                if matches!(input, Input::Frame { .. }) {
                    self.recording.heard.push(Heard { at, by: self.me, is_refused: now > before });
                }
            }
        }
        self.recording.end = self.recording.end.max(at);
    }

    /// The picture's content, and where the replay differed from what was recorded.
    pub fn finish(mut self, difference: Option<(Duration, &Difference)>) -> Recording {
        if let Some((elapsed, difference)) = difference {
            let Difference { segment, step, .. } = difference;
            let text = format!("from here on this build does otherwise (segment {segment}, step {step})");
            self.recording.add(Instant::after_origin(elapsed.max(self.from)), What::Violated(text));
        }
        self.recording
    }

    /// Between two recorded times nothing is known.
    fn forget(&mut self) {
        let (last, has_ended) = (self.recording.end, std::mem::take(&mut self.has_ended));
        for host in 0..self.words.len() {
            if host != self.me || !has_ended {
                self.set_word(last, host, "unrecorded");
            }
            for group in 0..self.recording.groups.len() {
                self.set_share(last, host, group, Share::Nothing);
            }
        }
    }

    /// Draws how things stand.
    fn look(&mut self, at: Instant, node: &Node) {
        let status = node.status();
        for peer in status.nodes() {
            // A node that has said goodbye has no daemon any more.
            let word = if peer.gone && !peer.is_local { "down" } else { peer.status };
            let host = self.host(at, peer.name);
            self.set_word(at, host, word);
        }
        for group in status.groups() {
            let number = self.group(group.key);
            for host in 0..self.words.len() {
                let share = match group.doing.word() {
                    // Of another node only what it says is known.
                    _ if host != self.me && group.owner == Some(self.recording.hosts[host].as_str()) => Share::All,
                    _ if host != self.me => Share::Nothing,
                    "running" => Share::All,
                    "stopped" | "failed" => Share::Nothing,
                    _ => Share::Part,
                };
                self.set_share(at, host, number, share);
            }
        }
    }

    fn host(&mut self, at: Instant, name: &str) -> usize {
        if let Some(known) = self.recording.hosts.iter().position(|known| known == name) {
            return known;
        }
        let new = self.recording.hosts.len();
        self.recording.hosts.push(name.to_owned());
        self.words.push("unrecorded");
        self.shares.push(vec![Share::Nothing; self.recording.groups.len()]);
        self.recording.add(at, What::Machine(new, Power::On));
        self.recording.add(at, What::Life(new, "unrecorded"));
        new
    }

    fn group(&mut self, key: &str) -> usize {
        if let Some(known) = self.recording.groups.iter().position(|known| known == key) {
            return known;
        }
        self.recording.groups.push(key.to_owned());
        self.shares.iter_mut().for_each(|shares| shares.push(Share::Nothing));
        self.recording.groups.len() - 1
    }

    fn set_word(&mut self, at: Instant, host: usize, word: &'static str) {
        if std::mem::replace(&mut self.words[host], word) != word {
            self.recording.add(at, What::Life(host, word));
        }
    }

    fn set_share(&mut self, at: Instant, host: usize, group: usize, share: Share) {
        if std::mem::replace(&mut self.shares[host][group], share) != share {
            self.recording.add(at, What::Share(host, group, share));
        }
    }

    fn mark(&mut self, at: Instant, text: String, about: &[&str]) {
        let hosts = &self.recording.hosts;
        let about: Vec<usize> = about.iter().filter_map(|name| hosts.iter().position(|host| host == name)).collect();
        let about = if about.is_empty() { vec![self.me] } else { about };
        self.recording.add(at, What::Happened(text, about));
    }

    /// Marks what the lanes do not show by themselves and what led to it.
    fn hear(&mut self, at: Instant, event: &Event) {
        match event {
            Event::NodeDead { node, .. }
            | Event::Link { node, up: false, .. }
            | Event::LateHeartbeat { node, .. }
            | Event::Restart { node, .. }
            | Event::ReturnAfterPartition { node }
            | Event::ShutdownNotice { node }
            | Event::TakeoverAsked { node, .. }
            | Event::StandbyAsked { node, .. } => self.mark(at, event.to_string(), &[node]),
            Event::Decision { .. }
            | Event::Medium { .. }
            | Event::BothOwn { .. }
            | Event::OpFailed { .. }
            | Event::StopFailed { .. }
            | Event::GivingUpGroup { .. }
            | Event::StandbyCancelled { .. }
            | Event::ShutdownBegins { .. }
            | Event::Dropped { .. } => self.mark(at, event.to_string(), &[]),
            _ => {}
        }
    }
}

/// How many packets the node has refused.
fn refused(node: &Node) -> u64 {
    node.status().drops().map(|(_, count)| count).sum()
}
