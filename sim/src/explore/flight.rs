//! A frame under way, and what it says apart from the numbers it says it with.

use super::setting::Setting;
use hb_core::Frame;
use hb_core::digest::digest_of;
use hb_core::ids::{Generation, MediumId, Seq};
use hb_core::time::Instant;
use hb_core::wire::message::{Status, Verdict};
use hb_core::wire::{Body, Message};

/// A frame under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
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
    /// Numbers of the addressee that it names: what is asked for again or acknowledged.
    pub(super) names_yours: Option<Seq>,
    /// Numbers of the sender that it names: what is given up.
    pub(super) names_mine: Option<Seq>,
    /// Whether the number named must be kept for it to be answered.
    pub(super) asks: bool,
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
        let (meaning, names_yours, names_mine) = match &body {
            // Ranges of one number only, but that is not for us to know.
            Body::Rexmit(ask) => (digest_of(&(1_u8, ask.last.since(ask.first), address)), Some(ask.first), None),
            Body::Ack(ack) => (digest_of(&(2_u8, address)), Some(ack.seq), None),
            Body::Nak(nak) => (digest_of(&(3_u8, &nak.info, address)), None, Some(nak.first)),
            Body::Status(Status { hears: Some(hears), .. }) => {
                // Of a pair only the receiver can be named.
                let yours = hears.nodes.iter().find_map(|(_, verdict)| match verdict {
                    Verdict::Heard { seq, .. } => Some(*seq),
                    _ => None,
                });
                (digest_of(&(5_u8, body.meaning(), address)), yours, None)
            }
            body => (digest_of(&(4_u8, body.meaning(), address)), None, None),
        };
        Says {
            meaning,
            kind: kind(&body),
            generation: header.generation.unwrap_or_default(),
            seq: header.seq,
            names_yours,
            names_mine,
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
