//! The uuid that `uuidfrom nodename` gives a node. Read WIRE 8 first.
//!
//! Every node must compute the same 16 bytes for the same name as 3.0.6 does there, and 3.0.6 asks the C library's
//! random numbers; so the generator of that library is part of the protocol and stands here.

use crate::ids::NodeUuid;

/// How many words the generator remembers.
const WORDS: usize = 31;
/// Outputs thrown away after seeding.
const WARM_UP: usize = 310;
/// Hexadecimal digits of a uuid, one random number each.
const DIGITS: usize = 32;

/// The uuid of the node called `name`, the same on every node and in every version.
pub fn uuid_from_name(name: &str) -> NodeUuid {
    let mut random = CLibraryRandom::new(hash(name.as_bytes()));
    let mut bytes = [0; DIGITS / 2];
    for byte in &mut bytes {
        let (high, low) = (random.digit(), random.digit());
        *byte = high << 4 | low;
    }
    NodeUuid(bytes)
}

/// The seed: a polynomial in 31 over the bytes, modulo 2^32; 0 for an empty name.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}

/// The additive generator behind `srand` and `rand`.
struct CLibraryRandom {
    /// The last 31 words; the oldest stands at `oldest`.
    words: [u32; WORDS],
    oldest: usize,
}

impl CLibraryRandom {
    fn new(seed: u32) -> CLibraryRandom {
        let mut word = if seed == 0 { 1 } else { seed.cast_signed() };
        let mut words = [0; WORDS];
        for slot in &mut words {
            *slot = word.cast_unsigned();
            word = lehmer(word);
        }
        // The three words after the first 31 repeat words 0 to 2. As a ring that changes no contents: word 31 replaces
        // word 0 by itself, and so on; only the position moves.
        let mut random = CLibraryRandom { words, oldest: 3 };
        for _ in 0..WARM_UP {
            random.next();
        }
        random
    }

    /// `r[i] = r[i-3] + r[i-31]`, the sum also being the newest word.
    fn next(&mut self) -> u32 {
        let three_back = self.word(self.oldest.wrapping_add(WORDS - 3));
        let sum = self.word(self.oldest).wrapping_add(three_back);
        if let Some(slot) = self.words.get_mut(self.oldest) {
            *slot = sum;
        }
        self.oldest = self.oldest.wrapping_add(1) % WORDS;
        sum >> 1
    }

    fn word(&self, position: usize) -> u32 {
        self.words.get(position % WORDS).copied().unwrap_or(0)
    }

    fn digit(&mut self) -> u8 {
        (self.next() % 16) as u8
    }
}

/// The seeding step: 16807 * word mod 2^31 - 1, with C's truncating division of negative words.
fn lehmer(word: i32) -> i32 {
    let (quotient, rest) = (word / 127_773, word % 127_773);
    let next = rest.wrapping_mul(16_807).wrapping_sub(quotient.wrapping_mul(2_836));
    if next < 0 { next.wrapping_add(i32::MAX) } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_give_the_uuids_of_the_original() {
        for (name, uuid) in
            [("alpha", "cc301fda-9190-a843-de51-a987ec340ccc"), ("beta", "bf4514df-59e5-20af-3817-c93be31e6e01")]
        {
            assert_eq!(uuid_from_name(name).to_string(), uuid, "{name}");
        }
    }

    #[test]
    fn a_hash_of_zero_seeds_with_one() {
        assert_eq!(CLibraryRandom::new(0).next(), CLibraryRandom::new(1).next());
        // `rand()` of a program that never calls `srand` starts with this number, known to many.
        assert_eq!(CLibraryRandom::new(1).next(), 1_804_289_383);
    }
}
