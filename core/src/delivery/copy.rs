//! The newest numbered packet of a peer, to know its copies by sight.
//!
//! With several media every message comes once by each. A copy that equals to the byte what was verified need not be
//! verified and read again: it is authentic, and what comes of it is known, since its number is still the newest
//! ([`Arrival::Duplicate`](super::Arrival::Duplicate)). This is nothing but memory of work that was done: a node behaves
//! alike with and without, so it enters no digest, no recording and no clone.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

/// Longer packets are read again: they are rare, and a hundred peers shall not fill the memory.
const MAX: usize = 2048;
/// The end of a packet is its signature, in which two differ.
const TAIL: usize = 16;

/// The packet, if it is remembered.
#[derive(Debug, Default)]
pub(crate) struct LastHeard(Vec<u8>);

impl LastHeard {
    /// `bytes` were verified under the present keys, and theirs is the newest number.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.0.clear();
        if bytes.len() <= MAX {
            self.0.extend_from_slice(bytes);
        }
    }

    /// The keys are others now, or something newer came.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether `bytes` are a copy of it.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        let tail = |bytes: &[u8]| bytes.last_chunk::<TAIL>().copied();
        self.0.len() == bytes.len() && tail(bytes).is_some() && tail(&self.0) == tail(bytes) && self.0 == bytes
    }
}

impl Clone for LastHeard {
    fn clone(&self) -> LastHeard {
        LastHeard::default()
    }
}

impl Hash for LastHeard {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_known_again_by_all_its_bytes() {
        let mut last = LastHeard::default();
        assert!(!last.is(&[]) && !last.is(&[0; 40]));
        let packet = [7; 300];
        last.note(&packet);
        assert!(last.is(&packet) && !last.clone().is(&packet));
        for at in 0..packet.len() {
            let mut other = packet;
            other[at] = 8;
            assert!(!last.is(&other), "byte {at}");
        }
        assert!(!last.is(&packet[..299]));
        last.note(&[7; MAX + 1]);
        assert!(!last.is(&packet) && !last.is(&[7; MAX + 1]));
    }
}
