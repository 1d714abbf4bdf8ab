//! What a frame is, as far as the simulator wants to know: read from its bytes, never asked of a node.

use hb_core::ids::{Generation, Seq};

/// The outside of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The life of its sender.
    pub generation: Generation,
    /// Its number; messages about retransmission have none.
    pub seq: Option<Seq>,
    /// Whether it is a heartbeat.
    pub is_status: bool,
}

impl Label {
    /// Reads the classic format, whose fields are lines; `None` for anything else.
    pub fn of(frame: &[u8]) -> Option<Label> {
        let (mut generation, mut seq, mut is_status) = (None, None, false);
        for line in frame.split(|byte| *byte == b'\n') {
            match line {
                [b't', b'=', kind @ ..] => is_status = kind == b"status",
                [b'h', b'g', b'=', digits @ ..] => generation = hexadecimal(digits),
                [b's', b'e', b'q', b'=', digits @ ..] => seq = hexadecimal(digits),
                _ => {}
            }
        }
        Some(Label { generation: Generation(generation?), seq: seq.map(Seq), is_status })
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
