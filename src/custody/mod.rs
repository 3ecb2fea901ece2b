//! Where roots and stores meet, and nowhere else: `open` is store → root → format, `commit` is format → store.
//!
//! `open` never writes. `commit` makes a generation durable, proves it, then writes the mirror and the mark; only then
//! may the caller use it.

mod attempts;
mod backup;
mod commit;
mod decide;
mod error;
mod frozen;
mod history;
mod open;
mod room;
mod slots;
mod unlock;

pub use commit::{Prepared, test_keys};
pub use error::{CommitError, OpenError};
pub use frozen::{Frozen, Reason};
pub use open::Version;
pub use room::{FOR_ROTATIONS, Room};
pub use slots::opens;
pub use unlock::{Derivations, MOST_DERIVATIONS};

use std::sync::Arc;

use crate::crypto::kdf::{self, Context};
use crate::crypto::secret::Key32;
use crate::format::backup::BackupRecord;
use crate::format::generation::{Hash, MAX_LEN};
pub use crate::format::generation::{Header, Slot};
use crate::format::mark::Mark;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{Keyring, NotServing, RingId, lifecycle};
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
    parents: Vec<Hash>,
    stamp: Stamp,
    prunable: Vec<String>,
    /// Every generation that opened.
    opened_names: Vec<String>,
    /// Slots of generations under an earlier ring key, which the newest lacks: their removal broke off.
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

    /// The ring as it serves, or serves Decrypt alone.
    pub fn keyring(&self) -> Keyring {
        let keyring = Keyring::new(&self.ring);
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
