//! Between clients and the cluster: what they hear, what they say, what scripts say through the FIFO. Read CLIENT 8 to
//! 10 and 12 first.
//!
//! | a message | goes |
//! |---|---|
//! | of the cluster, or our own | to the clients whose filter wants its kind, or to the one that it is for |
//! | of a client, any other type | to all nodes, for clients of the same name |
//! | of a client or script, to be acted upon | the same way as if it came from a node, if who says it may |
//! | of a type that only daemons say | nowhere: a client cannot speak in the name of its node |

use super::Node;
use super::standby::which;
use crate::client::letters::{body, text};
use crate::client::{Filter, Who};
use crate::event::Event;
use crate::ids::{ClientId, NodeId, Seq};
use crate::input::{Request, Which};
use crate::resource::classic::{Cause, Intent};
use crate::wire::message::{Holding, RespondClient, StandbyStep};
use crate::wire::{Body, Fields, Header, Message, Value};
use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};

/// Why a message is not sent.
const MOVE_REFUSED: &str = "resources are in flux, or no other node can take them";
const UNSAYABLE: &str = "it is too long, or holds what must not be sent";
/// What a log line shows of a word that somebody else chose.
const SHOWN_MAX: usize = 64;

/// What somebody local wants the daemon to do, or say.
enum Order {
    /// Nothing but to be sent to all nodes.
    Relay,
    /// To be sent, and answered here as well.
    Query(String),
    /// To go to standby with these groups.
    Standby(Holding),
    /// To ask the other node for groups.
    Takeover(Option<Holding>),
    /// A change of the membership: to be sent, and acted upon here as well.
    Membership(Body<'static>),
}

/// Of which kind a message is, as clients see it.
pub(super) fn kind_of(body: &Body<'_>) -> Filter {
    match body {
        Body::Status(_) | Body::PingStatus(_) => Filter::NO_CHANGE,
        Body::Rexmit(_)
        | Body::Nak(_)
        | Body::Ack(_)
        | Body::ReqNodes
        | Body::RepNodes(_)
        | Body::AddNode(_)
        | Body::DelNode(_)
        | Body::SetWeight(_)
        | Body::SetSite(_)
        | Body::QueryClient(_) => Filter::PROTOCOL,
        Body::Client { kind, .. } if kind == "query-cstatus" => Filter::PROTOCOL,
        _ => Filter::KEEP,
    }
}

impl Node {
    // --- to clients

    /// A new message of another node, addressed to us.
    pub(super) fn offer_heard(&mut self, from: NodeId, seq: Option<Seq>, message: &Message<'_>, bytes: &[u8]) {
        let mut kind = kind_of(&message.body);
        if let Body::Status(status) = &message.body {
            let is_newest =
                self.nodes.get(from).is_some_and(|peer| seq.is_some_and(|seq| seq > peer.receiver.newest_status()));
            if is_newest && self.clients.is_news(from, status.word.as_str()) {
                kind = Filter::KEEP;
            }
        }
        let is_early = self.nodes.get(from).is_some_and(|peer| peer.receiver.missing() > 0);
        if is_early && matches!(message.body, Body::ClientStatus(_)) && !self.clients.is_empty() {
            // Whoever joins must not be heard of before what its node said earlier.
            if let Some(overdue) = self.clients.hold(from, bytes.into()) {
                self.offer_frame(Filter::KEEP, &overdue);
            }
            return;
        }
        self.offer_frame(kind, bytes);
    }

    /// Nothing of `node` is missing any more, or nothing more will come: what waited for that is told.
    pub(super) fn offer_held(&mut self, node: NodeId) {
        for frame in self.clients.release(node) {
            self.offer_frame(Filter::KEEP, &frame);
        }
    }

    /// Tells clients a packet as it travelled, if it is for this node.
    pub(super) fn offer_frame(&mut self, kind: Filter, bytes: &[u8]) {
        if !(self.clients.wants(kind) || self.clients.wants(Filter::DROPPED)) {
            return;
        }
        let config = self.config.clone();
        let Ok(authentic) = config.keyring().verify(bytes) else { return };
        let fields = authentic.into_fields();
        let is_for_us = Header::read(&fields).is_ok_and(|header| self.is_addressed(&header));
        self.offer(if is_for_us { kind } else { Filter::DROPPED }, &fields);
    }

    /// Tells clients a message.
    fn offer(&mut self, kind: Filter, fields: &Fields<'_>) {
        let audience = self.clients.audience(kind, fields.text("to_id").map(|id| &**id));
        if audience.is_empty() {
            return;
        }
        let Some(message) = body(fields, self.config.sealing().msgfmt) else { return };
        for client in audience {
            self.hand_over(client, message.clone());
        }
    }

    /// A node is dead: the message by which clients learn it is made up here (CLIENT 8).
    pub(super) fn offer_death(&mut self, node: NodeId) {
        self.offer_held(node);
        if self.clients.is_news(node, "dead") {
            self.offer_dead(self.name(node), None);
        }
    }

    /// The same for a ping node, whose `info` is the kind it is of.
    pub(super) fn offer_dead(&mut self, name: String, info: Option<&'static str>) {
        if self.clients.wants(Filter::KEEP) {
            let mut fields = Fields::with_capacity(6);
            fields.push_text("t", "status");
            fields.push_text("seq", "1");
            fields.push_text("ts", alloc::format!("{:x}", self.unix_time().0));
            fields.push_text("src", name);
            fields.push_text("st", "dead");
            if let Some(info) = info {
                fields.push_text("info", info);
            }
            self.offer(Filter::KEEP, &fields);
        }
    }

    /// A link went up or down.
    pub(super) fn offer_link(&mut self, node: &str, link: &str, up: bool) {
        if self.clients.wants(Filter::KEEP) {
            let mut fields = Fields::with_capacity(4);
            fields.push_text("t", "ifstat");
            fields.push_text("node", node.to_string());
            fields.push_text("ifname", link.to_string());
            fields.push_text("st", if up { "up" } else { "dead" });
            self.offer(Filter::KEEP, &fields);
        }
    }

    /// A node left the cluster for good.
    pub(super) fn offer_removal(&mut self, name: &str) {
        if self.clients.wants(Filter::KEEP) {
            let mut fields = Fields::with_capacity(2);
            fields.push_text("t", "delnode");
            fields.push_text("node", name);
            self.offer(Filter::KEEP, &fields);
        }
    }

    /// Somebody asks whether a client is signed on here.
    pub(super) fn on_client_query(&mut self, from: NodeId, client: &str, asker: &str) {
        if !self.life.is_started() {
            return;
        }
        let word = if self.clients.has(client) || self.has_built_in(client) { "online" } else { "offline" };
        let answer = RespondClient {
            result: Cow::Borrowed("OK"),
            client: Cow::Borrowed(client),
            to_id: Cow::Borrowed(asker),
            status: Cow::Borrowed(word),
        };
        // The names came from outside; what cannot be said to be there is not.
        let _unsayable = self.post(Body::RespondClient(answer), Some(from));
    }

    // --- from clients

    /// A message that a signed-on client wants to say to the cluster.
    pub(super) fn on_client_message(&mut self, client: ClientId, mut fields: Fields<'_>) {
        let Some(session) = self.clients.get(client) else { return };
        let name = match &session.who {
            Who::Named(name) => name.clone(),
            Who::Casual | Who::Stranger => return self.dismiss(client, "badclient"),
        };
        let (number, is_trusted) = (session.number, session.is_trusted(&self.clients.accounts));
        let kind = text(&fields, "t").unwrap_or_default().to_string();
        for (field, value) in [("from_id", name.clone()), ("to_id", name.clone()), ("client_gen", number.to_string())] {
            fields.set_only(field, Value::text(value));
        }
        let result = order(&kind, &fields, is_trusted).and_then(|order| self.follow(order, &kind, fields, Some(&name)));
        if let Err(why) = result
            && let Some(session) = self.clients.get_mut(client)
            && !core::mem::replace(&mut session.is_noted, true)
        {
            self.report(Event::ClientSilenced { client: name, kind: shown(&kind), why: why.into() });
        }
    }

    /// A message that root wrote to the FIFO: it is said in the name of this node (CLIENT 12).
    pub(super) fn on_fifo(&mut self, bytes: &[u8]) {
        let mut kind = String::new();
        let result = match crate::wire::decode(bytes) {
            _ if !self.life.is_started() => Err("communication is not up yet"),
            Err(_) => Err("it is no message"),
            Ok(decoded) => {
                kind = text(&decoded.fields, "t").unwrap_or_default().to_string();
                order(&kind, &decoded.fields, true).and_then(|order| self.follow(order, &kind, decoded.fields, None))
            }
        };
        if let Err(why) = result {
            self.report(Event::ClientSilenced {
                client: "the command FIFO".into(),
                kind: shown(&kind),
                why: why.into(),
            });
        }
    }

    /// Does what a message orders. `fields` is the message as it will be sent, `name` the client that says it.
    fn follow(&mut self, order: Order, kind: &str, fields: Fields<'_>, name: Option<&str>) -> Result<(), &'static str> {
        match order {
            Order::Relay => self.pass_on(kind, fields),
            Order::Query(about) => {
                let asker = name.map(String::from);
                self.pass_on(kind, fields)?;
                // Every daemon answers, our own too.
                if let Some(asker) = asker {
                    self.on_client_query(self.config.local(), &about, &asker);
                }
                Ok(())
            }
            Order::Standby(set) if self.ledger.rules => {
                self.begin_move(None, Request::Standby(which(set))).map_err(|_| MOVE_REFUSED)
            }
            Order::Takeover(set) if self.ledger.rules => {
                self.begin_move(None, Request::Takeover(set.map_or(Which::Failback, which))).map_err(|_| MOVE_REFUSED)
            }
            Order::Standby(set) => {
                // What it asks for begins with the very message that it wrote; so that one is said, by us.
                let to = self.may_move().map_err(|_| "resources are in flux, or there is no single other node")?;
                self.carry_out(Intent::BeginStandby { set, to, cause: Cause::Local });
                Ok(())
            }
            Order::Takeover(set) => {
                let to = self.may_move().map_err(|_| "resources are in flux, or there is no single other node")?;
                match set {
                    Some(set) => self.send(Body::Takeover(set), None),
                    None if self.book.hold.local => {
                        self.carry_out(Intent::BeginStandby { set: Holding::FOREIGN, to, cause: Cause::Local });
                    }
                    None => self.send(Body::Takeover(Holding::LOCAL), None),
                }
                Ok(())
            }
            Order::Membership(body) => {
                self.post(body.clone(), None).map_err(|_| UNSAYABLE)?;
                let header = Header::new(self.config.local_name().to_string(), self.unix_time());
                let seq = self.sender.newest();
                self.on_sequenced(self.config.local(), seq, &Message { header, body });
                Ok(())
            }
        }
    }

    /// Sends a message of somebody local to all nodes.
    fn pass_on(&mut self, kind: &str, mut fields: Fields<'_>) -> Result<(), &'static str> {
        fields.remove_all("auth");
        let dest = text(&fields, "dest").and_then(|dest| self.config.node_named(dest));
        let kind = Cow::Owned(kind.to_string());
        self.post(Body::Client { kind, fields }, dest).map_err(|_| UNSAYABLE)
    }
}

/// What a message orders, if who says it may.
fn order(kind: &str, fields: &Fields<'_>, is_trusted: bool) -> Result<Order, &'static str> {
    const UNREADABLE: &str = "a field is missing or wrong";
    let set = || text(fields, "rsc_hold").and_then(Which::from_word).ok_or(UNREADABLE);
    let trusted = |order: Order| if is_trusted { Ok(order) } else { Err("only root and hacluster may cause this") };
    match kind {
        "" => Err("it has no type"),
        "status" | "ownership" | "reqownership" | "reqnodes" | "repnodes" | "starting" | "resource" | "shutdone"
        | "stonith" | "hbapi-clstat" | "respond-cstatus" | "hbapi-req" | "hbapi-resp" | "ifstat" => {
            Err("only a daemon says this")
        }
        kind if kind.starts_with("NS_") => Err("only a daemon says this"),
        "query-cstatus" => Ok(Order::Query(text(fields, "cn").ok_or(UNREADABLE)?.to_string())),
        "ask_resources" => {
            if text(fields, "info") != Some(StandbyStep::Me.as_str()) {
                return Err("only a daemon says the later steps of a standby");
            }
            // A standby gives the foreign groups back where failback is meant (CLUSTER c.7).
            trusted(Order::Standby(match set()? {
                Which::All => Holding::ALL,
                Which::Local => Holding::LOCAL,
                Which::Foreign | Which::Failback => Holding::FOREIGN,
            }))
        }
        "hb_takeover" => trusted(Order::Takeover(match set()? {
            Which::All => Some(Holding::ALL),
            Which::Local => Some(Holding::LOCAL),
            Which::Foreign => Some(Holding::FOREIGN),
            Which::Failback => None,
        })),
        "addnode" | "delnode" | "setweight" | "setsite" => {
            let body = Body::read(fields.borrowed()).map_err(|_| UNREADABLE)?;
            trusted(Order::Membership(owned(body).ok_or(UNREADABLE)?))
        }
        "ip-request" | "ip-request-resp" => trusted(Order::Relay),
        _ => Ok(Order::Relay),
    }
}

/// The beginning of a word that somebody else chose, for a log line.
pub(super) fn shown(word: &str) -> String {
    word.chars().take(SHOWN_MAX).collect()
}

/// A membership message without borrows; `None` of any other.
fn owned(body: Body<'_>) -> Option<Body<'static>> {
    use crate::wire::message::{SetSite, SetWeight};
    let names =
        |names: alloc::vec::Vec<Cow<'_, str>>| names.into_iter().map(|name| Cow::Owned(name.into_owned())).collect();
    Some(match body {
        Body::AddNode(nodes) => Body::AddNode(names(nodes)),
        Body::DelNode(nodes) => Body::DelNode(names(nodes)),
        Body::SetWeight(SetWeight { node, weight }) => {
            Body::SetWeight(SetWeight { node: Cow::Owned(node.into_owned()), weight })
        }
        Body::SetSite(SetSite { node, site }) => {
            Body::SetSite(SetSite { node: Cow::Owned(node.into_owned()), site: Cow::Owned(site.into_owned()) })
        }
        _ => return None,
    })
}
