//! Frames of the API: eight bytes of header, then the body. Read CLIENT 3 first.

use hb_core::wire::PACKET_MAX;

/// The second word of every header.
const MAGIC: u32 = 0xabcd;
/// The bytes of a header.
const HEADER: usize = 8;

/// What stands at the beginning of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Not a whole frame yet.
    Incomplete,
    /// A frame with this many bytes of body.
    Frame(usize),
    /// No frame: a wrong magic number or an impossible length. *Ours*: of the second the original loops for ever.
    Nonsense,
}

/// Looks at what was received.
pub(crate) fn beginning(received: &[u8]) -> Beginning {
    let Some((length, rest)) = received.split_first_chunk::<4>() else { return Beginning::Incomplete };
    let Some((magic, body)) = rest.split_first_chunk::<4>() else { return Beginning::Incomplete };
    let length = usize::try_from(i32::from_ne_bytes(*length)).ok().filter(|length| *length <= PACKET_MAX);
    match length {
        Some(length) if u32::from_ne_bytes(*magic) == MAGIC => {
            if body.len() < length {
                Beginning::Incomplete
            } else {
                Beginning::Frame(length)
            }
        }
        _ => Beginning::Nonsense,
    }
}

/// Takes a frame that is there out of what was received, into `body`.
pub(crate) fn take(received: &mut Vec<u8>, length: usize, body: &mut Vec<u8>) {
    body.clear();
    body.extend(received.drain(..HEADER + length).skip(HEADER));
}

/// The header of a body.
pub(crate) fn header(length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_ne_bytes());
    header[4..].copy_from_slice(&MAGIC.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_from_pieces_and_leaves_the_next() {
        let mut whole = header(3).to_vec();
        whole.extend_from_slice(b"abc");
        for cut in 0..whole.len() {
            assert_eq!(beginning(&whole[..cut]), Beginning::Incomplete);
        }
        let mut received = [&whole[..], b"xy"].concat();
        assert_eq!(beginning(&received), Beginning::Frame(3));
        let mut body = Vec::new();
        take(&mut received, 3, &mut body);
        assert_eq!((&body[..], &received[..]), (&b"abc"[..], &b"xy"[..]));
    }

    #[test]
    fn what_is_no_header_is_nonsense_at_once() {
        let words = |length: i32, magic: u32| [length.to_ne_bytes(), magic.to_ne_bytes()].concat();
        for (length, magic) in [(10, 0x1234), (-1, MAGIC), (262_145, MAGIC), (i32::MIN, MAGIC)] {
            assert_eq!(beginning(&words(length, magic)), Beginning::Nonsense, "{length} {magic:x}");
        }
        assert_eq!(beginning(&words(0, MAGIC)), Beginning::Frame(0));
        assert_eq!(beginning(&words(262_144, MAGIC)), Beginning::Incomplete);
    }
}
