//! The control socket: JSON lines from local clients, answered by the node. docs/control.md describes the protocol.
//!
//! Who connects is known by the socket's peer credentials: everybody may ask for the status and watch, only root and the
//! user of the daemon may change anything. Who joins is a client of the API to the node; see `member`.
//!
//! Invariants: at most [`CLIENTS_MAX`] clients; a line is at most [`LINE_MAX`] bytes; a client that does not read its
//! answers is disconnected at [`UNREAD_MAX`] bytes; at most [`SPOKEN_MAX`] messages wait for the node; nothing here waits.
//! However many come or ask at once, a turn of the daemon lets in [`ADMIT_MAX`] and hears a few requests, of each client in
//! turn; what a client has written beyond that stays in its socket.

mod asked;
mod member;

pub use asked::{Asked, Named};

use crate::refusals::Refusals;
use hb_core::config::{Change, Plan};
use hb_core::ids::ClientId;
use hb_core::{Closed, Credentials, Door, Input, Level, Response};
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde_json::{Value, json};
use slab::Slab;
use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// More clients than any tool opens; the next one is turned away.
pub const CLIENTS_MAX: usize = 64;
/// So many who knock are let in, or turned away, in one turn.
pub const ADMIT_MAX: usize = 64;
/// The longest request in bytes.
pub const LINE_MAX: usize = 4096;
/// How much a client may leave unread, in bytes.
pub const UNREAD_MAX: usize = 256 * 1024;
/// So much of members may wait to be heard by the node; it hears a few each turn.
pub const SPOKEN_MAX: usize = 256;
/// Clients of the other socket have numbers below this, as members.
const MEMBERS: u64 = 1 << 63;

/// What a member does.
#[derive(Debug)]
enum Spoken {
    Opened(ClientId, Credentials),
    Message(ClientId, Vec<u8>),
    Closed(ClientId),
}

#[expect(clippy::struct_excessive_bools, reason = "each is true of it or not, whatever the others are")]
#[derive(Debug)]
struct Client {
    id: ClientId,
    stream: UnixStream,
    peer: Credentials,
    watches: bool,
    is_member: bool,
    read: Vec<u8>,
    unsent: Vec<u8>,
    /// It is disconnected as soon as it has read what it was told.
    closing: bool,
    /// It waits in `readable`.
    is_readable: bool,
}

/// The socket and its clients.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: Slab<Client>,
    /// The first token of clients; client `n` of the slab has this plus `n`.
    first: usize,
    last_id: u64,
    /// Whether somebody may knock whom no further event announces.
    somebody_knocks: bool,
    /// Clients from which more may be read, in turn.
    readable: VecDeque<usize>,
    refusals: Refusals,
    spoken: VecDeque<Spoken>,
    /// The message that is being handled.
    message: Vec<u8>,
    /// Whether the node hears clients; nobody can join before it does.
    door: Option<Door>,
}

impl Control {
    /// Listens at `path`; a socket left there by an earlier daemon is replaced, so the pid file must be held.
    pub fn open(path: &Path, registry: &Registry, listen: Token, first_client: Token) -> io::Result<Control> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        registry.register(&mut listener, listen, Interest::READABLE)?;
        Ok(Control {
            listener,
            path: path.to_owned(),
            clients: Slab::new(),
            first: first_client.0,
            last_id: 0,
            somebody_knocks: false,
            readable: VecDeque::new(),
            refusals: Refusals::default(),
            spoken: VecDeque::new(),
            message: Vec::new(),
            door: None,
        })
    }

    /// Somebody knocks.
    pub fn on_listener(&mut self) {
        self.somebody_knocks = true;
    }

    /// Takes in those who wait to be connected, as many as one turn bears.
    pub fn admit(&mut self, registry: &Registry) {
        if !self.somebody_knocks {
            return;
        }
        for _ in 0..ADMIT_MAX {
            let Ok((stream, _)) = self.listener.accept() else {
                // Nobody more, or no descriptor for them: the next connection is an event again.
                self.somebody_knocks = false;
                return;
            };
            self.admit_one(stream, registry);
        }
    }

    fn admit_one(&mut self, mut stream: UnixStream, registry: &Registry) {
        let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
        let pid = u32::try_from(peer.pid()).unwrap_or(0);
        let peer = Credentials { pid, uid: peer.uid(), gid: peer.gid() };
        if self.clients.len() >= CLIENTS_MAX {
            let busy = failure("busy", "too many clients are connected");
            // A client that is turned away may not even hear why.
            let _unheard = writeln!(stream, "{busy}");
            let who = shown(peer);
            return self.refusals.note(format!("{who} turned away: all {CLIENTS_MAX} places are taken"));
        }
        self.last_id += 1;
        let slot = self.clients.vacant_entry();
        let token = Token(self.first + slot.key());
        if registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
            let id = ClientId(self.last_id);
            let (read, unsent) = (Vec::new(), Vec::new());
            let (watches, is_member, closing, is_readable) = (false, false, false, false);
            slot.insert(Client { id, stream, peer, watches, is_member, read, unsent, closing, is_readable });
        }
    }

    /// Whether the token is one of ours.
    pub fn owns(&self, token: Token) -> bool {
        (self.first..self.first + CLIENTS_MAX).contains(&token.0)
    }

    /// The client of `token` can be read or written, or is gone.
    pub fn on_client(&mut self, token: Token) {
        let key = token.0 - self.first;
        let Some(client) = self.clients.get_mut(key) else { return };
        if !client.flush() {
            self.remove(key);
        } else if !client.closing && !std::mem::replace(&mut client.is_readable, true) {
            self.readable.push_back(key);
        }
    }

    /// Forgets a client; as a member it has left.
    fn remove(&mut self, key: usize) {
        let client = self.clients.remove(key);
        if client.is_member {
            self.spoken.push_back(Spoken::Closed(as_member(client.id)));
        }
    }

    /// Takes the next request; each client in turn has one.
    pub fn next_request(&mut self) -> Option<(ClientId, Asked)> {
        loop {
            let key = self.readable.pop_front()?;
            // Its place may have been taken by another, which then is looked at once too often.
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.is_readable = false;
            if client.closing {
                continue;
            }
            match client.receive() {
                Received::Nothing => {}
                Received::End => self.remove(key),
                Received::Request(asked) => {
                    client.is_readable = true;
                    self.readable.push_back(key);
                    let id = client.id;
                    if let Asked::Nothing(answer) = &asked {
                        let why = answer["text"].as_str().unwrap_or_default();
                        self.refusals.note(format!("{} refused: {why}", shown(client.peer)));
                    }
                    return Some((id, asked));
                }
            }
        }
    }

    /// Who was turned away, and what was refused.
    pub(crate) fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// Answers a client, if it is still there.
    pub fn answer(&mut self, id: ClientId, answer: &Value) {
        let Some((key, client)) = self.clients.iter_mut().find(|(_, client)| client.id == id) else { return };
        client.say(answer);
        if !client.flush() {
            if client.unsent.len() > UNREAD_MAX {
                let who = shown(client.peer);
                self.refusals.note(format!("{who} thrown out: it has left more than {UNREAD_MAX} bytes unread"));
            }
            self.remove(key);
        }
    }

    // --- watchers

    /// From now on the client gets a line for everything that the node reports.
    pub fn watch(&mut self, id: ClientId) {
        if let Some((_, client)) = self.clients.iter_mut().find(|(_, client)| client.id == id) {
            client.watches = true;
            self.answer(id, &json!({"v": VERSION, "ok": true, "text": "watching"}));
        }
    }

    /// Tells all who watch.
    pub fn publish(&mut self, unix_time: u64, level: Level, text: &str) {
        if self.clients.iter().all(|(_, client)| !client.watches) {
            return;
        }
        let line =
            json!({"v": VERSION, "event": "report", "unix_time": unix_time, "level": level.word(), "text": text});
        let watchers: Vec<ClientId> =
            self.clients.iter().filter(|(_, client)| client.watches).map(|(_, client)| client.id).collect();
        for id in watchers {
            self.answer(id, &line);
        }
    }

    // --- members

    /// Whether the node hears clients.
    pub fn set_door(&mut self, door: Door) {
        self.door = Some(door);
    }

    /// The client wants to take part under a name; the node answers.
    pub fn join(&mut self, id: ClientId, name: &str) {
        let Some((_, client)) = self.clients.iter_mut().find(|(_, client)| client.id == id) else { return };
        let refused = match (client.is_member, self.door) {
            (true, _) => Some("this connection has joined already"),
            (false, None) => Some("communication is not up yet"),
            (false, Some(_)) if self.spoken.len() >= SPOKEN_MAX => Some("too much is waiting to be said; try again"),
            (false, Some(_)) => None,
        };
        let peer = client.peer;
        match refused.map_or_else(|| member::sign_on(name, peer), |text| Err(failure("refused", text))) {
            Ok(message) => {
                client.is_member = true;
                self.spoken.push_back(Spoken::Opened(as_member(id), peer));
                self.spoken.push_back(Spoken::Message(as_member(id), message));
            }
            Err(answer) => self.answer(id, &answer),
        }
    }

    /// The client says something to the clients of its name.
    pub fn say(&mut self, id: ClientId, message: Vec<u8>) {
        let Some((_, client)) = self.clients.iter().find(|(_, client)| client.id == id) else { return };
        let answer = if !client.is_member {
            failure("refused", "join first")
        } else if self.spoken.len() >= SPOKEN_MAX {
            failure("busy", "too much is waiting to be said; try again")
        } else if self.door == Some(Door::Paused) {
            failure("busy", "a live node has more than 250 messages of this one to acknowledge; try again")
        } else {
            self.spoken.push_back(Spoken::Message(as_member(id), message));
            json!({"v": VERSION, "ok": true, "text": "said"})
        };
        self.answer(id, &answer);
    }

    /// Whether something of clients can be done without waiting.
    pub fn is_ready(&self) -> bool {
        self.somebody_knocks || !self.readable.is_empty() || self.has_spoken()
    }

    /// Whether a member did something that the node has not heard of.
    pub fn has_spoken(&self) -> bool {
        !self.spoken.is_empty()
    }

    /// The next thing that a member did.
    pub fn hear(&mut self) -> Option<Input<'_>> {
        Some(match self.spoken.pop_front()? {
            Spoken::Opened(client, peer) => Input::ApiOpened { client, peer },
            Spoken::Closed(client) => Input::ApiClosed { client, why: Closed::Eof },
            Spoken::Message(client, message) => {
                self.message = message;
                Input::ApiMessage { client, bytes: &self.message }
            }
        })
    }

    /// Whether a client of the node is a member here.
    pub fn has(client: ClientId) -> bool {
        client.0 & MEMBERS != 0
    }

    /// Tells a member a message of the node.
    pub fn tell(&mut self, client: ClientId, body: &[u8]) {
        self.answer(ClientId(client.0 & !MEMBERS), &member::line(body));
    }

    /// The node has done with a member, which stays connected and is none any more.
    pub fn dismiss(&mut self, client: ClientId) {
        let id = ClientId(client.0 & !MEMBERS);
        if let Some((_, client)) = self.clients.iter_mut().find(|(_, client)| client.id == id) {
            client.is_member = false;
        }
    }
}

/// What the node calls a client that has joined.
fn as_member(id: ClientId) -> ClientId {
    ClientId(id.0 | MEMBERS)
}

impl Drop for Control {
    fn drop(&mut self) {
        // What cannot be removed is replaced at the next start.
        let _left = fs::remove_file(&self.path);
    }
}

enum Received {
    Request(Asked),
    Nothing,
    End,
}

/// A client for the log.
fn shown(peer: Credentials) -> String {
    format!("control client [pid {}, uid {}]", peer.pid, peer.uid)
}

impl Client {
    fn say(&mut self, answer: &Value) {
        self.unsent.extend_from_slice(answer.to_string().as_bytes());
        self.unsent.push(b'\n');
    }

    /// Takes one request, reading only if none is there.
    fn receive(&mut self) -> Received {
        let may_change = self.peer.uid == 0 || self.peer.uid == nix::unistd::geteuid().as_raw();
        let mut buffer = [0; 1024];
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Received::Request(asked::parse(&line, may_change).unwrap_or_else(Asked::Nothing));
            }
            if self.read.len() > LINE_MAX {
                self.closing = true;
                let text = format!("a request is at most {LINE_MAX} bytes");
                return Received::Request(Asked::Nothing(failure("bad-request", &text)));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Received::End,
                Ok(length) => self.read.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::End,
            }
        }
    }

    /// Writes what can be written; whether the connection lives.
    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.unsent.len() <= UNREAD_MAX,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        !self.closing
    }
}

/// An answer that says no.
pub(crate) fn failure(kind: &str, text: &str) -> Value {
    json!({"v": VERSION, "ok": false, "error": kind, "text": text})
}

/// The answer to a reload: the plan, or what is wrong with the files.
pub fn reloaded(result: &Result<Plan, Vec<String>>) -> Value {
    match result {
        Ok(plan) => {
            let lines =
                |changes: &mut dyn Iterator<Item = &Change>| changes.map(ToString::to_string).collect::<Vec<_>>();
            let (applied, waiting) = (lines(&mut plan.applied()), lines(&mut plan.waiting()));
            let text = match (applied.len(), waiting.len()) {
                (0, 0) => "nothing has changed".to_owned(),
                (applied, 0) => format!("{applied} changes applied"),
                (applied, waiting) => format!("{applied} changes applied, {waiting} wait for a restart"),
            };
            json!({"v": VERSION, "ok": true, "text": text, "applied": applied, "waiting": waiting})
        }
        Err(problems) => {
            let mut answer = failure("bad-files", "the files have errors: what runs goes on as it is");
            answer["problems"] = problems.clone().into();
            answer
        }
    }
}

/// The answer to a standby or takeover.
pub fn outcome(response: &Response) -> Value {
    let error = match response {
        Response::Done | Response::Cleaned(_) => return json!({"v": VERSION, "ok": true, "text": response.to_string()}),
        Response::Refused(_) => "refused",
        Response::Cancelled(_) => "cancelled",
    };
    failure(error, &response.to_string())
}
