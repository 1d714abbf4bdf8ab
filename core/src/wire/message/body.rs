//! One type for each `t=` of WIRE 11, read and written in one place each.

use super::ownership::{GroupWords, Hears, Ownership, Verdict};
use super::read;
use super::words::{Holding, StandbyStep, StatusWord, StonithResult};
use super::{Header, Value};
use crate::digest::digest_of;
use crate::ids::{Generation, Seq};
use crate::wire::{Fields, WireError};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

/// What a message says (WIRE 11); the node addressed is in the header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body<'a> {
    /// `status`: I live, in this state.
    Status(Status<'a>),
    /// `NS_st`: a ping node answers.
    PingStatus(PingStatus<'a>),
    /// `NS_rexmit`: send these again.
    Rexmit(Rexmit),
    /// `NS_nak_rexmit`: that one I cannot send again.
    Nak(Nak<'a>),
    /// `NS_ackmsg`: I have everything up to this one.
    Ack(Ack),
    /// `reqnodes`: which nodes are there?
    ReqNodes,
    /// `repnodes`: these are.
    RepNodes(RepNodes<'a>),
    /// `starting`: my start is complete, what do you hold?
    Starting,
    /// `resource`: this is what I hold.
    Resource(Resource<'a>),
    /// `ask_resources`: a step of a standby.
    AskResources(AskResources),
    /// `hb_takeover`: go to standby with the exchanged groups.
    Takeover(Holding),
    /// `ip-request`: does somebody run this group of mine?
    IpRequest(IpRequest<'a>),
    /// `ip-request-resp`: the node addressed may start this group.
    IpResponse(IpResponse<'a>),
    /// `ownership`, *ours*: what I do with each group.
    Ownership(Ownership<'a>),
    /// `reqownership`, *ours*: say that again.
    ReqOwnership,
    /// `shutdone`: I gave up everything and exit.
    Shutdone,
    /// `stonith`: what became of fencing a node.
    Stonith(Stonith<'a>),
    /// `addnode`: these nodes join the cluster.
    AddNode(Vec<Cow<'a, str>>),
    /// `delnode`: these nodes leave the cluster.
    DelNode(Vec<Cow<'a, str>>),
    /// `setweight`: a node's weight.
    SetWeight(SetWeight<'a>),
    /// `setsite`: a node's site.
    SetSite(SetSite<'a>),
    /// `hbapi-clstat`: a client signs on or off.
    ClientStatus(ClientStatus<'a>),
    /// `query-cstatus`: is this client there?
    QueryClient(QueryClient<'a>),
    /// `respond-cstatus`: how this client is.
    RespondClient(RespondClient<'a>),
    /// Any other type: a client's message.
    Client {
        /// The type (`t`).
        kind: Cow<'a, str>,
        /// All fields as they came, header fields too, or as the client gave them; never `auth`.
        fields: Fields<'a>,
    },
}

/// The body of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Status<'a> {
    /// The sender's state (`st`), at most 31 bytes.
    pub word: StatusWord<'a>,
    /// After how long a silence the sender wants to be declared dead (`dt`), in whole milliseconds.
    pub deadtime: Option<Duration>,
    /// `protocol`, always 1; without it peers stop acknowledging for good (WIRE 9.6).
    pub protocol: Option<u32>,
    /// `native`, *ours*: the highest version of the native dialect that the sender speaks. 3.0.6 sends none and ignores it;
    /// what is no number counts as none, since a heartbeat must not be lost for it.
    pub native: Option<u32>,
    /// `hears`, `claims`, `pings` and `order`, *ours*: whom the sender hears, what it has claimed, how many ping nodes it reaches. Passed over like `native`.
    pub hears: Option<Hears<'a>>,
}

/// The body of `NS_st`, sent to ourselves by way of a ping node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PingStatus<'a> {
    /// `st`, always `ping`.
    pub word: StatusWord<'a>,
    /// `info`: `ping` or `ping_group`.
    pub info: Cow<'a, str>,
}

/// The body of `NS_rexmit`; these numbers travel in decimal (WIRE 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rexmit {
    /// The first number wanted.
    pub first: Seq,
    /// The last number wanted; real nodes ask for one at a time.
    pub last: Seq,
}

/// The body of `NS_nak_rexmit`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nak<'a> {
    /// The number that every hearer gives up.
    pub first: Seq,
    /// The reason: `seqno too low` or `seqno not found`.
    pub info: Cow<'a, str>,
}

/// The body of `NS_ackmsg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ack {
    /// The number up to which nothing is missing.
    pub seq: Seq,
}

/// The body of `repnodes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepNodes<'a> {
    /// All nodes of the cluster; the receiver removes those not named.
    pub nodes: Vec<Cow<'a, str>>,
    /// The nodes that were deleted.
    pub deleted: Vec<Cow<'a, str>>,
}

/// The body of `resource`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource<'a> {
    /// What the sender holds.
    pub holding: Holding,
    /// Whether this replaces what was known (`rtype=full`) or adds to it.
    pub full: bool,
    /// Whether the sender has all it wants (`isstable`); scripts do not say.
    pub stable: Option<bool>,
    /// Why it is said, such as `shutdown`, `standby`, `mach_down`.
    pub info: Option<Cow<'a, str>>,
}

/// The body of `ask_resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskResources {
    /// Which groups, from the view of the node that goes to standby.
    pub holding: Holding,
    /// The step.
    pub step: StandbyStep,
}

/// The body of `ip-request`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IpRequest<'a> {
    /// The first word of a resource group.
    pub group: Cow<'a, str>,
}

/// The body of `ip-request-resp`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IpResponse<'a> {
    /// The first word of a resource group.
    pub group: Cow<'a, str>,
    /// Whether the responder had the group (`weown`).
    pub we_own: bool,
    /// `ok`, always `OK`.
    pub ok: Cow<'a, str>,
}

/// The body of `stonith`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stonith<'a> {
    /// The dead node.
    pub node: Cow<'a, str>,
    /// What became of it.
    pub result: StonithResult<'a>,
    /// Native only: the generation of the life that ended (`life`).
    pub life: Option<Generation>,
}

/// The body of `setweight`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetWeight<'a> {
    /// The node.
    pub node: Cow<'a, str>,
    /// Its weight.
    pub weight: u32,
}

/// The body of `setsite`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetSite<'a> {
    /// The node.
    pub node: Cow<'a, str>,
    /// Its site; may be empty.
    pub site: Cow<'a, str>,
}

/// The body of `hbapi-clstat`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientStatus<'a> {
    /// Whether the client joins (`st=join`) or leaves (`st=leave`).
    pub joined: bool,
    /// The client's name.
    pub from_id: Cow<'a, str>,
    /// The client's name again.
    pub to_id: Cow<'a, str>,
    /// Why: `signon`, `signoff`, `EOF` or another reason.
    pub info: Cow<'a, str>,
    /// How often a client of that name signed on before.
    pub client_gen: Cow<'a, str>,
}

/// The body of `query-cstatus`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryClient<'a> {
    /// The client asked about (`cn`).
    pub client: Cow<'a, str>,
    /// The client that asks.
    pub from_id: Cow<'a, str>,
}

/// The body of `respond-cstatus`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RespondClient<'a> {
    /// `result`, always `OK`.
    pub result: Cow<'a, str>,
    /// The client asked about (`cn`).
    pub client: Cow<'a, str>,
    /// The client that asked.
    pub to_id: Cow<'a, str>,
    /// Its status (`cs`), such as `online`.
    pub status: Cow<'a, str>,
}

impl<'a> Body<'a> {
    /// The type on the wire (`t`).
    pub fn kind(&self) -> &str {
        match self {
            Body::Status(_) => "status",
            Body::PingStatus(_) => "NS_st",
            Body::Rexmit(_) => "NS_rexmit",
            Body::Nak(_) => "NS_nak_rexmit",
            Body::Ack(_) => "NS_ackmsg",
            Body::ReqNodes => "reqnodes",
            Body::RepNodes(_) => "repnodes",
            Body::Starting => "starting",
            Body::Resource(_) => "resource",
            Body::AskResources(_) => "ask_resources",
            Body::Takeover(_) => "hb_takeover",
            Body::IpRequest(_) => "ip-request",
            Body::IpResponse(_) => "ip-request-resp",
            Body::Ownership(_) => "ownership",
            Body::ReqOwnership => "reqownership",
            Body::Shutdone => "shutdone",
            Body::Stonith(_) => "stonith",
            Body::AddNode(_) => "addnode",
            Body::DelNode(_) => "delnode",
            Body::SetWeight(_) => "setweight",
            Body::SetSite(_) => "setsite",
            Body::ClientStatus(_) => "hbapi-clstat",
            Body::QueryClient(_) => "query-cstatus",
            Body::RespondClient(_) => "respond-cstatus",
            Body::Client { kind, .. } => kind,
        }
    }

    /// What the message says whenever and in whatever life it is said: a digest without the numbers, lives and durations
    /// that a native heartbeat or claim tells. For those who compare situations.
    pub fn meaning(&self) -> u64 {
        match self {
            Body::Status(Status { word, deadtime, protocol, native, hears: Some(hears) }) => {
                let verdict = |verdict: &Verdict| match verdict {
                    Verdict::Heard { .. } => 0_u8,
                    Verdict::Gone => 1,
                    Verdict::Dead => 2,
                    Verdict::Unsure => 3,
                };
                let nodes: Vec<(&str, u8)> = hears.nodes.iter().map(|(name, said)| (&**name, verdict(said))).collect();
                digest_of(&(word, deadtime, protocol, native, nodes, hears.claims, hears.pings, hears.order))
            }
            Body::Ownership(ownership) => {
                let mut groups = ownership.groups.clone();
                for GroupWords { held, attempt, consent, beats, .. } in &mut groups {
                    *held = None;
                    let named = consent.iter_mut().chain(beats).map(|(_, attempt)| attempt);
                    attempt.iter_mut().chain(named).for_each(|attempt| attempt.generation = Generation(0));
                }
                digest_of(&(ownership.version, groups))
            }
            body => digest_of(body),
        }
    }

    /// Whether messages of this type carry no sequence number and no load (WIRE 7).
    pub fn is_unsequenced(&self) -> bool {
        self.kind().starts_with("NS_")
    }

    pub(crate) fn read(fields: Fields<'a>) -> Result<Body<'a>, WireError> {
        let kind = read::text(&fields, "t")?;
        Ok(match &*kind {
            "status" => Body::Status(Status {
                word: StatusWord::read(read::text(&fields, "st")?)?,
                deadtime: read::hex(&fields, "dt")?.map(Duration::from_millis),
                protocol: read::decimal(&fields, "protocol")?,
                native: read::decimal(&fields, "native").ok().flatten(),
                hears: hears(&fields),
            }),
            "NS_st" => Body::PingStatus(PingStatus {
                word: StatusWord::read(read::text(&fields, "st")?)?,
                info: read::text(&fields, "info")?,
            }),
            "NS_rexmit" => Body::Rexmit(Rexmit {
                first: decimal_seq(&fields, "firstseq")?,
                last: decimal_seq(&fields, "lastseq")?,
            }),
            "NS_nak_rexmit" => {
                Body::Nak(Nak { first: hex_seq(&fields, "firstseq")?, info: read::text(&fields, "info")? })
            }
            "NS_ackmsg" => Body::Ack(Ack { seq: hex_seq(&fields, "ackseq")? }),
            "reqnodes" => Body::ReqNodes,
            "repnodes" => Body::RepNodes(RepNodes {
                nodes: read::node_list(&fields, "nodelist")?,
                deleted: read::node_list(&fields, "delnodelist")?,
            }),
            "starting" => Body::Starting,
            "resource" => Body::Resource(Resource {
                holding: holding(&fields)?,
                full: fields.text("rtype").is_some_and(|kind| **kind == *b"full"),
                stable: read::either(&fields, "isstable", "1", "0")?,
                info: fields.utf8("info")?,
            }),
            "ask_resources" => Body::AskResources(AskResources {
                holding: holding(&fields)?,
                step: StandbyStep::named(&read::text(&fields, "info")?).ok_or(WireError::BadValue { field: "info" })?,
            }),
            "hb_takeover" => Body::Takeover(holding(&fields)?),
            "ip-request" => Body::IpRequest(IpRequest { group: read::text(&fields, "ipaddr")? }),
            "ip-request-resp" => Body::IpResponse(IpResponse {
                group: read::text(&fields, "ipaddr")?,
                we_own: read::either(&fields, "weown", "yes", "no")?.ok_or(WireError::Missing { field: "weown" })?,
                ok: read::text(&fields, "ok")?,
            }),
            "ownership" => Body::Ownership(Ownership::read(
                read::hex(&fields, "version")?.ok_or(WireError::Missing { field: "version" })?,
                read::text(&fields, "groups")?,
            )?),
            "reqownership" => Body::ReqOwnership,
            "shutdone" => Body::Shutdone,
            "stonith" => Body::Stonith(Stonith {
                node: read::required_name(&fields, "node")?,
                result: StonithResult::of(read::text(&fields, "result")?),
                life: read::hex(&fields, "life")?.map(Generation),
            }),
            "addnode" => Body::AddNode(read::node_list(&fields, "nodelist")?),
            "delnode" => Body::DelNode(read::node_list(&fields, "nodelist")?),
            "setweight" => Body::SetWeight(SetWeight {
                node: read::required_name(&fields, "node")?,
                weight: read::decimal(&fields, "weight")?.ok_or(WireError::Missing { field: "weight" })?,
            }),
            "setsite" => Body::SetSite(SetSite {
                node: read::required_name(&fields, "node")?,
                site: read::text(&fields, "site")?,
            }),
            "hbapi-clstat" => Body::ClientStatus(ClientStatus {
                joined: read::either(&fields, "st", "join", "leave")?.ok_or(WireError::Missing { field: "st" })?,
                from_id: read::text(&fields, "from_id")?,
                to_id: read::text(&fields, "to_id")?,
                info: read::text(&fields, "info")?,
                client_gen: read::text(&fields, "client_gen")?,
            }),
            "query-cstatus" => Body::QueryClient(QueryClient {
                client: read::text(&fields, "cn")?,
                from_id: read::text(&fields, "from_id")?,
            }),
            "respond-cstatus" => Body::RespondClient(RespondClient {
                result: read::text(&fields, "result")?,
                client: read::text(&fields, "cn")?,
                to_id: read::text(&fields, "to_id")?,
                status: read::text(&fields, "cs")?,
            }),
            _ => {
                let mut fields = fields;
                fields.remove_all("auth");
                Body::Client { kind, fields }
            }
        })
    }

    /// Writes the body's fields; `dest` stands where the original puts it.
    #[expect(clippy::too_many_lines, reason = "one arm for each type, to be read beside the table of WIRE 11")]
    pub(super) fn write<'m>(&'m self, header: &'m Header<'_>, out: &mut Fields<'m>) {
        let dest = |out: &mut Fields<'m>| {
            if let Some(dest) = &header.dest {
                out.push_text("dest", &**dest);
            }
        };
        match self {
            Body::RepNodes(_) => {
                dest(out);
                out.push_text("t", self.kind());
            }
            Body::Client { kind, fields } => {
                *out = fields.borrowed();
                if out.text("t").is_none() {
                    out.push_front("t", Value::text(&**kind));
                }
            }
            _ => out.push_text("t", self.kind()),
        }
        match self {
            Body::Status(Status { word, deadtime, protocol, native, hears }) => {
                out.push_text("st", word.as_str());
                if let Some(deadtime) = deadtime {
                    out.push_text("dt", format!("{:x}", deadtime.as_millis()));
                }
                if let Some(protocol) = protocol {
                    out.push_text("protocol", protocol.to_string());
                }
                if let Some(native) = native {
                    out.push_text("native", native.to_string());
                }
                if let Some(hears) = hears {
                    out.push_text("hears", hears.text());
                    if let Some(claims) = hears.claims {
                        out.push_text("claims", format!("{claims:x}"));
                    }
                    if let Some(pings) = hears.pings {
                        out.push_text("pings", format!("{pings:x}"));
                    }
                    out.push_text("order", format!("{:x}", hears.order));
                }
            }
            Body::Ownership(ownership) => {
                out.push_text("version", format!("{:x}", ownership.version));
                out.push_text("groups", ownership.text());
            }
            Body::PingStatus(PingStatus { word, info }) => {
                out.push_text("st", word.as_str());
                out.push_text("info", &**info);
            }
            Body::Rexmit(Rexmit { first, last }) => {
                dest(out);
                out.push_text("firstseq", first.to_string());
                out.push_text("lastseq", last.to_string());
            }
            Body::Nak(Nak { first, info }) => {
                out.push_text("firstseq", format!("{:x}", first.0));
                dest(out);
                out.push_text("info", &**info);
            }
            Body::Ack(Ack { seq }) => {
                dest(out);
                out.push_text("ackseq", format!("{:x}", seq.0));
            }
            Body::RepNodes(RepNodes { nodes, deleted }) => {
                out.push_text("nodelist", each_with_a_blank(nodes));
                out.push_text("delnodelist", each_with_a_blank(deleted));
            }
            Body::Resource(Resource { holding, full, stable, info }) => {
                out.push_text("rsc_hold", holding.as_str());
                if *full {
                    out.push_text("rtype", "full");
                }
                if let Some(stable) = stable {
                    out.push_text("isstable", if *stable { "1" } else { "0" });
                }
                if let Some(info) = info {
                    out.push_text("info", &**info);
                }
            }
            Body::AskResources(AskResources { holding, step }) => {
                out.push_text("rsc_hold", holding.as_str());
                out.push_text("info", step.as_str());
            }
            Body::Takeover(holding) => out.push_text("rsc_hold", holding.as_str()),
            Body::IpRequest(IpRequest { group }) => out.push_text("ipaddr", &**group),
            Body::IpResponse(IpResponse { group, we_own, ok }) => {
                dest(out);
                out.push_text("ipaddr", &**group);
                out.push_text("weown", if *we_own { "yes" } else { "no" });
                out.push_text("ok", &**ok);
            }
            Body::Shutdone => out.push_text("st", StatusWord::Dead.as_str()),
            Body::Stonith(Stonith { node, result, life }) => {
                out.push_text("node", &**node);
                out.push_text("result", result.as_str());
                if let Some(life) = life {
                    out.push_text("life", format!("{:x}", life.0));
                }
            }
            Body::AddNode(nodes) | Body::DelNode(nodes) => out.push_text("nodelist", nodes.join(" ")),
            Body::SetWeight(SetWeight { node, weight }) => {
                out.push_text("node", &**node);
                out.push_text("weight", weight.to_string());
            }
            Body::SetSite(SetSite { node, site }) => {
                out.push_text("node", &**node);
                out.push_text("site", &**site);
            }
            Body::ClientStatus(ClientStatus { joined, from_id, to_id, info, client_gen }) => {
                out.push_text("st", if *joined { "join" } else { "leave" });
                out.push_text("from_id", &**from_id);
                out.push_text("to_id", &**to_id);
                // Here, not among the header: the original's message has it before the header is added.
                out.push_text("src", &*header.src);
                out.push_text("info", &**info);
                out.push_text("client_gen", &**client_gen);
            }
            Body::QueryClient(QueryClient { client, from_id }) => {
                dest(out);
                out.push_text("cn", &**client);
                out.push_text("from_id", &**from_id);
            }
            Body::RespondClient(RespondClient { result, client, to_id, status }) => {
                dest(out);
                out.push_text("result", &**result);
                out.push_text("cn", &**client);
                out.push_text("to_id", &**to_id);
                out.push_text("cs", &**status);
            }
            Body::ReqNodes | Body::ReqOwnership | Body::Starting | Body::Client { .. } => {}
        }
        // Any message may be addressed to one node; where the type's layout has no place for it, it follows the body.
        if out.get("dest").is_none() {
            dest(out);
        }
    }
}

fn hears<'a>(fields: &Fields<'a>) -> Option<Hears<'a>> {
    let order = read::hex(fields, "order").ok().flatten()?;
    let pings = read::hex(fields, "pings").ok().flatten().and_then(|pings| u32::try_from(pings).ok());
    Hears::read(read::text(fields, "hears").ok()?, read::hex(fields, "claims").ok().flatten(), pings, order)
}

fn holding(fields: &Fields<'_>) -> Result<Holding, WireError> {
    let word = read::text(fields, "rsc_hold")?;
    Holding::named(&word).ok_or(WireError::BadValue { field: "rsc_hold" })
}

fn hex_seq(fields: &Fields<'_>, field: &'static str) -> Result<Seq, WireError> {
    read::hex(fields, field)?.map(Seq).ok_or(WireError::Missing { field })
}

fn decimal_seq(fields: &Fields<'_>, field: &'static str) -> Result<Seq, WireError> {
    read::decimal(fields, field)?.map(Seq).ok_or(WireError::Missing { field })
}

/// `a b `: a blank after each name, and a single one for no name at all (WIRE 15).
fn each_with_a_blank(names: &[Cow<'_, str>]) -> String {
    let mut list = names.join(" ");
    list.push(' ');
    list
}
