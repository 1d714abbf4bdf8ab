//! Local clients of the API of 3.0.6: who is signed on, under which name, and what each wants to hear.
//!
//! Read CLIENT 5 to 11 first. What clients ask and say is answered in `node/clients.rs`, what they hear is chosen in
//! `node/relay.rs`; here is the table both work on.
//!
//! ```text
//! ApiOpened -> stranger --signon, refused--> gone
//!                 |
//!                 +--signon, without name--> casual: asks and listens
//!                 +--signon, with name-----> named: also speaks to its like on all nodes
//! ```
//!
//! Invariants:
//! - no two signed-on clients have the same id, a name or a process number as text,
//! - identity is that of the connection: what a message claims is compared with it, never believed,
//! - nothing a client sends changes the node but by `node/relay.rs`, where it is checked who says it.

pub(crate) mod letters;
pub(crate) mod parameters;
pub(crate) mod programs;
pub(crate) mod signon;

use crate::action::Frame;
use crate::config::Config;
use crate::config::clients::CLUSTER_USER;
use crate::ids::{ClientId, NodeId};
use crate::input::{Accounts, Credentials};
use crate::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

/// A client whose messages are unreadable so often in a row is sent away (CLIENT 3).
const UNREADABLE_MAX: u8 = 10;
/// Refused sign-ons are told in the log at most this often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// Joins and leaves that may wait for earlier messages of their nodes; beyond that the oldest no longer waits.
const HELD_MAX: usize = 256;

/// Which messages a client hears (CLIENT 7.1), or of which kind a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Filter(u8);

impl Filter {
    /// What happens, and what clients say.
    pub(crate) const KEEP: Filter = Filter(1);
    /// Heartbeats that say nothing new.
    pub(crate) const NO_CHANGE: Filter = Filter(2);
    /// Messages for other nodes.
    pub(crate) const DROPPED: Filter = Filter(4);
    /// Messages that came before.
    pub(crate) const DUPLICATE: Filter = Filter(8);
    /// What daemons say to each other only.
    pub(crate) const PROTOCOL: Filter = Filter(0x20);
    const ALL: u64 = 0x3f;

    /// The filter of that mask; `None` if it has none of the bits there are.
    pub(crate) fn of(mask: u64) -> Option<Filter> {
        u8::try_from(mask & Filter::ALL).ok().filter(|bits| *bits != 0).map(Filter)
    }

    /// Whether a client with this filter hears messages of `kind`.
    pub(crate) const fn lets(self, kind: Filter) -> bool {
        self.0 & kind.0 != 0
    }

    /// Whether it asks for more than everybody may hear.
    pub(crate) const fn is_curious(self) -> bool {
        self.0 != Filter::KEEP.0
    }
}

/// What a client is to the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Who {
    /// It has not signed on.
    Stranger,
    /// It signed on without a name.
    Casual,
    /// It signed on under this name.
    Named(String),
}

/// One connection.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Session {
    pub(crate) peer: Credentials,
    /// How many connections there were before (`client_gen`).
    pub(crate) number: u64,
    pub(crate) who: Who,
    pub(crate) filter: Filter,
    /// Sent with every message; 0 is none.
    pub(crate) signal: u8,
    /// Unreadable messages since the last readable one.
    unreadable: u8,
    /// It was told once in the log what it may not do; that is enough.
    pub(crate) is_noted: bool,
}

impl Session {
    /// The id under which messages reach it; `None` of a stranger.
    pub(crate) fn id(&self) -> Option<String> {
        match &self.who {
            Who::Stranger => None,
            Who::Casual => Some(self.peer.pid.to_string()),
            Who::Named(name) => Some(name.clone()),
        }
    }

    /// Its name, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        if let Who::Named(name) = &self.who { Some(name) } else { None }
    }

    /// Counts a message that is none; whether it was one too many.
    pub(crate) fn is_beyond_hope(&mut self) -> bool {
        self.unreadable = self.unreadable.saturating_add(1);
        self.unreadable >= UNREADABLE_MAX
    }

    /// A readable message came.
    pub(crate) fn made_sense(&mut self) {
        self.unreadable = 0;
    }

    /// Whether it may cause what the daemon itself acts upon (CLIENT 9): root and the cluster's user.
    pub(crate) fn is_trusted(&self, accounts: &Accounts) -> bool {
        self.peer.uid == 0 || accounts.users.get(CLUSTER_USER) == Some(&self.peer.uid)
    }
}

/// All connections, and what they were told.
#[derive(Clone, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Clients {
    pub(crate) accounts: Accounts,
    sessions: BTreeMap<ClientId, Session>,
    connections: u64,
    /// Whether clients are heard; `None` before they are let in.
    pub(crate) is_heard: Option<bool>,
    /// The last status word of each node.
    words: BTreeMap<NodeId, String>,
    /// Joins and leaves that overtook other messages of their nodes.
    held: VecDeque<Held>,
    /// When a refused sign-on was last told in the log.
    complained: Option<Instant>,
}

/// A join or leave, as it came, and whose.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
struct Held {
    from: NodeId,
    #[cfg_attr(feature = "trace", serde(serialize_with = "crate::trace::serialize_bytes"))]
    frame: Frame,
}

impl Clients {
    /// A new connection. A used identifier would be a fault of the shell; the old session is then over.
    pub(crate) fn open(&mut self, client: ClientId, peer: Credentials) {
        let session = Session {
            peer,
            number: self.connections,
            who: Who::Stranger,
            filter: Filter::KEEP,
            signal: 0,
            unreadable: 0,
            is_noted: false,
        };
        self.connections = self.connections.saturating_add(1);
        self.sessions.insert(client, session);
    }

    /// The number of a client that is built in, and has no connection.
    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.connections;
        self.connections = number.saturating_add(1);
        number
    }

    pub(crate) fn get(&self, client: ClientId) -> Option<&Session> {
        self.sessions.get(&client)
    }

    pub(crate) fn get_mut(&mut self, client: ClientId) -> Option<&mut Session> {
        self.sessions.get_mut(&client)
    }

    pub(crate) fn remove(&mut self, client: ClientId) -> Option<Session> {
        self.sessions.remove(&client)
    }

    /// Whether somebody is signed on under this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.sessions.values().any(|session| session.id().is_some_and(|own| own == id))
    }

    /// Whether a refused sign-on is worth a log line: one a second is, so that nobody can fill a disk.
    pub(crate) fn may_complain(&mut self, now: Instant) -> bool {
        let may = self.complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY);
        if may {
            self.complained = Some(now);
        }
        may
    }

    /// Whether nobody is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Whether anybody hears messages of this kind.
    pub(crate) fn wants(&self, kind: Filter) -> bool {
        self.sessions.values().any(|session| session.who != Who::Stranger && session.filter.lets(kind))
    }

    /// Who hears a message of this kind: everybody, or only the client with the id that it is for.
    pub(crate) fn audience(&self, kind: Filter, to: Option<&[u8]>) -> Vec<ClientId> {
        let hears = |session: &Session| {
            let id = session.id();
            let is_meant = match (to, &id) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(to), Some(id)) => *to == *id.as_bytes(),
            };
            is_meant && session.filter.lets(kind)
        };
        self.sessions.iter().filter(|(_, session)| hears(session)).map(|(client, _)| *client).collect()
    }

    /// Notes the status word of a node; whether it is another than before.
    pub(crate) fn is_news(&mut self, node: NodeId, word: &str) -> bool {
        if self.words.get(&node).is_some_and(|known| known == word) {
            return false;
        }
        self.words.insert(node, word.to_string());
        true
    }

    /// Keeps a join or leave back; gives the one that has waited too long because of it.
    pub(crate) fn hold(&mut self, from: NodeId, frame: Frame) -> Option<Frame> {
        self.held.push_back(Held { from, frame });
        if self.held.len() > HELD_MAX { self.held.pop_front().map(|held| held.frame) } else { None }
    }

    /// Takes out what waited for messages of `from`, in order.
    pub(crate) fn release(&mut self, from: NodeId) -> Vec<Frame> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let (due, rest) = core::mem::take(&mut self.held).into_iter().partition(|held| held.from == from);
        self.held = rest;
        let due: VecDeque<Held> = due;
        due.into_iter().map(|held| held.frame).collect()
    }

    /// The packets of others that are kept, to sign them anew.
    pub(crate) fn frames_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.held.iter_mut().map(|held| &mut held.frame)
    }
}

/// Whether `peer` is in the list that applies to `client`, or why there is no answer.
pub(crate) fn may_be(
    config: &Config,
    accounts: &Accounts,
    client: Option<&str>,
    peer: Credentials,
) -> Result<bool, &'static str> {
    let list = match client {
        None => config.api_auth("anon").ok_or("apiauth anon missing")?,
        // The list of those without a name is nobody's name.
        Some("anon") => config.api_auth("default").ok_or("no default client auth")?,
        Some(name) => config.api_auth(name).ok_or("no default client auth")?,
    };
    let is_in = |names: &[String], known: &BTreeMap<String, u32>, number: u32| {
        names.iter().any(|name| known.get(name).copied().or_else(|| name.parse().ok()) == Some(number))
    };
    Ok(is_in(&list.users, &accounts.users, peer.uid) || is_in(&list.groups, &accounts.groups, peer.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Credentials = Credentials { pid: 7, uid: 1, gid: 1 };

    #[test]
    fn a_message_for_an_id_reaches_that_client_alone() {
        let mut clients = Clients::default();
        for (number, who) in [(1, Who::Casual), (2, Who::Named("ipfail".into())), (3, Who::Stranger)] {
            clients.open(ClientId(number), PEER);
            clients.get_mut(ClientId(number)).unwrap().who = who;
        }
        assert_eq!(clients.audience(Filter::KEEP, None), [ClientId(1), ClientId(2)]);
        assert_eq!(clients.audience(Filter::KEEP, Some(b"ipfail")), [ClientId(2)]);
        assert_eq!(clients.audience(Filter::KEEP, Some(b"7")), [ClientId(1)]);
        assert_eq!(clients.audience(Filter::PROTOCOL, None), []);
        assert!(clients.has("7") && clients.has("ipfail") && !clients.has("8"));
    }

    #[test]
    fn joins_wait_for_their_own_node_and_not_for_ever() {
        let mut clients = Clients::default();
        let frame = |number: u64| Frame::from(number.to_be_bytes());
        assert_eq!(clients.hold(NodeId(1), frame(1)), None);
        assert_eq!(clients.hold(NodeId(2), frame(2)), None);
        assert_eq!(clients.release(NodeId(1)), [frame(1)]);
        for number in 3..258 {
            assert_eq!(clients.hold(NodeId(1), frame(number)), None);
        }
        assert_eq!(clients.hold(NodeId(1), frame(999)), Some(frame(2)));
    }

    #[test]
    fn ten_unreadable_messages_in_a_row_are_too_many() {
        let mut clients = Clients::default();
        clients.open(ClientId(1), PEER);
        let session = clients.get_mut(ClientId(1)).unwrap();
        assert!((0..9).all(|_| !session.is_beyond_hope()));
        session.made_sense();
        assert!((0..9).all(|_| !session.is_beyond_hope()));
        assert!(session.is_beyond_hope());
    }
}
