//! Small messages with a MAC under a key derived from the ring key: the mark, the record of a backup, an acknowledgement.

use prost::Message;

use super::{FormatError, decode, exactly};
use crate::crypto::kdf::{self, Context};
use crate::crypto::secret::Key32;
use crate::keyring::RingId;

/// A message with a version, a ring's name and a MAC over all but itself.
pub(super) trait Authenticated: Message + Default {
    /// What it is, for people.
    const NAME: &'static str;
    /// Of its MAC key, which so verifies no other sort of message.
    const LABEL: &'static str;
    /// The version that is written, and the newest that is read.
    const VERSION: u32;

    fn version(&self) -> u32;
    fn ring_id(&self) -> &[u8];
    fn mac(&mut self) -> &mut Vec<u8>;
}

/// The stored bytes of a message whose MAC is still empty.
pub(super) fn encode<M: Authenticated>(mut message: M, ring_key: &Key32, ring: RingId) -> Vec<u8> {
    let mac = kdf::mac(&mac_key::<M>(ring_key, ring), &message.encode_to_vec());
    *message.mac() = mac.to_vec();
    message.encode_to_vec()
}

/// A message of a version that is known, canonical, and with the right MAC, which is taken out; and its ring.
pub(super) fn open<M: Authenticated>(bytes: &[u8], ring_key: &Key32) -> Result<(M, RingId), FormatError> {
    let (mut message, same): (M, bool) = decode(M::NAME, bytes)?;
    if message.version() == 0 {
        return Err(FormatError::corrupt(format!("the {} has no version", M::NAME)));
    }
    // Before the rest: a newer one may hold what this version cannot reproduce, and so cannot verify.
    refuse_newer(&message)?;
    if !same {
        return Err(FormatError::corrupt(format!("{} is not canonical", M::NAME)));
    }
    let ring = verify(&mut message, ring_key)?;
    Ok((message, ring))
}

pub(super) fn refuse_newer<M: Authenticated>(message: &M) -> Result<(), FormatError> {
    let version = message.version();
    match version > M::VERSION {
        true => Err(FormatError::newer(version, version)),
        false => Ok(()),
    }
}

/// Checks the MAC under the ring that the message names, and takes it out.
pub(super) fn verify<M: Authenticated>(message: &mut M, ring_key: &Key32) -> Result<RingId, FormatError> {
    let ring = RingId(exactly(&format!("{} ring id", M::NAME), message.ring_id())?);
    match is_genuine(message, ring_key, ring) {
        true => Ok(ring),
        false => Err(FormatError::Tampered(format!(
            "the {}'s MAC does not match",
            M::NAME
        ))),
    }
}

/// Whether the MAC is the ring's, and takes it out.
pub(super) fn is_genuine<M: Authenticated>(message: &mut M, ring_key: &Key32, ring: RingId) -> bool {
    let mac = std::mem::take(message.mac());
    kdf::verify_mac(&mac_key::<M>(ring_key, ring), &message.encode_to_vec(), &mac)
}

fn mac_key<M: Authenticated>(ring_key: &Key32, ring: RingId) -> Key32 {
    kdf::derive_key(ring_key, &ring.0, &Context::new(M::LABEL))
}
