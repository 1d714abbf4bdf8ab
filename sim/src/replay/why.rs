//! What was decided about a group, and on what evidence: each decision with what the node knew and what led to it.

use super::calendar::Calendar;
use super::{Keys, Moment, Note, Refused, Trace, replay};
use hb_core::time::Instant;
use hb_core::{Action, Command, Event, Input, Node, Request};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::time::Duration;

/// What happened longer ago did not lead to a decision.
const LED_TO_IT: Duration = Duration::from_mins(1);
/// No more than so many lines before each decision.
const BEFORE_MAX: usize = 8;

/// The explanation.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// How many decisions it explains.
    pub decisions: usize,
    /// What could not be read or lived through.
    pub notes: Vec<Note>,
    /// Replaying gave something else than was recorded, from there on nothing is said.
    pub difference: Option<String>,
}

/// Why nothing can be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// Nothing of the recording can be lived through.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// No configuration in the recording has such a group.
    #[error("no group is called {asked}; there are: {}", .known.join(", "))]
    NoSuchGroup {
        /// What was asked for.
        asked: String,
        /// The groups there are.
        known: Vec<String>,
    },
}

/// Explains what was decided about `group`, or about all groups. A group has the name of its first resource; of an address
/// the part before the first `/` will do.
pub fn why(trace: &Trace, keys: &Keys, group: Option<&str>) -> Result<Answer, Unexplained> {
    let mut teller = Teller::new(group);
    let outcome = replay(trace, keys, None, &mut |moment| {
        teller.see(&moment);
        ControlFlow::Continue(())
    })?;
    if let (Some(asked), false) = (group, teller.is_known) {
        return Err(Unexplained::NoSuchGroup { asked: asked.to_owned(), known: teller.known });
    }
    if let Some(node) = &outcome.node {
        teller.conclude(node);
    }
    let difference = outcome.difference.map(|difference| difference.to_string());
    Ok(Answer { text: teller.out, decisions: teller.decisions, notes: outcome.notes, difference })
}

struct Teller<'a> {
    group: Option<&'a str>,
    calendar: Calendar,
    /// What may lead to a decision, oldest first.
    before: VecDeque<(Instant, String)>,
    known: Vec<String>,
    is_known: bool,
    decisions: usize,
    out: String,
}

impl<'a> Teller<'a> {
    fn new(group: Option<&'a str>) -> Teller<'a> {
        Teller {
            group,
            calendar: Calendar::default(),
            before: VecDeque::new(),
            known: Vec::new(),
            is_known: false,
            decisions: 0,
            out: String::new(),
        }
    }

    fn line(&mut self, text: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.out, "{text}");
    }

    fn see(&mut self, moment: &Moment<'_>) {
        match moment {
            Moment::Begin { segment, node, continues, .. } => {
                if !continues {
                    self.before.clear();
                    self.calendar = Calendar::default();
                }
                self.calendar.start(&segment.state);
                self.known = node.config().groups().iter().map(|group| group.key.clone()).collect();
                self.is_known |= self.group.is_none_or(|asked| self.known.iter().any(|key| is_called(key, asked)));
            }
            Moment::Step { now, input, actions, node } => {
                self.calendar.hear(*now, input);
                if let Some(order) = order(input) {
                    self.remember(*now, order);
                }
                for action in *actions {
                    match action {
                        Action::Report(event) => self.hear(*now, event, node),
                        Action::Reply { client, response } => {
                            self.remember(*now, format!("client {} was answered: {response}", client.0));
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn remember(&mut self, now: Instant, text: String) {
        self.before.push_back((now, text));
        while self.before.len() > BEFORE_MAX {
            self.before.pop_front();
        }
    }

    fn hear(&mut self, now: Instant, event: &Event, node: &Node) {
        match event {
            Event::Decision { groups, .. } if groups.split(", ").any(|key| self.is_asked_for(key)) => {
                self.explain(now, event, node);
            }
            Event::Acquired { group, .. } | Event::Released { group, .. } | Event::GivingUpGroup { group, .. }
                if self.is_asked_for(group) =>
            {
                let at = self.calendar.date(now);
                self.line(format!("    {at:#}  {event}"));
            }
            Event::Link { .. }
            | Event::Medium { .. }
            | Event::NodeStatus { .. }
            | Event::NodeDead { .. }
            | Event::LateHeartbeat { .. }
            | Event::Restart { .. }
            | Event::ReturnAfterPartition { .. }
            | Event::ShutdownNotice { .. }
            | Event::ShutdownBegins { .. }
            | Event::CommunicationUp
            | Event::BothOwn { .. }
            | Event::OpFailed { .. }
            | Event::StopFailed { .. }
            | Event::StandbyAsked { .. }
            | Event::StandbyAnswered { .. }
            | Event::StandbyReleased { .. }
            | Event::StandbyCancelled { .. }
            | Event::TakeoverAsked { .. } => self.remember(now, event.to_string()),
            _ => {}
        }
    }

    fn is_asked_for(&self, key: &str) -> bool {
        self.group.is_none_or(|asked| is_called(key, asked))
    }

    fn explain(&mut self, now: Instant, event: &Event, node: &Node) {
        let Event::Decision { why, .. } = event else { return };
        let status = node.status();
        if self.decisions > 0 {
            self.line("");
        }
        self.decisions += 1;
        let text = event.to_string();
        let what = text.split(": ").next().unwrap_or(&text);
        let date = self.calendar.date(now);
        self.line(format!("{date}  {}: {what}", status.local_name()));
        self.line(format!("    because       {why}"));
        for peer in status.nodes().filter(|peer| !peer.is_local) {
            let heard = peer.heard.map_or_else(
                || "never heard".to_owned(),
                |at| format!("last heartbeat {:#}, {} before", self.calendar.date(at), seconds(now.since(at))),
            );
            let dead_time = peer.dead_time.map_or(String::new(), |limit| format!(", dead time {}", seconds(limit)));
            self.line(format!("    {:<12}  {heard}; {}{dead_time}", peer.name, peer.status));
        }
        for (at, text) in std::mem::take(&mut self.before) {
            if now.since(at) <= LED_TO_IT {
                let at = self.calendar.date(at);
                self.line(format!("    {at:#}  {text}"));
            }
        }
    }

    /// Where the groups were in the end.
    fn conclude(&mut self, node: &Node) {
        let status = node.status();
        if self.decisions == 0 {
            self.line("nothing was decided while this was recorded");
        }
        let (me, end) = (status.local_name(), self.calendar.date(status.now()));
        self.line(format!("\n{end}  {me}, end of the recording"));
        for group in status.groups().filter(|group| self.is_asked_for(group.key)).collect::<Vec<_>>() {
            let owner = group.owner.unwrap_or("nobody known");
            let since = group.since.map_or(String::new(), |at| format!(" since {}", self.calendar.date(at)));
            self.line(format!("    {}: held by {owner}{since}, {} here", group.key, group.doing.word()));
            self.line(format!("    because       {}", group.why));
        }
    }
}

fn is_called(key: &str, asked: &str) -> bool {
    key == asked || key.strip_prefix(asked).is_some_and(|rest| rest.starts_with('/'))
}

/// What somebody ordered.
pub(super) fn order(input: &Input<'_>) -> Option<String> {
    match input {
        Input::Client { client, request } => Some(match request {
            Request::Standby(which) => format!("client {} asked for standby [{}]", client.0, which.word()),
            Request::Takeover(which) => format!("client {} asked for takeover [{}]", client.0, which.word()),
            Request::Cleanup(group) => format!("client {} asked to clean up group {}", client.0, group.0),
            Request::Give { group, to } => {
                let to = to.map_or_else(String::new, |node| format!(" to node {}", node.0));
                let what = group.map_or_else(|| "all groups".to_owned(), |group| format!("group {}", group.0));
                format!("client {} asked this node to give {what}{to}", client.0)
            }
            Request::Take { group, from } => {
                let from = from.map_or_else(String::new, |node| format!(" from node {}", node.0));
                let what = group.map_or_else(|| "all groups".to_owned(), |group| format!("group {}", group.0));
                format!("client {} asked this node to take {what}{from}", client.0)
            }
            Request::Confirm(node) => format!("client {} said that node {} runs nothing", client.0, node.0),
        }),
        Input::Operator(Command::Stop) => Some("the operator stopped this node".to_owned()),
        _ => None,
    }
}

fn seconds(span: Duration) -> String {
    format!("{}.{:03} s", span.as_secs(), span.subsec_millis())
}
