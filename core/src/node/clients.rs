//! Clients of the API: sign-on, questions, leaving. Read CLIENT 6, 7, 10 and 11 first.
//!
//! A question is answered in the step that brings it, so replies stand in the order of questions. What clients say to
//! the cluster and hear from it is in `relay.rs`.

use super::Node;
use super::relay::shown;
use crate::action::{Action, Door};
use crate::client::letters::{Answer, INVALID, body, decimal, hex, replies, text};
use crate::client::parameters::parameter;
use crate::client::signon::{Verdict, answer, judge};
use crate::client::{Filter, Session, Who};
use crate::config::Member;
use crate::config::clients::CLIENT_NAME_MAX;
use crate::config::hostcache::WEIGHT;
use crate::event::Event;
use crate::ids::{ClientId, NodeId, NodeUuid};
use crate::input::{Accounts, Closed, Credentials};
use crate::membership::{Liveness, Peer};
use crate::wire::message::{ClientStatus, QueryClient};
use crate::wire::{Body, Fields};
use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// Clients are not heard while a live node has more of our messages than this unacknowledged (CLIENT 3.1).
const UNACKNOWLEDGED_MAX: u64 = 250;
/// More messages than this may not wait for a client, whatever it asks for.
const WAITING_MAX: u32 = 4096;

/// An entry of the node list as clients know it.
enum Known {
    Node(NodeId),
    /// By its position in the configuration.
    Ping(usize),
}

impl Node {
    pub(super) fn on_accounts(&mut self, accounts: Accounts) {
        self.clients.accounts = accounts;
    }

    pub(super) fn on_api_opened(&mut self, client: ClientId, peer: Credentials) {
        self.clients.open(client, peer);
    }

    pub(super) fn on_api_closed(&mut self, client: ClientId, why: Closed) {
        let reason = match why {
            Closed::Eof => "EOF".to_string(),
            Closed::Died => "died".to_string(),
            Closed::BadFrame => "noinput".to_string(),
            Closed::Overflow { waiting } => {
                let pid = self.clients.get(client).map_or(0, |session| session.peer.pid);
                alloc::format!("send failed,farside_pid={pid}, sendq length={waiting}(max is {waiting})")
            }
        };
        self.forget_client(client, &reason);
    }

    pub(super) fn on_api_message(&mut self, client: ClientId, bytes: &[u8]) {
        let Some(session) = self.clients.get_mut(client) else { return };
        let Ok(decoded) = crate::wire::decode(bytes) else {
            if session.is_beyond_hope() {
                self.dismiss(client, "noinput");
            }
            return;
        };
        session.made_sense();
        let fields = decoded.fields;
        if session.who == Who::Stranger {
            self.on_sign_on(client, &fields);
        } else if text(&fields, "t") == Some("hbapi-req") {
            self.on_question(client, &fields);
        } else {
            self.on_client_message(client, fields);
        }
    }

    /// Opens or pauses the door as the backlog wants it; who is in stays in.
    pub(super) fn mind_the_door(&mut self) {
        let Some(is_heard) = self.clients.is_heard else { return };
        if is_heard && self.clients.is_empty() {
            return;
        }
        let live = self.nodes.others().filter(|(_, peer)| peer.liveness.is_live()).map(|(id, _)| id);
        let may_be_heard = self.sender.unacknowledged(live) <= UNACKNOWLEDGED_MAX;
        if is_heard != may_be_heard {
            self.clients.is_heard = Some(may_be_heard);
            self.report(Event::ClientsHeard(may_be_heard));
            self.actions.0.push(Action::Door(if may_be_heard { Door::Open } else { Door::Paused }));
        }
    }

    /// Communication is up: clients may come.
    pub(super) fn open_door(&mut self) {
        self.clients.is_heard = Some(true);
        self.actions.0.push(Action::Door(Door::Open));
    }

    // --- coming and going

    fn on_sign_on(&mut self, client: ClientId, fields: &Fields<'_>) {
        let config = self.config.clone();
        let Some(session) = self.clients.get(client) else { return };
        let (peer, number) = (session.peer, session.number);
        match judge(&self.clients, &config, peer, fields) {
            Verdict::Nothing => {
                if self.clients.get_mut(client).is_some_and(Session::is_beyond_hope) {
                    self.dismiss(client, "noinput");
                }
            }
            Verdict::Welcome(who) => {
                if let Some(session) = self.clients.get_mut(client) {
                    session.who = who.clone();
                }
                if let Who::Named(name) = who {
                    self.report(Event::ClientJoined { client: name.clone(), pid: peer.pid });
                    // Before the reply, and its own copy too (CLIENT 6).
                    self.say_client(&name, true, "signon", number);
                }
                self.tell(client, &answer(&config, None));
            }
            Verdict::Refused { info, named, known } => {
                let who = known.clone().or_else(|| text(fields, "from_id").map(String::from)).unwrap_or_default();
                if self.clients.may_complain(*self.now) {
                    let client = shown(&who);
                    self.report(Event::ClientRefused { client, pid: peer.pid, uid: peer.uid, why: info });
                }
                self.tell(client, &answer(&config, Some(info)));
                if named {
                    let id = known.unwrap_or_default();
                    self.tell(client, &leave(config.local_name(), &id, info, number));
                }
                // *Ours*: it never joined, so nobody else hears that it leaves.
                self.dismiss(client, info);
            }
        }
    }

    /// Tells all nodes that a named client came or went.
    pub(super) fn say_client(&mut self, name: &str, joined: bool, info: &str, number: u64) {
        let (from_id, to_id) = (Cow::Borrowed(name), Cow::Borrowed(name));
        let (info, client_gen) = (Cow::Borrowed(info), Cow::Owned(number.to_string()));
        self.send(Body::ClientStatus(ClientStatus { joined, from_id, to_id, info, client_gen }), None);
    }

    /// Ends a connection from our side; a named client hears why.
    pub(super) fn dismiss(&mut self, client: ClientId, reason: &str) {
        if let Some(session) = self.clients.get(client)
            && let Some(name) = session.name()
        {
            let farewell = leave(self.config.local_name(), name, reason, session.number);
            self.tell(client, &farewell);
        }
        self.actions.0.push(Action::Dismiss { client });
        self.forget_client(client, reason);
    }

    fn forget_client(&mut self, client: ClientId, reason: &str) {
        let Some(session) = self.clients.remove(client) else { return };
        if let Some(name) = session.name() {
            self.report(Event::ClientLeft { client: name.into(), pid: session.peer.pid, why: reason.into() });
            self.say_client(name, false, reason, session.number);
        }
    }

    // --- questions

    fn on_question(&mut self, client: ClientId, fields: &Fields<'_>) {
        let Some(session) = self.clients.get(client) else { return };
        // Whoever claims to be somebody else gets no answer (CLIENT 7).
        let is_own = match (text(fields, "from_id"), decimal::<u32>(fields, "pid")) {
            (Some(id), _) => session.id().is_some_and(|own| own == id),
            (None, Some(pid)) => pid == session.peer.pid,
            (None, None) => false,
        };
        if !is_own {
            return;
        }
        let Some(request) = text(fields, "reqtype") else {
            return self.say(client, "", Answer::Bad(None));
        };
        let answer = match request {
            "signoff" => return self.dismiss(client, "signoff"),
            "setfilter" => self.set_filter(client, fields),
            "setsignal" => self.set_signal(client, fields),
            "set_sendqlen" => {
                if let Some(waiting) = decimal::<u32>(fields, "sendqlen").filter(|waiting| *waiting > 0) {
                    self.actions.0.push(Action::Allow { client, waiting: waiting.min(WAITING_MAX) });
                }
                Answer::Silence
            }
            "clientstatus" => self.client_status(client, fields),
            _ => self.answer(request, fields),
        };
        self.say(client, request, answer);
    }

    fn say(&mut self, client: ClientId, request: &str, answer: Answer) {
        for reply in replies(request, answer) {
            self.tell(client, &reply);
        }
    }

    /// Gives one message to a client; one that no format carries is left out.
    pub(super) fn tell(&mut self, client: ClientId, fields: &Fields<'_>) {
        if let Some(message) = body(fields, self.config.sealing().msgfmt) {
            self.hand_over(client, message);
        }
    }

    pub(super) fn hand_over(&mut self, client: ClientId, message: crate::action::Frame) {
        let signal = self.clients.get(client).map(|session| session.signal).filter(|signal| *signal != 0);
        self.actions.0.push(Action::Tell { client, message, signal });
    }

    fn set_filter(&mut self, client: ClientId, fields: &Fields<'_>) -> Answer {
        let Some(filter) = hex(fields, "fmask").and_then(Filter::of) else { return INVALID };
        let Some(session) = self.clients.get_mut(client) else { return Answer::Silence };
        if filter.is_curious() && session.peer.uid != 0 {
            return Answer::Bad(Some("EPERM"));
        }
        session.filter = filter;
        Answer::Fine(Vec::new())
    }

    fn set_signal(&mut self, client: ClientId, fields: &Fields<'_>) -> Answer {
        if fields.get("signal").is_none() {
            return Answer::Bad(None);
        }
        let signal = decimal(fields, "signal").filter(|signal| *signal < 32 && !matches!(signal, 9 | 19));
        match (signal, self.clients.get_mut(client)) {
            (Some(signal), Some(session)) => {
                session.signal = signal;
                Answer::Fine(Vec::new())
            }
            _ => INVALID,
        }
    }

    /// Here at once; of another live node the answer comes as a message of that node (CLIENT 10).
    fn client_status(&mut self, client: ClientId, fields: &Fields<'_>) -> Answer {
        // No client has a longer name, so nobody is asked about one.
        let name = text(fields, "cn").filter(|name| name.len() <= CLIENT_NAME_MAX);
        let (Some(known), Some(name)) = (self.known(fields), name) else { return INVALID };
        let word = |is_online| if is_online { "online" } else { "offline" };
        let is_online = match known {
            Known::Node(node) if node == self.config.local() => self.clients.has(name) || self.has_built_in(name),
            Known::Node(node) if self.nodes.get(node).is_some_and(|peer| peer.liveness == Liveness::Active) => {
                let Some(from_id) = self.clients.get(client).and_then(Session::id) else { return Answer::Silence };
                let query = QueryClient { client: Cow::Borrowed(name), from_id: Cow::Owned(from_id) };
                let is_said = self.post(Body::QueryClient(query), Some(node)).is_ok();
                return if is_said { Answer::Silence } else { INVALID };
            }
            Known::Node(_) | Known::Ping(_) => false,
        };
        let cs = word(is_online).to_string();
        Answer::Fine(alloc::vec![("subt", "respond-cstatus".into()), ("cs", cs)])
    }

    /// The questions that change nothing.
    fn answer(&self, request: &str, fields: &Fields<'_>) -> Answer {
        let one = |name: &'static str, value: String| Answer::Fine(alloc::vec![(name, value)]);
        let of_node = |name: &'static str, value: fn(&Node, &Known) -> String| match self.known(fields) {
            Some(known) => one(name, value(self, &known)),
            None => INVALID,
        };
        match request {
            "nodelist" => self.node_list(),
            "numnodes" => one("numnodes", self.config.present().count().to_string()),
            "nodestatus" => of_node("st", |node, known| node.status_word(known).to_string()),
            "nodetype" => of_node("nodetype", |_, known| type_of(known).to_string()),
            "nodeweight" => of_node("weight", Node::weight),
            "nodesite" => of_node("site", Node::site),
            "iflist" => self.link_list(fields),
            "ifstatus" => self.link_status(fields),
            "getparm" => match text(fields, "pname") {
                Some(name) => {
                    Answer::Fine(parameter(&self.config, name).map(|value| ("pvalue", value)).into_iter().collect())
                }
                None => INVALID,
            },
            "getrsc" if !self.config.manages_resources() => {
                Answer::Bad(Some("Resource is managed by crm. Use crm tool to query resource"))
            }
            "getrsc" => {
                let status = self.status();
                one("rsc_hold", if status.is_stable() { status.holding() } else { "transition" }.to_string())
            }
            "getuuid" => match text(fields, "queryname") {
                None => Answer::Bad(Some("no query node name found")),
                Some(name) => {
                    let uuid = self.config.node_named(name).and_then(|node| self.nodes.get(node)?.uuid);
                    uuid.map_or(Answer::Fine(Vec::new()), |uuid| Answer::Binary("queryuuid", uuid.0))
                }
            },
            "getnodename" => self.node_name(fields),
            _ => Answer::Bad(None),
        }
    }

    /// The entry that `node` names, in any case.
    fn known(&self, fields: &Fields<'_>) -> Option<Known> {
        let name = text(fields, "node")?;
        let node = self.config.node_named(name).map(Known::Node);
        node.or_else(|| {
            let mut pings = self.config.ping_names().iter();
            pings.position(|ping| ping.eq_ignore_ascii_case(name)).map(Known::Ping)
        })
    }

    fn status_word(&self, known: &Known) -> &'static str {
        match known {
            Known::Node(node) if *node == self.config.local() => self.life.status_word(),
            Known::Node(node) => self.nodes.get(*node).map_or("dead", |peer| peer.liveness.word()),
            Known::Ping(at) => self.pings.iter().nth(*at).map_or(Liveness::Dead, |ping| ping.liveness).word(),
        }
    }

    /// The weight by which quorum counts a node.
    fn weight(&self, known: &Known) -> String {
        self.peer_of(known).map_or(WEIGHT, |peer| peer.weight).to_string()
    }

    /// The site a node belongs to.
    fn site(&self, known: &Known) -> String {
        self.peer_of(known).map_or_else(String::new, |peer| peer.site.clone())
    }

    fn peer_of(&self, known: &Known) -> Option<&Peer> {
        match known {
            Known::Node(node) => self.nodes.get(*node),
            Known::Ping(_) => None,
        }
    }

    fn node_list(&self) -> Answer {
        let entry = |member: &Member| {
            let (name, known) = match *member {
                Member::Node(node) => (self.config.node(node)?.name.clone(), Known::Node(node)),
                Member::Ping(at) => {
                    let at = usize::from(at);
                    (self.config.ping_names().get(at)?.clone(), Known::Ping(at))
                }
            };
            let (kind, word) = (type_of(&known).to_string(), self.status_word(&known).to_string());
            Some(alloc::vec![("node", name), ("nodetype", kind), ("st", word)])
        };
        Answer::List(self.config.members().iter().filter_map(entry).collect())
    }

    fn links_of(&self, fields: &Fields<'_>) -> Option<Vec<(String, &'static str)>> {
        let word = |up| if up { "up" } else { "dead" };
        Some(match self.known(fields)? {
            Known::Node(node) => {
                let links = self.nodes.get(node)?.links.iter().zip(self.config.media());
                let links = links.filter(|(_, medium)| !medium.kind.is_ping());
                links.map(|((_, link), medium)| (medium.name.clone(), word(link.up))).collect()
            }
            // A ping node has one link of its own name.
            Known::Ping(at) => {
                let is_up = self.pings.iter().nth(at)?.liveness == Liveness::Ping;
                alloc::vec![(self.config.ping_names().get(at)?.clone(), word(is_up))]
            }
        })
    }

    fn link_list(&self, fields: &Fields<'_>) -> Answer {
        let Some(links) = self.links_of(fields) else { return INVALID };
        Answer::List(links.into_iter().map(|(name, word)| alloc::vec![("ifname", name), ("st", word.into())]).collect())
    }

    fn link_status(&self, fields: &Fields<'_>) -> Answer {
        let (Some(links), Some(name)) = (self.links_of(fields), text(fields, "ifname")) else { return INVALID };
        let link = links.into_iter().find(|(link, _)| link == name);
        link.map_or(INVALID, |(_, word)| Answer::Fine(alloc::vec![("st", word.into())]))
    }

    fn node_name(&self, fields: &Fields<'_>) -> Answer {
        let Some(uuid) = fields.binary("queryuuid") else { return Answer::Bad(Some("no query node name found")) };
        let uuid = <[u8; 16]>::try_from(&**uuid).map(NodeUuid).ok().filter(|uuid| *uuid != NodeUuid::ZERO);
        let found = self.nodes.iter().find(|(_, peer)| uuid.is_some() && peer.uuid == uuid);
        let name = found.and_then(|(node, _)| self.config.node(node)).map(|node| ("queryname", node.name.clone()));
        Answer::Fine(name.into_iter().collect())
    }
}

fn type_of(known: &Known) -> &'static str {
    match known {
        Known::Node(_) => "normal",
        Known::Ping(_) => "ping",
    }
}

/// The message by which a client learns that it is gone: without the header of the wire (CLIENT 10).
fn leave(src: &str, id: &str, info: &str, number: u64) -> Fields<'static> {
    let mut fields = Fields::with_capacity(7);
    fields.push_text("t", "hbapi-clstat");
    fields.push_text("st", "leave");
    for (name, value) in [("from_id", id), ("to_id", id), ("src", src), ("info", info)] {
        fields.push_text(name, value.to_string());
    }
    fields.push_text("client_gen", number.to_string());
    fields
}
