//! Where roots and stores meet, and nowhere else: `open` is store → root → format, `commit` is format → store.
//!
//! `open` never writes. `commit` makes a generation durable, proves it, then writes the mirror and the mark; only then
//! may the caller use it. Cut off in between, the next opening finds either the old generation or the new one, and settles.
//!
//! *What it trusts:* what verifies under the ring's own ring key, and nothing else. The head is the newest generation under a
//! ring key that no other one names replaced (`lineages`); what is under a replaced one is kept and named, and gives its keys
//! to [`Custody::take_in`] alone, on an operator's word. Of a store's further places it takes the mark and the very generation
//! that a mark names (`elsewhere`).
//!
//! *What it refuses:* to derive more keys than [`MOST_DERIVATIONS`] for slots that nobody has authenticated (`unlock`), to
//! change a ring of which something is missing or undecided (`frozen`), to rotate into the reserve for emergencies (`room`), and
//! to delete what the durable head is not proven to cover (`tidy`).

mod attempts;
mod backup;
mod calls;
mod commit;
mod decide;
mod elsewhere;
mod error;
mod frozen;
mod history;
mod lineages;
mod marks;
mod open;
mod passed;
mod restore;
mod room;
mod slots;
mod tidy;
mod unlock;

pub use calls::Calls;
pub use commit::{Making, Prepared, Share, test_keys};
pub use error::{CommitError, OpenError};
pub use frozen::{Frozen, Reason};
pub use open::Version;
pub use passed::Passed;
pub use restore::{Abandoned, Relation, Restored, Unreadable};
pub use room::{FOR_ROTATIONS, Room};
pub use slots::opens;
pub use tidy::{Beside, Finding};
pub use unlock::{Derivations, MOST_DERIVATIONS, Outcome, Turn};

use std::sync::Arc;

use crate::crypto::kdf::{self, Context};
use crate::crypto::secret::Key32;
use crate::format::backup::BackupRecord;
use crate::format::generation::{Hash, MAX_LEN};
pub use crate::format::generation::{Header, Slot};
use crate::format::mark::Mark;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{Keyring, NotServing, RingId, RingKeyId, lifecycle};
use crate::root::RootKey;
use crate::store::{RingStore, Stamp};

/// More keys than that in a day are worth a word.
const MANY_A_DAY: usize = 10;
const DAY: u64 = 24 * 60 * 60;
const MACHINE_LABEL: &str = "kekring/v1/machine";

/// A ring's store, the roots that may open it, and what the caller expects to find.
pub struct Custody {
    /// Where the generations lie.
    pub store: Box<dyn RingStore>,
    /// Tried in this order; those that derive a key after the others.
    pub roots: Vec<Arc<dyn RootKey>>,
    /// The calls to them that are at work, and what they have said.
    pub calls: Arc<Calls>,
    /// The content of the machine id file, where there is one.
    pub machine: Option<String>,
    /// Whether several nodes keep the ring together, so that it is bound to no machine.
    pub shared: bool,
    /// Whether a throw-away ring is wanted; the other sort is refused.
    pub development: bool,
    /// The only ring that is accepted; any when absent.
    pub expected: Option<RingId>,
    /// Names this process in the generations that it writes.
    pub writer: [u8; 16],
}

/// An opened ring with everything that a commit or a server needs.
pub struct Opened {
    /// The content; joined where the store held two histories.
    pub ring: Ring,
    /// Kept by `serve`, so that a root is needed at start only.
    pub ring_key: Arc<Key32>,
    /// The stored generation that this came from.
    pub head: Head,
    /// What the node has reported, where a valid mark was found.
    pub mark: Option<Mark>,
    /// The last backup, where its record is there and counts.
    pub backup: Option<BackupRecord>,
    /// Why no key may be reported; Decrypt works all the same.
    pub refusing: Option<NotServing>,
    /// Why the ring must not be changed; serving goes on.
    pub frozen: Option<Frozen>,
    /// True when `ring` is a join that is not stored yet.
    pub joined: bool,
    /// For people: status, log, doctor.
    pub warnings: Vec<String>,
    /// Generations whose word counts for nothing here, and that hold keys which the ring lacks.
    pub passed: Vec<Passed>,
    /// How the roots fared that were asked for it; none where a ring key was at hand.
    pub turns: Vec<Turn>,
    parents: Vec<Hash>,
    /// The format version of the head. Several nodes keep it until each of them reads a newer one.
    format: u32,
    stamp: Stamp,
    /// Every ring key that opened a generation, the ring's own first.
    keys: Vec<Arc<Key32>>,
    /// Identities of the generations that are here.
    here: Vec<Hash>,
    /// Whether its own place holds more generations than are kept.
    surplus: bool,
    /// While two ring keys are undecided: what is sealed under the other ones, for Decrypt alone.
    beside: Vec<Version>,
    /// The highest sequence under a ring key that lost against the ring's own; 0 where none did.
    above: u64,
    /// Slots of generations under a replaced ring key, which the newest lacks: their removal broke off.
    removed: Vec<Slot>,
}

/// The newest generation that opened.
pub struct Head {
    /// Its name in the store.
    pub name: String,
    /// Its identity.
    pub hash: Hash,
    /// Its clear part.
    pub header: Header,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
}

impl Opened {
    /// Every ring key that opened a generation, the ring's own first.
    pub fn keys(&self) -> &[Arc<Key32>] {
        &self.keys
    }

    /// What the store held when this was read or written.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Slots that a removal took out of the newest generation before it broke off: older ones still open by them.
    pub fn half_removed(&self) -> &[Slot] {
        &self.removed
    }

    /// The ring as the next generation; a join is that already.
    fn successor(&self) -> Result<Ring, Refusal> {
        if self.joined {
            return Ok(self.ring.clone());
        }
        lifecycle::successor(&self.ring)
    }

    /// That the ring grows faster than any period asks for, in words. Throw-away rings may.
    pub fn growth_warning(&self, now: UnixTime) -> Option<String> {
        let day = |time: UnixTime| time <= now && now.since(time) < DAY;
        let keys = self.ring.keys.iter();
        let young = keys.filter(|key| key.activated.is_some_and(day)).count();
        let length = self.head.bytes.len();
        (young > MANY_A_DAY && !self.ring.development).then(|| {
            format!(
                "{young} keys became active within a day, and every key is kept: the ring takes {length} of at most {MAX_LEN} bytes"
            )
        })
    }

    /// Keeps the ring from being changed.
    fn freeze(&mut self, reason: Reason) {
        Frozen::add(&mut self.frozen, reason);
    }

    /// Slots of the newest generation that another history of the ring has removed: until they go by `root remove`, the ring
    /// does not rotate.
    pub fn unfinished(&self) -> impl Iterator<Item = &Slot> {
        let removed = |slot: &&Slot| self.ring.removed.binary_search(&slot.id).is_ok();
        self.head.header.slots.iter().filter(removed)
    }

    /// The fingerprint of the ring key.
    pub fn lineage(&self) -> RingKeyId {
        RingKeyId::of(self.ring.id, &self.ring_key)
    }

    /// The ring as it serves, or serves Decrypt alone.
    pub fn keyring(&self) -> Keyring {
        let own = Keyring::new(&self.ring);
        let keyring = self.beside.iter().fold(own, |keyring, it| keyring.also(&it.ring));
        match &self.refusing {
            Some(reason) => keyring.refusing(reason.clone()),
            None => keyring,
        }
    }
}

impl Custody {
    /// The tag that binds a file ring to a machine: the machine id itself stays on the machine.
    pub fn machine_tag(&self, ring: RingId) -> Option<[u8; 32]> {
        let id = self.machine.as_deref()?.trim();
        let context = Context::new(MACHINE_LABEL).with(&ring.0).with(id.as_bytes());
        (!id.is_empty()).then(|| kdf::sha256(context.as_bytes()))
    }
}
