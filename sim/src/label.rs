//! What a frame is, as far as the simulator wants to know: read from its bytes, never asked of a node.

use hb_core::ids::{Generation, Seq};
use hb_core::wire;

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
    /// Reads the fields `t`, `hg` and `seq`; `None` for what is no message.
    pub fn of(frame: &[u8]) -> Option<Label> {
        Label::of_netstrings(frame).or_else(|| {
            let decoded = wire::decode(frame).ok()?;
            let text = |name: &str| decoded.fields.text(name).map(AsRef::as_ref);
            Label::new(text("t")?, text("hg")?, text("seq"))
        })
    }

    fn new(kind: &[u8], generation: &[u8], seq: Option<&[u8]>) -> Option<Label> {
        let seq = match seq {
            Some(digits) => Some(Seq(hexadecimal(digits)?)),
            None => None,
        };
        Some(Label { generation: Generation(hexadecimal(generation)?), seq, is_status: kind == b"status" })
    }

    /// The usual form of a datagram, without building what else is in it: this runs for every packet of every run.
    fn of_netstrings(frame: &[u8]) -> Option<Label> {
        let mut rest = frame.strip_prefix(b"###\n")?;
        let (mut kind, mut generation, mut seq) = (None, None, None);
        while !rest.starts_with(b"%%%") {
            let colon = rest.iter().position(|byte| *byte == b':')?;
            let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
            let pair = rest.get(colon + 1..)?.get(..length)?;
            match pair {
                [b'(', b'0', b')', b't', b'=', text @ ..] => kind = Some(text),
                [b'(', b'0', b')', b'h', b'g', b'=', text @ ..] => generation = Some(text),
                [b'(', b'0', b')', b's', b'e', b'q', b'=', text @ ..] => seq = Some(text),
                _ => {}
            }
            // The comma behind it.
            rest = rest.get(colon + 1 + length + 1..)?;
        }
        Label::new(kind?, generation?, seq)
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let datagram = b"###\n11:(0)t=status,14:(0)hg=6b00fe46,8:(0)seq=1,%%%\n";
        let label = Label { generation: Generation(0x6b00_fe46), seq: Some(Seq(1)), is_status: true };
        assert_eq!(Label::of(datagram), Some(label));
        assert_eq!(Label::of(b">>>\nt=status\nhg=6b00fe46\nseq=1\n<<<\n"), Some(label));
        let request = b"###\n14:(0)t=NS_rexmit,14:(0)hg=6b00fe46,%%%\n";
        assert_eq!(Label::of(request).map(|label| (label.seq, label.is_status)), Some((None, false)));
        for damaged in [&b"###\n11:(0)t=status,"[..], b"", b"###\n99:(0)t=status,%%%\n", b"noise"] {
            assert_eq!(Label::of(damaged), None);
        }
    }
}
