//! The ring as it serves: an immutable map from key id to key, one of them active. Encrypt, decrypt and status are plain
//! functions of it: no lock, no clock, no I/O.

pub mod join;
pub mod lifecycle;
pub mod lineage;
pub mod live;
pub mod members;
mod names;
pub mod retirement;
pub mod ring;
pub mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use members::NodeName;
pub use names::{KeyId, MalformedKeyId, RingId, RingKeyId, SlotId};
use ring::{KeyState, Ring};

use crate::crypto::secret::{Key32, SecretBytes};
use crate::format::wrapped_seed::{self, Seeds};

/// Most bytes that Encrypt takes. kube-apiserver sends 32; the format could hold 914.
pub const MAX_PLAINTEXT: usize = 512;

/// Why no key is reported. Each of these, and nothing else, makes Status a gRPC error: kube-apiserver goes on writing
/// under a mere `healthz` other than "ok" (kubernetes#138950).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotServing {
    /// Nothing is loaded: the ring or its root could not be opened.
    #[error("no active key in memory: {0}")]
    NoActiveKey(String),
    /// The active key is suspended.
    #[error("the active key {0} is suspended")]
    ActiveSuspended(KeyId),
    /// A seed sealed under the active key did not open.
    #[error("the self-test of the active key {0} failed")]
    SelfTest(KeyId),
    /// The ring is older than what this node has already reported.
    #[error(
        "the ring is below its mark: it would report {active}, and this node has already reported {reported}"
    )]
    BelowMark {
        /// What the ring would report.
        active: KeyId,
        /// What the mark says.
        reported: KeyId,
    },
    /// A newer generation cannot be read or is gone, and no valid mark says what it reported.
    #[error(
        "generation {unread} cannot be read here and no valid mark says what it reported: a key after {active} may be in use"
    )]
    Unmarked {
        /// What the ring would report.
        active: KeyId,
        /// The number of the generation.
        unread: u64,
    },
    /// The ring is not the one that the mark or the configuration names.
    #[error("ring {found} is not the expected ring {expected}")]
    OtherRing {
        /// Whose ring was found.
        found: RingId,
        /// Whose ring was expected.
        expected: RingId,
    },
    /// Generations under two ring keys, of which neither replaced the other, and no mark of this node's that decides.
    #[error(
        "two ring keys and nothing that decides between them ({0}): `kekring ring accept --head GENERATION` does"
    )]
    TwoRingKeys(String),
    /// The ring key was replaced while this node was away, and no root here opens the new one.
    #[error(
        "the ring key was replaced at generation {0}, and no configured root opens the new one: what this node would report is out of use"
    )]
    Superseded(u64),
    /// Another machine, or an earlier copy, is registered under this node's name: rotations wait for that one.
    #[error(
        "another machine, or an earlier copy of this one, is registered as node {0}: `kekring node remove {0}` makes room, once that one is gone for good"
    )]
    SecondInstance(NodeName),
}

/// Why Encrypt fails.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    /// There is no key to encrypt under.
    #[error("{0}")]
    NotServing(NotServing),
    /// Empty, or over [`MAX_PLAINTEXT`].
    #[error("plaintext is {0} bytes, 1 to {MAX_PLAINTEXT} are accepted")]
    Length(usize),
    /// No randomness from the kernel.
    #[error("{0}")]
    Seal(#[from] crate::crypto::aead::SealError),
}

/// Why Decrypt fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// The key_id is no name of ours.
    #[error("the key_id is malformed")]
    MalformedKeyId,
    /// A well-formed name of no key in this ring.
    #[error("key {0} is not in the ring")]
    UnknownKey(KeyId),
    /// The operator has suspended it.
    #[error("key {0} is suspended; `kekring keys resume` lets it decrypt again")]
    Suspended(KeyId),
    /// One text for every cryptographic failure: which check failed tells an attacker nothing.
    #[error("the ciphertext does not decrypt under this key_id")]
    Ciphertext,
}

struct Entry {
    material: Arc<Key32>,
    seeds: Seeds,
    /// Whether anything may be encrypted under it, as the active key or one that was active a moment ago.
    encrypts: bool,
    suspended: bool,
}

/// A ring ready to serve, or the reason why there is none.
pub struct Keyring {
    id: RingId,
    generation: u64,
    keys: BTreeMap<String, (KeyId, Entry)>,
    active: Result<KeyId, NotServing>,
}

impl Keyring {
    /// A keyring without keys, that says why.
    pub fn absent(reason: impl Into<String>) -> Self {
        Self {
            id: RingId([0; 16]),
            generation: 0,
            keys: BTreeMap::new(),
            active: Err(NotServing::NoActiveKey(reason.into())),
        }
    }

    /// Takes a checked ring into service after a seal-and-open test of its active key.
    pub fn new(ring: &Ring) -> Self {
        let entry = |key: &ring::Key| Entry {
            material: Arc::clone(&key.material),
            seeds: Seeds::of(ring.id, &key.id),
            encrypts: key.state != KeyState::PreActive && !key.decrypt_only,
            suspended: key.suspended,
        };
        let mut keyring = Self {
            id: ring.id,
            generation: ring.generation,
            keys: ring
                .keys
                .iter()
                .map(|key| (key.id.as_str().to_owned(), (key.id.clone(), entry(key))))
                .collect(),
            active: Err(NotServing::NoActiveKey("the ring has none".into())),
        };
        if let Some(active) = ring.active() {
            keyring.active = keyring.tested(active);
        }
        keyring
    }

    /// With the keys of another generation of this ring that are not in this one, for Decrypt alone.
    #[must_use]
    pub fn also(mut self, ring: &Ring) -> Self {
        for key in ring.keys.iter().filter(|_| ring.id == self.id) {
            let name = key.id.as_str().to_owned();
            self.keys.entry(name).or_insert_with(|| {
                let entry = Entry {
                    material: Arc::clone(&key.material),
                    seeds: Seeds::of(ring.id, &key.id),
                    encrypts: false,
                    suspended: key.suspended,
                };
                (key.id.clone(), entry)
            });
        }
        self
    }

    /// The same keys for Decrypt, and no key to report.
    #[must_use]
    pub fn refusing(mut self, reason: NotServing) -> Self {
        self.active = Err(reason);
        self
    }

    /// The ring's name.
    pub fn id(&self) -> RingId {
        self.id
    }

    /// The generation it was loaded from; 0 when nothing is loaded.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The key that Status reports and Encrypt uses.
    pub fn status(&self) -> Result<&KeyId, &NotServing> {
        self.active.as_ref()
    }

    /// True when a key of that name can decrypt here.
    pub fn holds(&self, id: &KeyId) -> bool {
        self.keys.contains_key(id.as_str())
    }

    /// Wraps a seed: under `reported`, the key that this caller was last told, while that is active or just
    /// deactivated; else under the active key. Status and Encrypt so never disagree to one caller.
    pub fn encrypt(
        &self,
        reported: Option<&KeyId>,
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, KeyId), EncryptError> {
        if plaintext.is_empty() || plaintext.len() > MAX_PLAINTEXT {
            return Err(EncryptError::Length(plaintext.len()));
        }
        let active = match &self.active {
            Ok(active) => active,
            Err(reason) => return Err(EncryptError::NotServing(reason.clone())),
        };
        let usable = |entry: &Entry| entry.encrypts && !entry.suspended;
        let (id, entry) = reported
            .and_then(|id| self.keys.get(id.as_str()))
            .filter(|(_, entry)| usable(entry))
            .or_else(|| self.keys.get(active.as_str()))
            .ok_or_else(|| EncryptError::NotServing(NotServing::NoActiveKey("the ring has none".into())))?;
        let bytes = entry.seeds.wrap(&entry.material, plaintext)?;
        Ok((bytes, id.clone()))
    }

    /// Unwraps a seed under the key of that name.
    pub fn decrypt(&self, key_id: &str, ciphertext: &[u8]) -> Result<SecretBytes, DecryptError> {
        let Some((id, entry)) = self.keys.get(key_id) else {
            let id: KeyId = key_id.parse().map_err(|_| DecryptError::MalformedKeyId)?;
            return Err(DecryptError::UnknownKey(id));
        };
        if entry.suspended {
            return Err(DecryptError::Suspended(id.clone()));
        }
        let opened = entry.seeds.unwrap(&entry.material, ciphertext);
        opened.map_err(|_| DecryptError::Ciphertext)
    }

    fn tested(&self, active: &ring::Key) -> Result<KeyId, NotServing> {
        if active.suspended {
            return Err(NotServing::ActiveSuspended(active.id.clone()));
        }
        let probe = active.id.fingerprint();
        wrapped_seed::wrap(self.id, &active.id, &active.material, probe)
            .ok()
            .and_then(|sealed| self.decrypt(active.id.as_str(), &sealed).ok())
            .filter(|opened| opened.expose() == probe)
            .map(|_| active.id.clone())
            .ok_or_else(|| NotServing::SelfTest(active.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::ring::UnixTime;
    use super::*;

    fn ring() -> Ring {
        let key = |byte| Key32::take(&mut [byte; 32]);
        lifecycle::create(RingId([1; 16]), key(1), key(2), UnixTime(1))
    }

    #[test]
    fn an_active_key_that_does_not_open_what_it_sealed_is_not_reported() {
        let mut ring = ring();
        // Two values under one name, as only a broken memory or a broken check could make it.
        let mut twin = ring.keys[0].clone();
        twin.material = Arc::new(Key32::take(&mut [9; 32]));
        ring.keys.push(twin);
        let active = ring.keys[0].id.clone();

        let keyring = Keyring::new(&ring);

        assert_eq!(keyring.status(), Err(&NotServing::SelfTest(active)));
        assert!(matches!(
            keyring.encrypt(None, &[1; 32]),
            Err(EncryptError::NotServing(_))
        ));
    }

    #[test]
    fn a_seed_of_no_byte_or_of_more_than_the_limit_is_refused() {
        let keyring = Keyring::new(&ring());

        for length in [0, MAX_PLAINTEXT + 1] {
            let refused = keyring.encrypt(None, &vec![1; length]);
            assert!(matches!(refused, Err(EncryptError::Length(it)) if it == length));
        }
        for length in [1, MAX_PLAINTEXT] {
            assert!(keyring.encrypt(None, &vec![1; length]).is_ok());
        }
    }

    #[test]
    fn a_key_is_shown_by_name_and_state_and_without_its_bytes() {
        let ring = ring();
        let active = &ring.keys[0];

        assert_eq!(
            format!("{active:?}"),
            format!("{} active changed in 1", active.id)
        );
    }

    #[test]
    fn a_keyring_says_what_it_holds() {
        let mut ring = ring();
        ring.generation = 7;
        let keyring = Keyring::new(&ring);
        let strange = KeyId::derive(ring.id, 9, &Key32::take(&mut [9; 32]));

        assert_eq!((keyring.id(), keyring.generation()), (ring.id, 7));
        assert!(keyring.holds(&ring.keys[1].id) && !keyring.holds(&strange));
        assert_eq!(Keyring::absent("").generation(), 0);
    }

    #[test]
    fn a_reported_key_is_used_unless_it_is_suspended_or_not_yet_active() {
        let mut ring = lifecycle::activate(&ring(), Key32::take(&mut [3; 32]), UnixTime(2)).unwrap();
        let [old, active, next] = [0, 1, 2].map(|at: usize| ring.keys[at].id.clone());
        let used =
            |ring: &Ring, reported: &KeyId| Keyring::new(ring).encrypt(Some(reported), &[1; 32]).unwrap().1;

        assert_eq!(used(&ring, &old), old);
        assert_eq!(used(&ring, &next), active);
        ring.keys[0].suspended = true;
        assert_eq!(used(&ring, &old), active);
        let sealed = Keyring::new(&ring).encrypt(None, &[1; 32]).unwrap().0;
        let refused = Keyring::new(&ring).decrypt(old.as_str(), &sealed).unwrap_err();
        assert_eq!(refused, DecryptError::Suspended(old));
    }
}
