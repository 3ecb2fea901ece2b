//! The only types that hold secret bytes: wiped when dropped, never printed, read through one verb, `expose`.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::RandomnessError;
use super::guarded::Slot;

/// A 256-bit key. Its bytes lie in [guarded memory](super::guarded), and it has no `Clone`.
pub struct Key32(Slot);

impl Key32 {
    /// Takes the bytes and wipes where they were.
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        let mut slot = Slot::new();
        slot.copy_from_slice(bytes);
        bytes.zeroize();
        Self(slot)
    }

    /// A new key from the kernel's generator.
    pub fn generate() -> Result<Self, RandomnessError> {
        let mut slot = Slot::new();
        getrandom::fill(&mut *slot)?;
        Ok(Self(slot))
    }

    /// A key that is written where it is to lie.
    pub(super) fn written(write: impl FnOnce(&mut [u8; 32])) -> Self {
        let mut slot = Slot::new();
        write(&mut slot);
        Self(slot)
    }

    /// Copies exactly 32 bytes; `None` for any other length: nothing is cut or padded.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        Some(Self::written(|slot| slot.copy_from_slice(bytes)))
    }

    /// The key bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key32(redacted)")
    }
}

/// Secret bytes of any length: a seed, a passphrase, an encoded body.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes over the buffer; it is wiped when this value is dropped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The buffer itself, for a wire type that must own it. The caller answers for it from here on.
    pub fn expose_owned(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes, redacted)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_holds_no_key_byte() {
        let key = Key32::take(&mut [0xab; 32]);
        let seed = SecretBytes::new(vec![0xab; 3]);

        let shown = format!("{key:?} {seed:?}");

        assert_eq!(shown, "Key32(redacted) SecretBytes(3 bytes, redacted)");
    }

    #[test]
    fn taking_a_key_wipes_its_source() {
        let mut source = [7; 32];

        let key = Key32::take(&mut source);

        assert_eq!(source, [0; 32]);
        assert_eq!(key.expose(), &[7; 32]);
    }

    #[test]
    fn a_key_is_32_bytes_and_nothing_else() {
        for length in [0, 1, 31, 33, 64] {
            assert!(Key32::from_slice(&vec![1; length]).is_none(), "{length} bytes");
        }
        assert!(Key32::from_slice(&[1; 32]).is_some());
    }
}
