//! Sealing: the one construction that protects everything, and the only file that names a cipher.
//!
//! ```text
//! info       = SHA-256(context) ‖ salt ‖ nonce
//! okm        = HKDF-Expand-SHA-256(prk = key, info, 64 bytes)
//! message key, commitment = okm[0..32], okm[32..64]
//! ciphertext = AES-256-GCM(message key, nonce, aad = context ‖ field(commitment), plaintext) ‖ tag
//! ```
//!
//! [`seal_bound`] takes a second context for the AAD: what is authenticated and not derived from is *tampered* when it
//! changes, and not *another key*.
//!
//! *Why no extract step?* It makes a uniform key of one that is not, and RFC 5869 §3.3 lets it be left out where the key is
//! uniform already. KEKs, ring keys and the root keys that we make come from the kernel's generator; a stretched passphrase
//! or code comes from Argon2id. For 32 bytes that an operator brings as a root, his generator answers: should they not be
//! uniform, a slot is as strong as they are hard to guess. An extract step would not make it stronger, for its salt is
//! public; what such a root loses is a proof that asks less of HMAC than to be a random oracle.
//!
//! `info` has one length, and contexts that differ have hashes that differ, so each `info` belongs to one context, salt and
//! nonce. Names and MAC keys come from the same keys by [`kdf::derive_key`] and [`kdf::fingerprint`]. There a key is what
//! HMAC hashes, under a public salt; here it is HMAC's own key; no two of these begin with the same block.
//!
//! A message takes 8 compressions of SHA-256: 2 for the key of HMAC and 3 for each half of `okm`. [`Purpose`] keeps the
//! hash of a context. *Why not keep what the first 2 give?* It is worth the key and would lie outside guarded memory.
//!
//! A fresh 256-bit salt gives every message a key of its own, so the 2^32 limit of random 96-bit nonces
//! (NIST SP 800-38D §8.3) never comes near. The commitment, compared in constant time before any decryption, makes one
//! message open under one key only: AES-GCM alone does not promise that, and key ids are chosen by whoever writes etcd.
//! It covers key, context, salt, nonce and message key, so that two that agree are a collision of SHA-256.
//! Salt and nonce are made here and cannot be passed in.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use subtle::ConstantTimeEq;

use super::kdf::{self, Context};
use super::secret::{Key32, SecretBytes};
use super::{RandomnessError, random, unseen};

/// Bytes of a salt: 256 bits, so that salts never meet.
pub const SALT_LEN: usize = 32;
/// Bytes of an AES-GCM nonce (NIST SP 800-38D §5.2.1.1).
pub const NONCE_LEN: usize = 12;
/// Bytes of a key commitment: 256 bits against collisions.
pub const COMMITMENT_LEN: usize = 32;
/// Bytes of an AES-GCM tag (NIST SP 800-38D §5.2.1.2).
pub const TAG_LEN: usize = 16;

/// What many messages under one key are sealed for: a context, hashed once.
#[derive(Debug)]
pub struct Purpose {
    context: Context,
    hash: [u8; 32],
}

impl Purpose {
    /// The purpose that `context` names.
    pub fn new(context: Context) -> Self {
        let hash = kdf::sha256(context.as_bytes());
        Self { context, hash }
    }
}

/// A sealed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Makes the message's key one of its own.
    pub salt: [u8; SALT_LEN],
    /// AES-GCM nonce.
    pub nonce: [u8; NONCE_LEN],
    /// Says which key opens this, without telling the key.
    pub commitment: [u8; COMMITMENT_LEN],
    /// Ciphertext, then the tag: as long as the plaintext and [`TAG_LEN`].
    pub ciphertext: Vec<u8>,
}

/// Why a message did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The commitment differs: sealed under another key or for another context.
    #[error("sealed under another key")]
    WrongKey,
    /// The key is right and the ciphertext is not what was sealed.
    #[error("does not authenticate")]
    Tampered,
}

/// Why a message was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No randomness, no salt.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Over the cipher's 64 GiB.
    #[error("message too long for AES-GCM")]
    TooLong,
}

/// Seals `plaintext` under `key` for `purpose`.
pub fn seal_for(key: &Key32, purpose: &Purpose, plaintext: &[u8]) -> Result<Sealed, SealError> {
    seal_hashed(key, &purpose.hash, &purpose.context, plaintext)
}

/// Opens what [`seal_for`] made under the same key for the same purpose.
pub fn open_for(key: &Key32, purpose: &Purpose, sealed: &Sealed) -> Result<SecretBytes, OpenError> {
    open_hashed(key, &purpose.hash, &purpose.context, sealed)
}

/// Seals `plaintext` under `key` for `context`, for a caller that has one message.
pub fn seal(key: &Key32, context: &Context, plaintext: &[u8]) -> Result<Sealed, SealError> {
    seal_bound(key, context, context, plaintext)
}

/// Seals `plaintext` under `key` for `context`, and binds it to `bound`.
pub fn seal_bound(
    key: &Key32,
    context: &Context,
    bound: &Context,
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    seal_hashed(key, &kdf::sha256(context.as_bytes()), bound, plaintext)
}

/// Opens what [`seal`] made under the same key for the same context.
pub fn open(key: &Key32, context: &Context, sealed: &Sealed) -> Result<SecretBytes, OpenError> {
    open_bound(key, context, context, sealed)
}

/// Opens what [`seal_bound`] made under the same key for the same contexts.
pub fn open_bound(
    key: &Key32,
    context: &Context,
    bound: &Context,
    sealed: &Sealed,
) -> Result<SecretBytes, OpenError> {
    open_hashed(key, &kdf::sha256(context.as_bytes()), bound, sealed)
}

/// Opens a bare AES-256-GCM message, as kube-apiserver writes them: no derivation, no commitment.
pub fn open_bare(
    key: &Key32,
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, OpenError> {
    unseen(|| decrypt(key.expose(), nonce, aad, ciphertext))
}

fn seal_hashed(
    key: &Key32,
    context_hash: &[u8; 32],
    bound: &Context,
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let (salt, nonce) = salt_and_nonce()?;
    unseen(|| {
        let derived = kdf::expand_pair(key, &[context_hash, &salt, &nonce]);
        let aad = bound.clone().with(&derived.commitment);
        let payload = Payload {
            msg: plaintext,
            aad: aad.as_bytes(),
        };
        let encrypted = cipher(&derived.key).encrypt(&nonce.into(), payload);
        Ok(Sealed {
            salt,
            nonce,
            commitment: derived.commitment,
            ciphertext: encrypted.map_err(|_| SealError::TooLong)?,
        })
    })
}

fn open_hashed(
    key: &Key32,
    context_hash: &[u8; 32],
    bound: &Context,
    sealed: &Sealed,
) -> Result<SecretBytes, OpenError> {
    unseen(|| {
        let derived = kdf::expand_pair(key, &[context_hash, &sealed.salt, &sealed.nonce]);
        if !bool::from(derived.commitment.ct_eq(&sealed.commitment)) {
            return Err(OpenError::WrongKey);
        }
        let aad = bound.clone().with(&derived.commitment);
        decrypt(&derived.key, &sealed.nonce, aad.as_bytes(), &sealed.ciphertext)
    })
}

fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, OpenError> {
    cipher(key)
        .decrypt(&(*nonce).into(), Payload { msg: ciphertext, aad })
        .map(SecretBytes::new)
        .map_err(|_| OpenError::Tampered)
}

/// In one call to the kernel.
fn salt_and_nonce() -> Result<([u8; SALT_LEN], [u8; NONCE_LEN]), RandomnessError> {
    let bytes: [u8; SALT_LEN + NONCE_LEN] = random()?;
    let (salt, nonce) = bytes.split_at(SALT_LEN);
    match (salt.try_into(), nonce.try_into()) {
        (Ok(salt), Ok(nonce)) => Ok((salt, nonce)),
        _ => unreachable!("the sum has both"),
    }
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> (Key32, Context, Sealed) {
        let key = Key32::take(&mut [1; 32]);
        let context = Context::new("test").with(b"field");
        let sealed = seal(&key, &context, b"seed").unwrap();
        (key, context, sealed)
    }

    #[test]
    fn opens_what_it_sealed() {
        let (key, context, sealed) = sealed();

        assert_eq!(open(&key, &context, &sealed).unwrap().expose(), b"seed");
        assert_eq!(sealed.ciphertext.len(), 4 + TAG_LEN);
    }

    #[test]
    fn another_key_or_context_is_told_from_tampering() {
        let (key, context, sealed) = sealed();
        let other = Key32::take(&mut [2; 32]);
        let elsewhere = Context::new("test").with(b"other");
        let mut bent = sealed.clone();
        bent.ciphertext[0] ^= 1;

        assert_eq!(open(&other, &context, &sealed).unwrap_err(), OpenError::WrongKey);
        assert_eq!(open(&key, &elsewhere, &sealed).unwrap_err(), OpenError::WrongKey);
        assert_eq!(open(&key, &context, &bent).unwrap_err(), OpenError::Tampered);
    }

    #[test]
    fn a_purpose_is_its_context_hashed_beforehand() {
        let (key, context, sealed) = sealed();
        let purpose = Purpose::new(context.clone());
        let other = seal_for(&key, &purpose, b"seed").unwrap();

        assert_eq!(open_for(&key, &purpose, &sealed).unwrap().expose(), b"seed");
        assert_eq!(open(&key, &context, &other).unwrap().expose(), b"seed");
    }

    #[test]
    fn another_salt_or_nonce_is_another_key() {
        let (key, context, sealed) = sealed();
        let mut salted = sealed.clone();
        salted.salt[0] ^= 1;
        let mut numbered = sealed.clone();
        numbered.nonce[0] ^= 1;

        assert_eq!(open(&key, &context, &salted).unwrap_err(), OpenError::WrongKey);
        assert_eq!(open(&key, &context, &numbered).unwrap_err(), OpenError::WrongKey);
    }

    #[test]
    fn two_seals_of_one_message_share_nothing() {
        let (key, context, first) = sealed();
        let second = seal(&key, &context, b"seed").unwrap();

        assert_ne!(first.salt, second.salt);
        assert_ne!(first.nonce, second.nonce);
        assert_ne!(first.commitment, second.commitment);
        assert_ne!(first.ciphertext, second.ciphertext);
    }
}
