//! The stored bytes, normative: a wrapped seed, a generation of the ring, the mark, the record of a backup, an
//! acknowledgement, the record of a replaced ring key. Encode, and decode strictly.
//!
//! prost parses; this module then refuses what prost lets pass. Decoding and encoding again must give the same bytes, so
//! an unknown field, a field given twice, a default written out or a varint spelled long is noticed. An absent field
//! decodes to empty or zero, and every field is checked. An enum of 0 is invalid.
//!
//! *What a new field touches:* `proto/ring.proto`, the struct and its two conversions in one file here, a vector in
//! `tests/vectors`, and [`generation::VERSION`]: nodes write it only once each registered one is known to read it. An older
//! binary sees bytes that it cannot reproduce, serves them and never writes over them; a field that it must not ignore raises
//! `min_reader` instead. So does a new state or kind: a value that is unknown here is *newer*, and not *corrupt*. A slot of an
//! unknown kind is kept as it is and never tried.
//!
//! *What is read for ever:* every format from [`generation::FIRST`] on. What was written before the first release begins with
//! another magic, and is [`FormatError::Unreleased`].

pub mod backup;
pub mod covered;
pub mod generation;
pub mod mark;
pub mod node;
pub mod superseded;
pub mod wrapped_seed;

mod authenticated;
mod body;

use prost::Message;

/// Why stored bytes are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Damaged: cut, bent, or never what it should be. Use another copy.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// Written by a newer version in a way this one must not read, or cannot.
    #[error("newer format: {0}")]
    Newer(String),
    /// Written before the first release, in a format that no release reads.
    #[error("written by a kekring from before the first release, in a format that was never released")]
    Unreleased,
    /// Sound as stored, and the key is another one.
    #[error("wrong root: sealed under another ring key")]
    WrongKey,
    /// Sound as stored, the key fits, and the content is not what was sealed.
    #[error("tampered: {0}")]
    Tampered(String),
}

impl FormatError {
    fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    fn newer(version: u32, min_reader: u32) -> Self {
        Self::Newer(format!(
            "format version {version} needs a reader of version {min_reader} or later"
        ))
    }
}

/// Parses, and tells whether encoding gives the same bytes again.
fn decode<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<(M, bool), FormatError> {
    let message = M::decode(bytes).map_err(|why| FormatError::corrupt(format!("{what}: {why}")))?;
    let again = zeroize::Zeroizing::new(message.encode_to_vec());
    let same = again.as_slice() == bytes;
    Ok((message, same))
}

/// A field of values of `N` bytes, one after another.
fn packed<const N: usize>(what: &str, bytes: &[u8]) -> Result<Vec<[u8; N]>, FormatError> {
    match bytes.as_chunks() {
        (values, []) => Ok(values.to_vec()),
        _ => Err(FormatError::corrupt(format!(
            "{what} are {} bytes, which are no multiple of {N}",
            bytes.len()
        ))),
    }
}

/// A field of `N` bytes, or none.
fn optional<const N: usize>(what: &str, bytes: &[u8]) -> Result<Option<[u8; N]>, FormatError> {
    match bytes {
        [] => Ok(None),
        bytes => exactly(what, bytes).map(Some),
    }
}

/// A field of exactly `N` bytes.
fn exactly<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], FormatError> {
    bytes
        .try_into()
        .map_err(|_| FormatError::corrupt(format!("{what} is {} bytes instead of {N}", bytes.len())))
}

impl From<crate::crypto::aead::Sealed> for crate::proto::ring::Sealed {
    fn from(sealed: crate::crypto::aead::Sealed) -> Self {
        Self {
            salt: sealed.salt.to_vec(),
            nonce: sealed.nonce.to_vec(),
            commitment: sealed.commitment.to_vec(),
            ciphertext: sealed.ciphertext,
        }
    }
}

/// Checks the sizes of a sealed message's fields.
pub fn sealed(
    what: &str,
    message: Option<&crate::proto::ring::Sealed>,
) -> Result<crate::crypto::aead::Sealed, FormatError> {
    let message = message.ok_or_else(|| FormatError::corrupt(format!("{what} is absent")))?;
    if message.ciphertext.len() < crate::crypto::aead::TAG_LEN {
        return Err(FormatError::corrupt(format!("{what} is shorter than a tag")));
    }
    Ok(crate::crypto::aead::Sealed {
        salt: exactly(&format!("{what} salt"), &message.salt)?,
        nonce: exactly(&format!("{what} nonce"), &message.nonce)?,
        commitment: exactly(&format!("{what} commitment"), &message.commitment)?,
        ciphertext: message.ciphertext.clone(),
    })
}

/// Parses a message that must be canonical, for roots' own slot bytes.
pub fn decode_canonical<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, FormatError> {
    match decode(what, bytes)? {
        (message, true) => Ok(message),
        _ => Err(FormatError::corrupt(format!("{what} is not canonical"))),
    }
}
