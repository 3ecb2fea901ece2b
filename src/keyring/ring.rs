//! What a generation holds: the keys, their states, the rotation in flight. A value that [`Ring::check`] has passed.

use std::fmt;
use std::sync::Arc;

use super::members::{MAX_RECORDS, Member, NodeName};
use super::names::{KeyId, RingId, RingKeyId, SlotId};
use super::retirement::Retirement;
use crate::crypto::kdf;
use crate::crypto::secret::Key32;

/// Most fingerprints of replaced ring keys, and most ids of removed slots: one removal of a root a day for eleven years.
pub const MAX_REMOVALS: usize = 4096;

/// A point in time, in whole seconds of Unix time. Times are advice: order comes from generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Seconds from `earlier` to here, or 0 when that is not in the past.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// States of NIST SP 800-57 part 1 §7 that a key with bytes can have; suspension is a flag beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// The next key: decrypts, does not encrypt.
    PreActive,
    /// Encrypts and decrypts; exactly one.
    Active,
    /// An older key: decrypts.
    Deactivated,
}

/// A key-encryption key and its story.
#[derive(Clone)]
pub struct Key {
    /// Its public name, which holds its sequence.
    pub id: KeyId,
    /// Its bytes, shared between the rings of successive generations.
    pub material: Arc<Key32>,
    /// Where it stands.
    pub state: KeyState,
    /// Neither encrypts nor decrypts until it is resumed.
    pub suspended: bool,
    /// The generation that last set `suspended`; 0 when none did. Apart from `changed`: what one history does to the
    /// state never lifts a suspension that another made.
    pub suspension: u64,
    /// The generation that last set `state`.
    pub changed: u64,
    /// When it was made.
    pub created: UnixTime,
    /// When it became active; a key that has this was in use.
    pub activated: Option<UnixTime>,
    /// When a newer key became active.
    pub deactivated: Option<UnixTime>,
    /// Never active or next again, whatever is joined: it came from a generation under a replaced ring key.
    pub decrypt_only: bool,
}

impl Key {
    /// The state's name for people and JSON: SP 800-57's word, with suspension before the rest.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            _ if self.suspended => "suspended",
            KeyState::PreActive => "pre-active",
            KeyState::Active => "active",
            KeyState::Deactivated => "deactivated",
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} changed in {}", self.id, self.state_name(), self.changed)
    }
}

/// A destroyed key; kept for ever, so that it never comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its name.
    pub id: KeyId,
    /// When it was destroyed.
    pub destroyed: UnixTime,
    /// The first 16 bytes of SHA-256 of the evidence that nothing needed it.
    pub evidence: [u8; 16],
}

/// 16 bytes that stand for a set of destroyed keys.
pub type Digest = [u8; 16];

/// The digest of destroyed keys, which are given in ascending order; none where there are none. Their times and evidence
/// do not count.
pub fn digest<'a>(destroyed: impl Iterator<Item = &'a KeyId>) -> Option<Digest> {
    let mut bytes = Vec::new();
    for id in destroyed {
        bytes.extend_from_slice(&id.sequence().to_be_bytes());
        bytes.extend_from_slice(id.fingerprint());
    }
    let hash = kdf::sha256(&bytes);
    hash.first_chunk().copied().filter(|_| !bytes.is_empty())
}

/// Who activates the key of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activate {
    /// Any node that sees every acknowledgement.
    Auto,
    /// An operator, by `rotate --activate`.
    Manual,
}

/// A rotation in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Names this proposal, so that a repeated write is known.
    pub id: [u8; 16],
    /// Who finishes it.
    pub activate: Activate,
    /// The pre-active key that it will activate.
    pub key_id: KeyId,
}

/// The content of one generation.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The ring's name.
    pub id: RingId,
    /// Counts the changes, from 1.
    pub generation: u64,
    /// Ascending by id, which is by sequence.
    pub keys: Vec<Key>,
    /// Ascending by id.
    pub tombstones: Vec<Tombstone>,
    /// The rotation in flight.
    pub proposal: Option<Proposal>,
    /// The machine that a file ring belongs to.
    pub machine: Option<[u8; 32]>,
    /// A throw-away ring of `serve --dev`.
    pub development: bool,
    /// The nodes that keep a copy, ascending by name; none in a ring of one machine.
    pub members: Vec<Member>,
    /// Ring keys that were replaced, ascending: what is sealed under one of them is nobody's word any more.
    pub replaced: Vec<RingKeyId>,
    /// Root slots that were removed, ascending.
    pub removed: Vec<SlotId>,
    /// Keys on their way to destruction, ascending by id.
    pub retirements: Vec<Retirement>,
    /// Records for nodes that are away while the ring key is replaced, ascending: what the next activation leaves on etcd.
    pub superseding: Vec<Vec<u8>>,
}

/// A rule that every ring keeps, broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    #[allow(missing_docs)]
    #[error("generation 0 does not exist")]
    NoGeneration,
    #[allow(missing_docs)]
    #[error("{0} active keys, exactly 1 is needed")]
    ActiveKeys(usize),
    #[allow(missing_docs)]
    #[error("{0} pre-active keys, exactly 1 is needed")]
    PreActiveKeys(usize),
    #[allow(missing_docs)]
    #[error("keys or tombstones are not in ascending order, or one stands twice, at {0}")]
    Order(KeyId),
    #[allow(missing_docs)]
    #[error("key {stored} is named {derived} by its bytes")]
    Name { stored: KeyId, derived: KeyId },
    #[allow(missing_docs)]
    #[error("pre-active key {next} is not newer than active key {active}")]
    NextIsOlder { next: KeyId, active: KeyId },
    #[allow(missing_docs)]
    #[error("key {0} is destroyed and yet has bytes")]
    Undead(KeyId),
    #[allow(missing_docs)]
    #[error("the proposal is for {0}, which is not the pre-active key")]
    ProposalKey(KeyId),
    #[allow(missing_docs)]
    #[error("key {0} changed in a generation yet to come")]
    Future(KeyId),
    #[allow(missing_docs)]
    #[error("key {0} was suspended or resumed in a generation yet to come")]
    FutureSuspension(KeyId),
    #[allow(missing_docs)]
    #[error("key {0} is suspended, and the generation that did so is missing")]
    UndatedSuspension(KeyId),
    #[allow(missing_docs)]
    #[error("key {0} is active and has no time of its activation")]
    NoActivation(KeyId),
    #[allow(missing_docs)]
    #[error("nodes are not in ascending order, or one stands twice, at {0}")]
    NodeOrder(NodeName),
    #[allow(missing_docs)]
    #[error("node {0} was registered or removed in a generation that does not exist yet")]
    NodeFuture(NodeName),
    #[allow(missing_docs)]
    #[error("{0} records of nodes, at most {MAX_RECORDS} are accepted")]
    Nodes(usize),
    #[allow(missing_docs)]
    #[error("key {0} is pre-active and has a time of activation or deactivation")]
    Unused(KeyId),
    #[allow(missing_docs)]
    #[error("key {0} only decrypts, and is {1}")]
    DecryptOnly(KeyId, &'static str),
    #[allow(missing_docs)]
    #[error("{0} are not in ascending order, or one stands twice")]
    NotAscending(&'static str),
    #[allow(missing_docs)]
    #[error("a retirement was set in a generation that does not exist yet")]
    FutureRetirement,
    #[allow(missing_docs)]
    #[error("more than {MAX_REMOVALS} {0}")]
    TooMany(&'static str),
}

impl Ring {
    /// The key that encrypts. A checked ring has one.
    pub fn active(&self) -> Option<&Key> {
        self.in_state(KeyState::Active)
    }

    /// The next key. A checked ring has one.
    pub fn pre_active(&self) -> Option<&Key> {
        self.in_state(KeyState::PreActive)
    }

    /// The key of that name.
    pub fn key(&self, id: &KeyId) -> Option<&Key> {
        let at = self.keys.binary_search_by(|key| key.id.cmp(id)).ok()?;
        self.keys.get(at)
    }

    /// Whether the key of that name was destroyed.
    pub fn is_destroyed(&self, id: &KeyId) -> bool {
        self.tombstones.binary_search_by(|tomb| tomb.id.cmp(id)).is_ok()
    }

    /// The destroyed keys, in 16 bytes; none where there are none.
    pub fn destroyed(&self) -> Option<Digest> {
        digest(self.tombstones.iter().map(|tomb| &tomb.id))
    }

    /// The highest sequence that was ever given out, destroyed keys included.
    pub fn highest_sequence(&self) -> u64 {
        let keys = self.keys.iter().map(|key| key.id.sequence());
        let destroyed = self.tombstones.iter().map(|tomb| tomb.id.sequence());
        keys.chain(destroyed).max().unwrap_or(0)
    }

    /// Checks every rule; each key's name is derived anew from its bytes.
    pub fn check(&self) -> Result<(), BrokenRule> {
        if self.generation == 0 {
            return Err(BrokenRule::NoGeneration);
        }
        ascending(self.keys.iter().map(|key| &key.id))?;
        ascending(self.tombstones.iter().map(|tomb| &tomb.id))?;
        for key in &self.keys {
            self.check_key(key)?;
        }
        let count = |state| self.keys.iter().filter(|key| key.state == state).count();
        let (Some(active), 1) = (self.active(), count(KeyState::Active)) else {
            return Err(BrokenRule::ActiveKeys(count(KeyState::Active)));
        };
        let (Some(next), 1) = (self.pre_active(), count(KeyState::PreActive)) else {
            return Err(BrokenRule::PreActiveKeys(count(KeyState::PreActive)));
        };
        if next.id.sequence() <= active.id.sequence() {
            return Err(BrokenRule::NextIsOlder {
                next: next.id.clone(),
                active: active.id.clone(),
            });
        }
        self.check_members()?;
        self.check_removals()?;
        match &self.proposal {
            Some(proposal) if proposal.key_id != next.id => {
                Err(BrokenRule::ProposalKey(proposal.key_id.clone()))
            }
            _ => Ok(()),
        }
    }

    fn check_key(&self, key: &Key) -> Result<(), BrokenRule> {
        let derived = KeyId::derive(self.id, key.id.sequence(), &key.material);
        let id = || key.id.clone();
        if derived != key.id {
            return Err(BrokenRule::Name {
                stored: id(),
                derived,
            });
        }
        if key.changed > self.generation {
            return Err(BrokenRule::Future(id()));
        }
        if key.suspension > self.generation {
            return Err(BrokenRule::FutureSuspension(id()));
        }
        if key.suspended && key.suspension == 0 {
            return Err(BrokenRule::UndatedSuspension(id()));
        }
        match key.state {
            KeyState::Active if key.activated.is_none() => return Err(BrokenRule::NoActivation(id())),
            KeyState::PreActive if key.activated.is_some() || key.deactivated.is_some() => {
                return Err(BrokenRule::Unused(id()));
            }
            _ => {}
        }
        if key.decrypt_only && key.state != KeyState::Deactivated {
            return Err(BrokenRule::DecryptOnly(id(), key.state_name()));
        }
        if self.is_destroyed(&key.id) {
            return Err(BrokenRule::Undead(id()));
        }
        Ok(())
    }

    fn check_removals(&self) -> Result<(), BrokenRule> {
        if self.replaced.len() > MAX_REMOVALS {
            return Err(BrokenRule::TooMany("replaced ring keys"));
        }
        if self.removed.len() > MAX_REMOVALS {
            return Err(BrokenRule::TooMany("removed root slots"));
        }
        for (what, sorted) in [
            ("replaced ring keys", self.replaced.is_sorted_by(|a, b| a < b)),
            ("removed root slots", self.removed.is_sorted_by(|a, b| a < b)),
            ("retirements", self.retirements.is_sorted_by(|a, b| a.id < b.id)),
            (
                "records of replaced ring keys",
                self.superseding.is_sorted_by(|a, b| a < b),
            ),
        ] {
            if !sorted {
                return Err(BrokenRule::NotAscending(what));
            }
        }
        match self.retirements.iter().any(|it| it.since > self.generation) {
            true => Err(BrokenRule::FutureRetirement),
            false => Ok(()),
        }
    }

    fn check_members(&self) -> Result<(), BrokenRule> {
        if self.members.len() > MAX_RECORDS {
            return Err(BrokenRule::Nodes(self.members.len()));
        }
        let mut last: Option<&NodeName> = None;
        for member in &self.members {
            if last.is_some_and(|last| *last >= member.name) {
                return Err(BrokenRule::NodeOrder(member.name.clone()));
            }
            if member.since > self.generation {
                return Err(BrokenRule::NodeFuture(member.name.clone()));
            }
            last = Some(&member.name);
        }
        Ok(())
    }

    fn in_state(&self, state: KeyState) -> Option<&Key> {
        self.keys.iter().find(|key| key.state == state)
    }
}

fn ascending<'a>(ids: impl Iterator<Item = &'a KeyId>) -> Result<(), BrokenRule> {
    let mut last: Option<&KeyId> = None;
    for id in ids {
        if last.is_some_and(|last| last >= id) {
            return Err(BrokenRule::Order(id.clone()));
        }
        last = Some(id);
    }
    Ok(())
}
