//! The socket of the API of 3.0.6: connections, frames, queues. What they say is decided in the core.
//!
//! Read CLIENT 2, 3 and 11 first.
//!
//! Invariants:
//! - nothing here waits for a client: what it does not take in time is counted, and it is thrown out,
//! - however many come or speak at once, a turn of the daemon takes in [`ADMIT_MAX`] and hears a few of them,
//! - at most [`CLIENTS_MAX`] connections, of which ordinary users cannot have the last [`RESERVED`],
//! - every connection that was opened is closed once: by us after [`Api::dismiss`], else as a [`Happening`].

pub(crate) mod framing;

use crate::refusals::Refusals;
use crate::sys;
use framing::Beginning;
use hb_core::config::clients::CLUSTER_USER;
use hb_core::ids::ClientId;
use hb_core::time::Instant;
use hb_core::{Closed, Credentials, Input};
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use slab::Slab;
use std::collections::VecDeque;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// More clients than any machine runs.
pub(crate) const CLIENTS_MAX: usize = 128;
/// Places that only root and the cluster's user can take.
const RESERVED: usize = 16;
/// So many who knock are let in, or turned away, in one turn.
pub(crate) const ADMIT_MAX: usize = 64;
/// How many messages may wait for a client that has not asked for more (CLIENT 3.1).
const WAITING: u32 = 64;
/// How many bytes may wait for a client, whatever it asked for.
const UNREAD_MAX: usize = 8 * 1024 * 1024;
/// How much is read of a client at once; frames are small.
const READ_SIZE: usize = 4096;
/// How often it is looked whether clients live (CLIENT 11).
const SWEEP_EVERY: Duration = Duration::from_secs(9);

/// A connection that came or went.
#[derive(Debug)]
enum Happening {
    Opened(ClientId, Credentials),
    Closed(ClientId, Closed),
}

struct Client {
    id: ClientId,
    stream: UnixStream,
    /// The process that connected; none if it is gone already, or the kernel is older than 5.3.
    process: Option<OwnedFd>,
    received: Vec<u8>,
    unsent: VecDeque<Vec<u8>>,
    /// How much of the first one is sent.
    sent: usize,
    unsent_bytes: usize,
    waiting_max: u32,
    is_closing: bool,
    /// It waits in `readable`.
    is_readable: bool,
}

/// The socket and its clients.
pub(crate) struct Api {
    path: PathBuf,
    registry: Registry,
    listen: Token,
    /// The first token of clients; client `n` of the slab has this plus `n`.
    first: usize,
    listener: Option<UnixListener>,
    /// Whether somebody may knock whom no further event announces.
    somebody_knocks: bool,
    is_paused: bool,
    refusals: Refusals,
    trusted: Option<u32>,
    clients: Slab<Client>,
    last_id: u64,
    happenings: VecDeque<Happening>,
    /// Clients from which more may be read, in turn.
    readable: VecDeque<usize>,
    /// The body of the message that is being handled.
    body: Vec<u8>,
    sweep_due: Instant,
}

impl Api {
    /// Prepares to listen at `path`; nobody is let in before [`Api::open`].
    pub(crate) fn new(path: PathBuf, registry: Registry, listen: Token, first_client: Token) -> Api {
        Api {
            path,
            registry,
            listen,
            first: first_client.0,
            listener: None,
            somebody_knocks: false,
            is_paused: false,
            refusals: Refusals::default(),
            trusted: crate::accounts::user(CLUSTER_USER),
            clients: Slab::new(),
            last_id: 0,
            happenings: VecDeque::new(),
            readable: VecDeque::new(),
            body: Vec::new(),
            sweep_due: Instant::ORIGIN,
        }
    }

    /// Lets clients in, and hears those that are in.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        self.is_paused = false;
        if self.listener.is_some() {
            return Ok(());
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut listener = UnixListener::bind(&self.path)?;
        // The directory decides who comes so far, the core who may stay.
        fs::set_permissions(&self.path, Permissions::from_mode(0o777))?;
        self.registry.register(&mut listener, self.listen, Interest::READABLE)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Leaves unread what clients say.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Whether something of clients can be handled without waiting.
    pub(crate) fn is_ready(&self) -> bool {
        self.somebody_knocks || !self.happenings.is_empty() || (!self.is_paused && !self.readable.is_empty())
    }

    /// Who was turned away.
    pub(crate) fn refusals(&mut self) -> &mut Refusals {
        &mut self.refusals
    }

    /// Whether the token is one of ours.
    pub(crate) fn owns(&self, token: Token) -> bool {
        (self.first..self.first + CLIENTS_MAX).contains(&token.0)
    }

    /// Somebody knocks.
    pub(crate) fn on_listener(&mut self) {
        self.somebody_knocks = true;
    }

    /// Takes in those who wait to be connected, as many as one turn bears.
    pub(crate) fn admit(&mut self) {
        if !self.somebody_knocks {
            return;
        }
        for _ in 0..ADMIT_MAX {
            let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) else {
                // Nobody more, or no descriptor for them: the next connection is an event again.
                self.somebody_knocks = false;
                return;
            };
            self.admit_one(stream);
        }
    }

    fn admit_one(&mut self, mut stream: UnixStream) {
        let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
        let is_trusted = peer.uid() == 0 || Some(peer.uid()) == self.trusted;
        let places = if is_trusted { CLIENTS_MAX } else { CLIENTS_MAX - RESERVED };
        if self.clients.len() >= places {
            let (pid, uid) = (peer.pid(), peer.uid());
            let why =
                format!("client [pid {pid}, uid {uid}] turned away: all {places} places for such clients are taken");
            return self.refusals.note(why);
        }
        let pid = u32::try_from(peer.pid()).unwrap_or(0);
        let slot = self.clients.vacant_entry();
        let token = Token(self.first + slot.key());
        if self.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_err() {
            return;
        }
        self.last_id += 1;
        let id = ClientId(self.last_id);
        slot.insert(Client {
            id,
            stream,
            process: sys::open_process(pid).ok(),
            received: Vec::new(),
            unsent: VecDeque::new(),
            sent: 0,
            unsent_bytes: 0,
            waiting_max: WAITING,
            is_closing: false,
            is_readable: false,
        });
        let peer = Credentials { pid, uid: peer.uid(), gid: peer.gid() };
        self.happenings.push_back(Happening::Opened(id, peer));
    }

    /// A client can be read or written, or is gone.
    pub(crate) fn on_client(&mut self, token: Token) {
        let key = token.0 - self.first;
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.flush().is_err() {
            return self.close(key, Closed::Eof);
        }
        if client.is_closing {
            if client.unsent.is_empty() {
                self.clients.remove(key);
            }
        } else if !std::mem::replace(&mut client.is_readable, true) {
            self.readable.push_back(key);
        }
    }

    /// The next thing that a client did; each in turn says one message.
    pub(crate) fn next(&mut self) -> Option<Input<'_>> {
        loop {
            match self.happenings.pop_front() {
                Some(Happening::Opened(client, peer)) => return Some(Input::ApiOpened { client, peer }),
                Some(Happening::Closed(client, why)) => return Some(Input::ApiClosed { client, why }),
                None => {}
            }
            if self.is_paused {
                return None;
            }
            let key = self.readable.pop_front()?;
            let Some(client) = self.clients.get_mut(key) else { continue };
            client.is_readable = false;
            if client.is_closing {
                continue;
            }
            match client.receive(&mut self.body) {
                Received::Message => {
                    client.is_readable = true;
                    self.readable.push_back(key);
                    let client = client.id;
                    return Some(Input::ApiMessage { client, bytes: &self.body });
                }
                Received::Nothing => {}
                Received::End => self.close(key, Closed::Eof),
                Received::Nonsense => self.close(key, Closed::BadFrame),
            }
        }
    }

    /// Sends a client a message and then, if so wished, a signal to its process.
    pub(crate) fn tell(&mut self, id: ClientId, body: &Arc<[u8]>, signal: Option<u8>) {
        let Some(key) = self.key_of(id) else { return };
        let Some(client) = self.clients.get_mut(key).filter(|client| !client.is_closing) else { return };
        let mut frame = framing::header(body.len()).to_vec();
        frame.extend_from_slice(body);
        client.unsent_bytes += frame.len();
        client.unsent.push_back(frame);
        let waiting = if client.flush().is_err() {
            return self.close(key, Closed::Eof);
        } else {
            u32::try_from(client.unsent.len()).unwrap_or(u32::MAX)
        };
        if waiting > client.waiting_max || client.unsent_bytes > UNREAD_MAX {
            let waiting = client.waiting_max;
            return self.close(key, Closed::Overflow { waiting });
        }
        if let (Some(signal), Some(process)) = (signal, &client.process) {
            // If it is gone the next sweep finds out.
            let _gone = sys::signal_process(process, signal.into());
        }
    }

    /// From now on so many messages may wait for the client.
    pub(crate) fn allow(&mut self, id: ClientId, waiting: u32) {
        if let Some(client) = self.key_of(id).and_then(|key| self.clients.get_mut(key)) {
            client.waiting_max = waiting;
        }
    }

    /// Disconnects a client after what it was told.
    pub(crate) fn dismiss(&mut self, id: ClientId) {
        let Some(key) = self.key_of(id) else { return };
        let Some(client) = self.clients.get_mut(key) else { return };
        client.is_closing = true;
        if client.flush().is_err() || client.unsent.is_empty() {
            self.clients.remove(key);
        }
    }

    /// Looks from time to time whether clients live.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if now < self.sweep_due {
            return;
        }
        self.sweep_due = now.plus(SWEEP_EVERY);
        let is_gone = |client: &Client| {
            let asked = client.process.as_ref().map(|process| sys::signal_process(process, 0));
            // Whoever was dismissed had time enough to read why.
            client.is_closing || matches!(asked, Some(Err(error)) if error.raw_os_error() == Some(nix::libc::ESRCH))
        };
        let gone: Vec<usize> = self.clients.iter().filter(|(_, client)| is_gone(client)).map(|(key, _)| key).collect();
        for key in gone {
            self.close(key, Closed::Died);
        }
    }

    fn key_of(&self, id: ClientId) -> Option<usize> {
        self.clients.iter().find(|(_, client)| client.id == id).map(|(key, _)| key)
    }

    /// Closes a connection and says so, unless the core said it.
    fn close(&mut self, key: usize, why: Closed) {
        if let Some(client) = self.clients.try_remove(key).filter(|client| !client.is_closing) {
            self.happenings.push_back(Happening::Closed(client.id, why));
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if self.listener.is_some() {
            // What cannot be removed is replaced at the next start.
            let _left = fs::remove_file(&self.path);
        }
    }
}

enum Received {
    Message,
    Nothing,
    End,
    Nonsense,
}

impl Client {
    /// Takes one frame, reading only if none is there.
    fn receive(&mut self, body: &mut Vec<u8>) -> Received {
        let mut buffer = [0; READ_SIZE];
        loop {
            match framing::beginning(&self.received) {
                Beginning::Frame(length) => {
                    framing::take(&mut self.received, length, body);
                    return Received::Message;
                }
                Beginning::Nonsense => return Received::Nonsense,
                Beginning::Incomplete => {}
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Received::End,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::End,
            }
        }
    }

    /// Writes what can be written.
    fn flush(&mut self) -> io::Result<()> {
        while let Some(frame) = self.unsent.front() {
            match self.stream.write(&frame[self.sent..]) {
                Ok(length) => {
                    self.sent += length;
                    self.unsent_bytes -= length;
                    if self.sent == frame.len() {
                        self.unsent.pop_front();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
