//! The names of rings and keys: newtypes that cannot hold anything malformed.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use crate::crypto::kdf::{self, Context};
use crate::crypto::secret::Key32;

/// Label under which a key's public name is derived from its bytes.
const KEY_ID_LABEL: &str = "kekring/v1/key-id";
/// Label under which a ring key's fingerprint is derived from its bytes.
const RING_KEY_LABEL: &str = "kekring/v1/ring-key";

/// 16 random bytes that name a ring for life; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(pub [u8; 16]);

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingId({self})")
    }
}

/// The id of a root slot: 16 random bytes.
pub type SlotId = [u8; 16];

/// A one-way fingerprint of a ring key: 16 bytes, derived from the key's bytes and the ring id.
///
/// It says which ring keys were replaced, and stands in sealed bodies alone: whoever lacks a ring key can neither name it
/// nor learn that it was one. So it is never printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingKeyId(pub [u8; 16]);

impl RingKeyId {
    /// The fingerprint of a ring key.
    pub fn of(ring: RingId, key: &Key32) -> Self {
        Self(kdf::fingerprint(key, &ring.0, &Context::new(RING_KEY_LABEL)))
    }
}

impl fmt::Debug for RingKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RingKeyId(redacted)")
    }
}

/// The name kube-apiserver sees: `k<sequence>-<32 hexadecimal digits>`, at most 54 bytes, public.
///
/// The digits come one-way from the key's bytes, the ring id and the sequence, so one name never stands for two keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    text: String,
    sequence: u64,
    fingerprint: [u8; 16],
}

impl KeyId {
    /// The name of `key` as number `sequence` of the ring.
    pub fn derive(ring: RingId, sequence: u64, key: &Key32) -> Self {
        let context = Context::new(KEY_ID_LABEL).with(&sequence.to_be_bytes());
        Self::of(sequence, kdf::fingerprint(key, &ring.0, &context))
    }

    /// The name with this number and this derived part, as a destroyed key leaves it; `None` for number 0.
    pub fn from_parts(sequence: u64, fingerprint: [u8; 16]) -> Option<Self> {
        (sequence > 0).then(|| Self::of(sequence, fingerprint))
    }

    fn of(sequence: u64, fingerprint: [u8; 16]) -> Self {
        Self {
            text: format!("k{sequence}-{}", HEXLOWER.encode(&fingerprint)),
            sequence,
            fingerprint,
        }
    }

    /// The name itself, as it stands in requests, in etcd and in AAD.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key's number in its ring, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The derived part.
    pub fn fingerprint(&self) -> &[u8; 16] {
        &self.fingerprint
    }

    /// `sha256:<hex>` of the name, exactly as kube-apiserver's metrics and log show it.
    pub fn hashed(&self) -> String {
        format!("sha256:{}", HEXLOWER.encode(&kdf::sha256(self.text.as_bytes())))
    }
}

/// The text is no key id of any ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key_id of the form k<sequence>-<32 hexadecimal digits>")]
pub struct MalformedKeyId;

impl FromStr for KeyId {
    type Err = MalformedKeyId;

    fn from_str(text: &str) -> Result<Self, MalformedKeyId> {
        let (sequence, digits) = text
            .strip_prefix('k')
            .and_then(|rest| rest.split_once('-'))
            .ok_or(MalformedKeyId)?;
        let sequence: u64 = sequence.parse().map_err(|_| MalformedKeyId)?;
        let fingerprint = HEXLOWER
            .decode(digits.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(MalformedKeyId)?;
        let id = Self {
            text: text.to_owned(),
            sequence,
            fingerprint,
        };
        // One spelling only: no `+1`, no leading zero, no zero.
        if sequence == 0 || id.text != format!("k{sequence}-{digits}") {
            return Err(MalformedKeyId);
        }
        Ok(id)
    }
}

/// By sequence, then by the derived part: the order in which keys may become active.
impl Ord for KeyId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.sequence, &self.fingerprint).cmp(&(other.sequence, &other.fingerprint))
    }
}

impl PartialOrd for KeyId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(ring: u8, sequence: u64, key: u8) -> KeyId {
        KeyId::derive(RingId([ring; 16]), sequence, &Key32::take(&mut [key; 32]))
    }

    #[test]
    fn a_name_depends_on_ring_sequence_and_bytes() {
        let name = derive(1, 1, 1);

        assert_eq!(name, derive(1, 1, 1));
        assert_ne!(name.fingerprint(), derive(2, 1, 1).fingerprint());
        assert_ne!(name.fingerprint(), derive(1, 2, 1).fingerprint());
        assert_ne!(name.fingerprint(), derive(1, 1, 2).fingerprint());
    }

    #[test]
    fn names_are_shown_as_they_are_and_hashed_as_kube_apiserver_hashes_them() {
        let name: KeyId = "k1-000102030405060708090a0b0c0d0e0f".parse().unwrap();

        assert_eq!(format!("{name:?}"), name.as_str());
        assert_eq!(
            format!("{:?}", RingId([0xab; 16])),
            format!("RingId({})", "ab".repeat(16))
        );
        // By sha256sum(1).
        assert_eq!(
            name.hashed(),
            "sha256:139ce2090aa1582903a6bb187c56a3b698224bec49a07e14f727c885a20ff913"
        );
    }

    #[test]
    fn parses_its_own_text_and_no_other_spelling() {
        let name = derive(1, u64::MAX, 1);
        let digits = HEXLOWER.encode(name.fingerprint());

        assert_eq!(name.as_str().parse(), Ok(name.clone()));
        assert!(name.as_str().len() <= 64);
        for bad in [
            String::new(),
            format!("k-{digits}"),
            format!("k0-{digits}"),
            format!("k01-{digits}"),
            format!("k+1-{digits}"),
            format!("K1-{digits}"),
            format!("k1-{}", digits.to_uppercase()),
            format!("k1-{digits}0"),
            format!("k1-{digits} "),
            format!("k1-{digits}\n"),
            format!("k18446744073709551616-{digits}"),
            "k1-".into(),
        ] {
            assert_eq!(bad.parse::<KeyId>(), Err(MalformedKeyId), "{bad:?}");
        }
    }
}
