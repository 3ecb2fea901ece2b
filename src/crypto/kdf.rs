//! HKDF-SHA-256 (RFC 5869) under labels, so that no two uses of a key ever meet.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::secret::Key32;
use super::unseen;

/// What a derived key or a sealed message is for: a label, then fields, each with its length in front, so that two
/// different contexts never have the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context(Vec<u8>);

impl Context {
    /// A context with a label of its own. Every label of the product is a constant in the module that uses it.
    pub fn new(label: &str) -> Self {
        Self(Vec::new()).with(label.as_bytes())
    }

    /// Appends one field: its length as 32 bits, big-endian, then its bytes.
    #[must_use]
    pub fn with(mut self, field: &[u8]) -> Self {
        // No field comes near 4 GiB; saturating keeps this total without a panic.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    /// The bytes as they enter derivation and AAD.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// HKDF-SHA-256 extract and expand as RFC 5869 has it, at any length: what [`derive_key`] and [`fingerprint`] are built on.
/// `None` for more than 255 × 32 bytes of output.
#[must_use]
pub fn hkdf(ikm: &[u8], salt: &[u8], info: &[u8], okm: &mut [u8]) -> Option<()> {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, okm).ok()
}

/// A message key, and the commitment to it.
pub(super) struct Pair {
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) commitment: [u8; 32],
}

/// HKDF-Expand (RFC 5869 §2.3) of a uniformly random key to 64 bytes: first the key, then the commitment. `info` comes in
/// parts. To be called [unseen].
#[allow(clippy::expect_used)]
pub(super) fn expand_pair(key: &Key32, info: &[&[u8]]) -> Pair {
    let mut okm = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::from_prk(key.expose())
        .expect("a key is as long as a SHA-256 output")
        .expand_multi_info(info, okm.as_mut_slice())
        .expect("RFC 5869 allows 255 × 32 bytes of output");
    let (halves, _) = okm.as_chunks::<32>();
    let [key, commitment] = halves else {
        unreachable!("64 bytes are two halves of 32")
    };
    Pair {
        key: Zeroizing::new(*key),
        commitment: *commitment,
    }
}

/// HKDF-SHA-256 extract and expand to a key.
pub fn derive_key(key: &Key32, salt: &[u8], context: &Context) -> Key32 {
    Key32::written(|okm| unseen(|| fill(key, salt, context.as_bytes(), okm)))
}

/// HKDF-SHA-256 extract and expand to 16 bytes that may be public: a name for the key.
pub fn fingerprint(key: &Key32, salt: &[u8], context: &Context) -> [u8; 16] {
    let mut okm = [0; 16];
    unseen(|| fill(key, salt, context.as_bytes(), &mut okm));
    okm
}

/// Key derivation of kube-apiserver's seeds: HKDF-Expand alone, the seed being the pseudo-random key.
/// `None` when the seed is shorter than a SHA-256 output, as RFC 5869 §2.3 demands.
pub fn expand_seed(seed: &[u8], info: &[u8]) -> Option<Key32> {
    let mut expanded = None;
    let key = Key32::written(|okm| {
        expanded = unseen(|| Hkdf::<Sha256>::from_prk(seed).ok()?.expand(info, okm).ok());
    });
    expanded.map(|()| key)
}

/// HMAC-SHA-256 (RFC 2104), compared by [`verify_mac`].
pub fn mac(key: &Key32, message: &[u8]) -> [u8; 32] {
    unseen(|| keyed(key, message).finalize().into_bytes().into())
}

/// Compares in constant time.
#[must_use]
pub fn verify_mac(key: &Key32, message: &[u8], mac: &[u8]) -> bool {
    unseen(|| keyed(key, message).verify_slice(mac).is_ok())
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[allow(clippy::expect_used)]
fn keyed(key: &Key32, message: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key.expose())
        .expect("RFC 2104 takes a key of any length")
        .chain_update(message)
}

#[allow(clippy::expect_used)]
fn fill(key: &Key32, salt: &[u8], info: &[u8], okm: &mut [u8]) {
    hkdf(key.expose(), salt, info, okm)
        .expect("RFC 5869 allows 255 × 32 bytes of output and no caller asks for more than 32");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_with_the_same_bytes_in_other_fields_differ() {
        let one = Context::new("label").with(b"ab").with(b"c");
        let other = Context::new("label").with(b"a").with(b"bc");
        let third = Context::new("labelab").with(b"c");

        assert_ne!(one, other);
        assert_ne!(one, third);
    }
}
