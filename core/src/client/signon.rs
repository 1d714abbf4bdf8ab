//! Who may sign on. Read CLIENT 5 and 6 first; the order of the checks is visible to clients.

use super::letters::{decimal, reply, text};
use super::{Clients, Who, may_be};
use crate::config::Config;
use crate::config::clients::CLIENT_NAME_MAX;
use crate::input::Credentials;
use crate::wire::Fields;
use alloc::format;
use alloc::string::{String, ToString as _};

/// The version that is told to clients: theirs, and ours.
pub(crate) const VERSION: &str = concat!("3.0.6 (compatible: heartbeat ", env!("CARGO_PKG_VERSION"), ")");
/// No process of Linux has a higher number.
const PID_MAX: u32 = 1 << 22;

/// What becomes of a sign-on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It is none: to be ignored, a proper one may follow.
    Nothing,
    /// It is accepted.
    Welcome(Who),
    /// It is refused.
    Refused {
        /// Why.
        info: &'static str,
        /// Whether it gave a name; then it is also told that it leaves.
        named: bool,
        /// The name, if the checks came so far that the original would know it.
        known: Option<String>,
    },
}

/// Judges a first message.
pub(crate) fn judge(clients: &Clients, config: &Config, peer: Credentials, fields: &Fields<'_>) -> Verdict {
    if text(fields, "t") != Some("hbapi-req") || text(fields, "reqtype") != Some("signon") {
        return Verdict::Nothing;
    }
    if fields.get("pid").is_none() && fields.get("from_id").is_none() {
        return Verdict::Nothing;
    }
    let pid: Option<u32> = decimal(fields, "pid");
    let given = text(fields, "from_id");
    let name = given.filter(|id| pid.is_none() || id.parse().ok() != pid);
    let is_named = fields.get("from_id").is_some() && (given.is_none() || name.is_some());
    let refuse = |info| Verdict::Refused { info, named: is_named, known: None };
    // *Ours*: the original dies of a message without pid (CLIENT 6). Whether the process lives only the peer's own
    // number tells; no other one is accepted anyway.
    let Some(pid) = pid.filter(|pid| (1..=PID_MAX).contains(pid)) else { return refuse("bad pid") };
    let who = match name {
        None if is_named => return refuse("invalid id info"),
        None => Who::Casual,
        Some(name) => Who::Named(name.to_string()),
    };
    if clients.has(name.unwrap_or(&pid.to_string())) {
        return refuse("duplicate add request");
    }
    let (Some(uid), Some(gid)) = (decimal::<u32>(fields, "uid"), decimal::<u32>(fields, "gid")) else {
        return refuse("invalid id info");
    };
    let fits = |name: &str| (1..=CLIENT_NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    if !name.is_none_or(fits) {
        return refuse("invalid id info");
    }
    let refuse = |info| Verdict::Refused { info, named: is_named, known: name.map(String::from) };
    if (uid, gid) != (peer.uid, peer.gid) {
        return refuse("incorrect/false credentials");
    }
    match may_be(config, &clients.accounts, name, peer) {
        Err(info) => refuse(info),
        Ok(false) => refuse("client failed authorization"),
        Ok(true) if pid != peer.pid => refuse("pid mismatch"),
        Ok(true) => Verdict::Welcome(who),
    }
}

/// The reply to a sign-on; a refusal names its reason and tells the rest all the same.
pub(crate) fn answer(config: &Config, refused: Option<&'static str>) -> Fields<'static> {
    let mut fields = reply("signon");
    match refused {
        None => fields.push_text("result", "OK"),
        Some(info) => {
            fields.push_text("info", info);
            fields.push_text("result", "badreq");
        }
    }
    let timing = config.timing();
    fields.push_text("deadtime", format!("{:x}", timing.deadtime().as_millis()));
    fields.push_text("keepalive", format!("{:x}", timing.keepalive().as_millis()));
    fields.push_text("node", config.local_name().to_string());
    fields.push_text("hbversion", VERSION);
    fields.push_text("pacemaker", "false");
    let facility = config.log().logfacility;
    let number = facility.map_or("-1".to_string(), |facility| (u32::from(facility.number()) << 3).to_string());
    fields.push_text("logfacility", number);
    fields
}
