//! A frame under way, and what it says apart from the numbers it says it with.

use super::setting::{NODES_MAX, Setting};
use hb_core::Frame;
use hb_core::digest::digest_of;
use hb_core::ids::{Generation, MediumId, Seq};
use hb_core::time::Instant;
use hb_core::wire::message::{Status, Verdict};
use hb_core::wire::{Body, Message};

/// A frame under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) medium: MediumId,
    pub(super) due: Instant,
    pub(super) says: Says,
    pub(super) frame: Frame,
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Says {
    /// The digest of body and address without message numbers.
    pub(super) meaning: u64,
    pub(super) kind: &'static str,
    pub(super) generation: Generation,
    /// The number of the message.
    pub(super) seq: Option<Seq>,
    /// A number of each node that it names: what is asked for again, acknowledged, given up, or was heard last.
    pub(super) names: [Option<Named>; NODES_MAX],
    /// Whether the number named must be kept for it to be answered.
    pub(super) asks: bool,
}

/// A message number in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// In which life, if that is said.
    pub(super) generation: Option<Generation>,
    pub(super) seq: Seq,
}

impl Says {
    /// Reads a frame that `from` has sent.
    ///
    /// # Panics
    /// If the frame is no authentic message: what a node sends it could read itself.
    pub(super) fn read(setting: &Setting, from: usize, frame: &Frame) -> Says {
        let authentic = setting.configs[from].keyring().verify(frame).expect("a node signs what it sends");
        let Message { header, body } = Message::parse(authentic).expect("a node sends messages");
        let address = (&header.dest, header.dest_uuid);
        let mut names = [None; NODES_MAX];
        let mut name = |host: Option<usize>, generation, seq| {
            let place = host.and_then(|host| names.get_mut(host));
            *place.expect("a node names nodes of its configuration") = Some(Named { generation, seq });
        };
        let addressee = || header.dest.as_deref().and_then(|node| setting.host(node));
        let meaning = match &body {
            // Ranges of one number only, but that is not for us to know.
            Body::Rexmit(ask) => {
                name(addressee(), None, ask.first);
                digest_of(&(1_u8, ask.last.since(ask.first), address))
            }
            Body::Ack(ack) => {
                name(addressee(), None, ack.seq);
                digest_of(&(2_u8, address))
            }
            Body::Nak(nak) => {
                name(Some(from), None, nak.first);
                digest_of(&(3_u8, &nak.info, address))
            }
            Body::Status(Status { hears: Some(hears), .. }) => {
                for (node, verdict) in &hears.nodes {
                    if let Verdict::Heard { generation, seq } = verdict {
                        name(setting.host(node), Some(*generation), *seq);
                    }
                }
                digest_of(&(5_u8, body.meaning(), address))
            }
            // Of three the lives that are named and the durations may be compared with those that another node tells.
            Body::Ownership(ownership) if setting.count() > 2 => digest_of(&(6_u8, ownership, address)),
            body => digest_of(&(4_u8, body.meaning(), address)),
        };
        Says {
            meaning,
            kind: kind(&body),
            generation: header.generation.unwrap_or_default(),
            seq: header.seq,
            names,
            asks: matches!(body, Body::Rexmit(_)),
        }
    }
}

fn kind(body: &Body<'_>) -> &'static str {
    match body {
        Body::Status(_) => "status",
        Body::Rexmit(_) => "request for a missing message",
        Body::Nak(_) => "refusal of a missing message",
        Body::Ack(_) => "acknowledgement",
        Body::ReqNodes => "reqnodes",
        Body::RepNodes(_) => "repnodes",
        Body::Starting => "starting",
        Body::Resource(_) => "resource",
        Body::AskResources(_) => "ask_resources",
        Body::Takeover(_) => "hb_takeover",
        Body::Shutdone => "shutdone",
        Body::Stonith(_) => "stonith",
        _ => "message",
    }
}
