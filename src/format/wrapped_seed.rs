//! A wrapped seed: the bytes of `EncryptResponse.ciphertext`, which kube-apiserver stores in every object.
//!
//! ```text
//! offset  length  field
//!      0       1  version     = 1
//!      1       1  suite       = 1: HKDF-Expand-SHA-256, AES-256-GCM, 32-byte key commitment
//!      2      16  fingerprint the derived part of the key id
//!     18      32  salt
//!     50      12  nonce
//!     62      32  commitment
//!     94       n  ciphertext  as long as the plaintext
//!   94+n      16  tag
//! ```
//!
//! Sealed by [`crate::crypto::aead`] for the context *label, version and suite, ring id, key id*: a change of any of
//! them gives another key and another AAD. A 32-byte seed becomes 142 bytes. kube-apiserver takes 1 to 1,024.
//! The fingerprint lets a wrapped seed be matched to its key even where the key id beside it was lost.

use crate::crypto::aead::{self, COMMITMENT_LEN, NONCE_LEN, Purpose, SALT_LEN, SealError, Sealed, TAG_LEN};
use crate::crypto::kdf::Context;
use crate::crypto::secret::{Key32, SecretBytes};
use crate::keyring::{KeyId, RingId};

const LABEL: &str = "kekring/v1/wrapped-seed";
const VERSION: u8 = 1;
const SUITE: u8 = 1;

/// Bytes that wrapping adds.
pub const OVERHEAD: usize = 2 + 16 + SALT_LEN + NONCE_LEN + COMMITMENT_LEN + TAG_LEN;

/// Longest ciphertext that kube-apiserver accepts (`maxCiphertextSize`, k8s.io/apiserver kmsv2/envelope.go).
pub const MAX_LEN: usize = 1024;

/// Why a wrapped seed did not open. For tests and tools: to a caller all of these are one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Shorter than [`OVERHEAD`] and one byte, or over [`MAX_LEN`].
    #[error("length")]
    Length,
    /// Not version 1.
    #[error("version")]
    Version,
    /// Not suite 1.
    #[error("suite")]
    Suite,
    /// Made under a key of another name.
    #[error("fingerprint")]
    Fingerprint,
    /// Made under another key or for another ring or key id.
    #[error("commitment")]
    Commitment,
    /// Bent.
    #[error("tag")]
    Tag,
}

/// Wraps `plaintext` under the key named `id` of `ring`, for a caller that has one seed.
pub fn wrap(ring: RingId, id: &KeyId, key: &Key32, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    Seeds::of(ring, id).wrap(key, plaintext)
}

/// Opens what [`wrap`] made for the same ring and key.
pub fn unwrap(ring: RingId, id: &KeyId, key: &Key32, bytes: &[u8]) -> Result<SecretBytes, UnwrapError> {
    Seeds::of(ring, id).unwrap(key, bytes)
}

/// The seeds of one key: what its ring and its name put into each of them, worked out once.
#[derive(Debug)]
pub struct Seeds {
    fingerprint: [u8; 16],
    purpose: Purpose,
}

impl Seeds {
    /// The seeds of the key named `id` of `ring`.
    pub fn of(ring: RingId, id: &KeyId) -> Self {
        let context = Context::new(LABEL)
            .with(&[VERSION, SUITE])
            .with(&ring.0)
            .with(id.as_str().as_bytes());
        Self {
            fingerprint: *id.fingerprint(),
            purpose: Purpose::new(context),
        }
    }

    /// Wraps `plaintext` under `key`, which is the key of that name.
    pub fn wrap(&self, key: &Key32, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let sealed = aead::seal_for(key, &self.purpose, plaintext)?;
        let mut bytes = Vec::with_capacity(OVERHEAD + plaintext.len());
        bytes.extend_from_slice(&[VERSION, SUITE]);
        bytes.extend_from_slice(&self.fingerprint);
        bytes.extend_from_slice(&sealed.salt);
        bytes.extend_from_slice(&sealed.nonce);
        bytes.extend_from_slice(&sealed.commitment);
        bytes.extend_from_slice(&sealed.ciphertext);
        Ok(bytes)
    }

    /// Opens what [`Seeds::wrap`] made under the same key.
    pub fn unwrap(&self, key: &Key32, bytes: &[u8]) -> Result<SecretBytes, UnwrapError> {
        if bytes.len() <= OVERHEAD || bytes.len() > MAX_LEN {
            return Err(UnwrapError::Length);
        }
        let (version, rest) = bytes.split_first().ok_or(UnwrapError::Length)?;
        let (suite, rest) = rest.split_first().ok_or(UnwrapError::Length)?;
        let (fingerprint, rest) = rest.split_first_chunk::<16>().ok_or(UnwrapError::Length)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(UnwrapError::Length)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(UnwrapError::Length)?;
        let (commitment, ciphertext) = rest.split_first_chunk().ok_or(UnwrapError::Length)?;
        if *version != VERSION {
            return Err(UnwrapError::Version);
        }
        if *suite != SUITE {
            return Err(UnwrapError::Suite);
        }
        if *fingerprint != self.fingerprint {
            return Err(UnwrapError::Fingerprint);
        }
        let sealed = Sealed {
            salt: *salt,
            nonce: *nonce,
            commitment: *commitment,
            ciphertext: ciphertext.to_vec(),
        };
        aead::open_for(key, &self.purpose, &sealed).map_err(|why| match why {
            aead::OpenError::WrongKey => UnwrapError::Commitment,
            aead::OpenError::Tampered => UnwrapError::Tag,
        })
    }
}
