//! Typed messages: a header and one body for each `t=`. Read WIRE 7 and 11 first.
//!
//! ```text
//! Authentic --Message::parse--> Message { header, body } --Message::to_fields--> Fields --Keyring::seal--> bytes
//! ```
//!
//! Invariants:
//! - `to_fields` writes the fields in the original's order, so that our packets look like its packets,
//! - fields that a body does not know are tolerated and dropped; only [`Body::Client`] keeps all of them.

mod body;
mod ownership;
mod read;
mod words;

pub use body::{
    Ack, AskResources, Body, ClientStatus, IpRequest, IpResponse, Nak, PingStatus, QueryClient, RepNodes, Resource,
    RespondClient, Rexmit, SetSite, SetWeight, Status, Stonith,
};
pub use ownership::{Attempt, Claimed, GroupWords, Hears, Ownership, Unable, Verdict};
pub use words::{Holding, StandbyStep, StatusWord, StonithResult};

use super::{Fields, Value, WireError};
use crate::auth::Authentic;
use crate::ids::{Generation, NodeUuid, Seq};
use crate::time::UnixTime;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString as _;

/// A message whose fields mean something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message<'a> {
    /// Who says it, to whom, and where it stands among the sender's messages.
    pub header: Header<'a>,
    /// What is said.
    pub body: Body<'a>,
}

impl<'a> Message<'a> {
    /// Gives authentic fields their meaning.
    ///
    /// Fails if `t`, `src`, a non-zero `ts`, or the `seq` that every type needs whose name does not begin with `NS_`
    /// is missing (WIRE 7), or if a field of the body cannot be what its type demands. [`Header::read`] alone tells
    /// whose sequence number a message with a bad body used up.
    pub fn parse(authentic: Authentic<'a>) -> Result<Message<'a>, WireError> {
        Message::from_fields(authentic.into_fields())
    }

    fn from_fields(fields: Fields<'a>) -> Result<Message<'a>, WireError> {
        let header = Header::read(&fields)?;
        let body = Body::read(fields)?;
        Ok(Message { header, body })
    }

    /// The fields of the message in the original's order, without signature.
    pub fn to_fields(&self) -> Fields<'_> {
        let mut fields = Fields::with_capacity(18);
        self.body.write(&self.header, &mut fields);
        self.header.write(&mut fields);
        fields
    }
}

/// The fields that all types share (WIRE 7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// The sending node's name (`src`), at most 99 bytes.
    pub src: Cow<'a, str>,
    /// The sending node's uuid (`srcuuid`); ping statuses have none.
    pub src_uuid: Option<NodeUuid>,
    /// The node addressed (`dest`), at most 99 bytes; `None` means everyone.
    pub dest: Option<Cow<'a, str>>,
    /// The uuid of the node addressed (`destuuid`); zero if the sender has not learned it.
    pub dest_uuid: Option<NodeUuid>,
    /// The message's number (`seq`); `NS_` types have none.
    pub seq: Option<Seq>,
    /// The life of the sender's process (`hg`); missing counts as 0 (WIRE 9.2).
    pub generation: Option<Generation>,
    /// The sender's wall clock (`ts`), never zero; no decision depends on it (WIRE 9.7).
    pub ts: UnixTime,
    /// The sender's load (`ld`), a line of `/proc/loadavg`; `NS_` types have none.
    pub load: Option<Cow<'a, str>>,
    /// Hops the message might take (`ttl`); written and never looked at (WIRE 13).
    pub ttl: Option<u32>,
}

impl<'a> Header<'a> {
    /// A header with the two fields that every message has.
    pub fn new(src: impl Into<Cow<'a, str>>, ts: UnixTime) -> Header<'a> {
        Header {
            src: src.into(),
            src_uuid: None,
            dest: None,
            dest_uuid: None,
            seq: None,
            generation: None,
            ts,
            load: None,
            ttl: None,
        }
    }

    /// Reads the header of a message, whatever its body holds.
    pub fn read(fields: &Fields<'a>) -> Result<Header<'a>, WireError> {
        let kind = fields.text("t").ok_or(WireError::Missing { field: "t" })?;
        let seq = read::hex(fields, "seq")?.map(Seq);
        if seq.is_none() && !kind.starts_with(b"NS_") {
            return Err(WireError::Missing { field: "seq" });
        }
        let ts = UnixTime(read::hex(fields, "ts")?.ok_or(WireError::Missing { field: "ts" })?);
        if ts == UnixTime(0) {
            return Err(WireError::BadValue { field: "ts" });
        }
        Ok(Header {
            src: read::node_name(fields, "src")?.ok_or(WireError::Missing { field: "src" })?,
            src_uuid: read::uuid(fields, "srcuuid")?,
            dest: read::node_name(fields, "dest")?,
            dest_uuid: read::uuid(fields, "destuuid")?,
            seq,
            generation: read::hex(fields, "hg")?.map(Generation),
            ts,
            load: fields.utf8("ld")?,
            ttl: read::decimal(fields, "ttl")?,
        })
    }

    /// Adds the header to a body's fields; what the body wrote itself keeps its place.
    fn write<'m>(&'m self, fields: &mut Fields<'m>) {
        let uuid = |uuid: &'m NodeUuid| Value::Binary(Cow::Borrowed(&uuid.0));
        let hex = |number: u64| Value::text(format!("{number:x}"));
        if let Some(dest_uuid) = &self.dest_uuid {
            fields.set("destuuid", uuid(dest_uuid));
        }
        fields.set("src", Value::text(&*self.src));
        if let Some(src_uuid) = &self.src_uuid {
            fields.set("srcuuid", uuid(src_uuid));
        }
        if let Some(seq) = self.seq {
            fields.set("seq", hex(seq.0));
        }
        if let Some(generation) = self.generation {
            fields.set("hg", hex(generation.0));
        }
        fields.set("ts", hex(self.ts.0));
        if let Some(load) = &self.load {
            fields.set("ld", Value::text(&**load));
        }
        if let Some(ttl) = self.ttl {
            fields.set("ttl", Value::text(ttl.to_string()));
        }
    }
}

#[cfg(test)]
mod tests;
