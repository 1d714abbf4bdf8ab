//! A client of the API: signs on, asks, signs off. Read CLIENT 3, 6 and 7 first.

use crate::api::framing::{self, Beginning};
use hb_core::wire::{Fields, Format, decode, encode};
use nix::unistd::{getegid, geteuid};
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Where the daemon listens.
const SOCKET: &str = "/run/heartbeat/register";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody listens.
    #[error("hb_api_signon: Can't initiate connection to heartbeat")]
    NotRunning,
    /// The daemon does not want us.
    #[error("{0}")]
    Refused(String),
    /// The time is over.
    #[error("Timeout while executing: no answer from heartbeat")]
    TooLate,
    /// The connection is lost, or what comes is no answer.
    #[error("{0}")]
    Lost(String),
}

/// A message of the daemon.
pub(super) type Reply = Fields<'static>;

/// The text of a field.
pub(super) fn text(fields: &Fields<'_>, name: &str) -> Option<String> {
    fields.text(name).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// A client without a name.
pub(super) struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    replies: VecDeque<Reply>,
    end: Instant,
    node: String,
    /// The reply to the sign-on.
    pub(super) welcome: Reply,
}

impl Client {
    /// Signs on; everything must be over in `limit`.
    pub(super) fn sign_on(limit: Duration) -> Result<Client, Trouble> {
        let stream = UnixStream::connect(SOCKET).map_err(|_| Trouble::NotRunning)?;
        let (replies, end) = (VecDeque::new(), Instant::now() + limit);
        let node = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().to_lowercase();
        let received = Vec::new();
        let mut client = Client { stream, received, replies, end, node, welcome: Fields::new() };
        let (uid, gid) = (geteuid().to_string(), getegid().to_string());
        client.say("signon", &[("uid", &uid), ("gid", &gid)])?;
        client.welcome = client.next(|fields| text(fields, "t").as_deref() == Some("hbapi-resp"), client.end)?;
        if text(&client.welcome, "result").as_deref() != Some("OK") {
            return Err(Trouble::Refused(text(&client.welcome, "info").unwrap_or_default()));
        }
        client.node = text(&client.welcome, "node").unwrap_or_default();
        Ok(client)
    }

    fn say(&mut self, request: &str, more: &[(&'static str, &str)]) -> Result<(), Trouble> {
        let pid = std::process::id().to_string();
        let mut fields = Fields::new();
        let head = [("t", "hbapi-req"), ("reqtype", request), ("dest", &self.node), ("pid", &pid), ("from_id", &pid)];
        for (name, value) in head.into_iter().chain(more.iter().copied()) {
            fields.push_text(name, value.to_owned());
        }
        let mut body = encode(&fields, Format::Classic).map_err(|error| Trouble::Lost(error.to_string()))?;
        body.push(0);
        let frame = [&framing::header(body.len())[..], &body].concat();
        self.stream.write_all(&frame).map_err(|error| Trouble::Lost(error.to_string()))
    }

    /// The next message that `is_wanted`, before `end`; others are dropped.
    fn next(&mut self, is_wanted: impl Fn(&Reply) -> bool, end: Instant) -> Result<Reply, Trouble> {
        let mut buffer = [0; 4096];
        loop {
            while let Some(reply) = self.replies.pop_front() {
                if is_wanted(&reply) {
                    return Ok(reply);
                }
            }
            match framing::beginning(&self.received) {
                Beginning::Frame(length) => {
                    let mut body = Vec::new();
                    framing::take(&mut self.received, length, &mut body);
                    let decoded = decode(&body).map_err(|error| Trouble::Lost(error.to_string()))?;
                    self.replies.push_back(decoded.fields.into_owned());
                    continue;
                }
                Beginning::Nonsense => return Err(Trouble::Lost("what heartbeat sends is no message".into())),
                Beginning::Incomplete => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Trouble::TooLate);
            }
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut buffer));
            match read {
                Ok(0) => return Err(Trouble::Lost("heartbeat closed the connection".into())),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(Trouble::Lost(error.to_string())),
            }
        }
    }

    /// Asks; gives all replies, or the reason for which there are none.
    pub(super) fn ask(&mut self, request: &str, more: &[(&'static str, &str)]) -> Result<Vec<Reply>, Trouble> {
        self.say(request, more)?;
        let mut replies = Vec::new();
        loop {
            let end = self.end;
            let reply = self.next(|fields| text(fields, "reqtype").as_deref() == Some(request), end)?;
            let result = text(&reply, "result").unwrap_or_default();
            match &*result {
                "OK" => {
                    replies.push(reply);
                    return Ok(replies);
                }
                "ok/more" => replies.push(reply),
                _ => return Err(Trouble::Refused(text(&reply, "info").unwrap_or_default())),
            }
        }
    }

    /// The field of the only reply.
    pub(super) fn ask_one(
        &mut self,
        request: &str,
        more: &[(&'static str, &str)],
        field: &str,
    ) -> Result<Option<String>, Trouble> {
        Ok(self.ask(request, more)?.last().and_then(|reply| text(reply, field)))
    }

    /// The status of a client on a node, which may come by way of the cluster.
    pub(super) fn client_status(&mut self, node: &str, client: &str, limit: Duration) -> Result<String, Trouble> {
        self.say("clientstatus", &[("node", node), ("cn", client)])?;
        let is_answer = |fields: &Reply| {
            ["t", "subt"].into_iter().any(|name| text(fields, name).as_deref() == Some("respond-cstatus"))
        };
        let end = (Instant::now() + limit).min(self.end);
        Ok(text(&self.next(is_answer, end)?, "cs").unwrap_or_default())
    }

    /// Signs off; there is no answer to wait for.
    pub(super) fn sign_off(mut self) {
        let _unheard = self.say("signoff", &[]);
    }
}
