//! Target of serial lines: whatever bytes a line brings, in whatever pieces, and whatever waits for it.

use hb_core::Urgency;
use hb_core::wire::serial::{Framer, Outbox};
use hb_core::wire::{self, PACKET_MAX};
use std::collections::VecDeque;
use std::sync::Arc;

/// A message that somebody sends after the noise.
const GOOD: &[u8] = b">>>\nt=good\n<<<\n";
/// What a framer may keep beside one message: its room, and what a vector takes ahead.
const MEMORY: usize = 2 * PACKET_MAX + 8192;

/// The first byte tells in which pieces the rest comes; then the same bytes are orders to a queue.
///
/// # Panics
/// If a law of [`Framer`] or [`Outbox`] is broken.
pub fn serial_stream(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let whole = messages(stream, stream.len().max(1));
    assert_eq!(whole, messages(stream, usize::from(*first).max(1)), "the pieces in which bytes come mean nothing");
    for message in &whole.0 {
        assert!(message.starts_with(b">>>\n") && message.ends_with(b"\n<<<\n") || message == b">>>\n<<<\n");
        assert!(message.len() <= PACKET_MAX && message.iter().all(|byte| *byte < 0x80 && *byte != b'\r'));
        // Whatever it says, reading it is safe.
        let _read = wire::decode(message);
    }
    // At the worst the noise takes one message with it.
    let noisy = [stream, b"\n", GOOD, GOOD].concat();
    assert_eq!(messages(&noisy, noisy.len()).0.last().map(Vec::as_slice), Some(GOOD), "noise does not last");
    queue(*first, stream);
}

/// The messages in a stream that comes in pieces of that size, and how many bytes belonged to none.
fn messages(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, u64) {
    let (mut framer, mut found) = (Framer::new(), Vec::new());
    for mut piece in stream.chunks(piece) {
        while let Some(message) = framer.next(&mut piece) {
            found.push(message.to_vec());
        }
        assert!(framer.held() <= MEMORY, "{} bytes are held", framer.held());
    }
    (found, framer.skipped())
}

/// A queue does what its words say: heartbeats first and the newest only, then messages, then repairs, each in order.
fn queue(baud: u8, orders: &[u8]) {
    let mut outbox = Outbox::new(u32::from(baud) * 600);
    let most = (usize::from(baud) * 60 * 4).max(4096);
    let mut waiting: [VecDeque<Arc<[u8]>>; 3] = Default::default();
    for (number, order) in orders.iter().enumerate() {
        let mut frame = vec![*order; 8 + usize::from(order >> 2) * 16];
        frame[..8].copy_from_slice(&number.to_le_bytes());
        let frame: Arc<[u8]> = frame.into();
        let kind = usize::from(order % 4);
        if let Some(urgency) = [Urgency::Heartbeat, Urgency::Message, Urgency::Repair].get(kind) {
            let dropped = outbox.dropped();
            outbox.push(frame.clone(), *urgency);
            if *urgency == Urgency::Heartbeat {
                waiting[kind].clear();
            }
            if outbox.dropped() == dropped {
                waiting[kind].push_back(frame);
            }
        } else {
            let next = waiting.iter_mut().find_map(VecDeque::pop_front);
            assert_eq!(outbox.pop(), next, "who goes next");
        }
        let bytes: usize = waiting.iter().flatten().map(|frame| frame.len()).sum();
        assert_eq!((outbox.bytes(), outbox.waiting()), (bytes, waiting.iter().map(VecDeque::len).sum()));
        assert!(bytes <= 3 * (most + 1100), "what waits is bounded");
    }
}

#[cfg(test)]
mod tests {
    use crate::samples::{corpus, random};

    #[test]
    fn serial_stream_survives_its_corpus() {
        for (_, bytes) in corpus("serial_stream") {
            for length in 0..=bytes.len() {
                super::serial_stream(&bytes[..length]);
            }
            for at in 0..bytes.len() {
                for byte in [0, b'\n', b'\r', b'>', b'<', 0x8a, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    super::serial_stream(&changed);
                }
            }
        }
    }

    #[test]
    fn serial_stream_survives_random_bytes() {
        for seed in 0..200 {
            super::serial_stream(&random(seed, 600));
            // Markers and line ends only: many messages, and halves of them.
            let few: Vec<u8> = random(seed, 600).iter().map(|byte| b">><<\n\nt=a\r"[usize::from(byte % 10)]).collect();
            super::serial_stream(&few);
        }
    }
}
