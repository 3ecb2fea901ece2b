//! What a running server knows of its ring, without a secret, and how trouble is told.

use std::time::Duration;

use crate::custody::{Opened, Room};
use crate::keyring::members;
use crate::keyring::ring::UnixTime;
use crate::keyring::schedule::{self, Clocks, Due};
use crate::keyring::{KeyId, RingId};

/// What a server knows of its ring, without a secret: for `status.json` and the log.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// False until the first attempt to open the ring has ended.
    pub attempted: bool,
    /// The ring, once it is open.
    pub ring: Option<RingHealth>,
    /// How each root fared that was asked for it at the start, in that order.
    pub opened_by: Vec<String>,
    /// Where several nodes keep it.
    pub several: Option<SeveralHealth>,
    /// Why Status is an error, why the newest ring was not taken, why a rotation waits.
    pub problems: Vec<String>,
    /// For people.
    pub warnings: Vec<String>,
}

/// The ring as it is served.
#[derive(Clone, Debug)]
pub struct RingHealth {
    /// Its name.
    pub id: RingId,
    /// The generation in use.
    pub generation: u64,
    /// The active key.
    pub active: KeyId,
    /// When it was made.
    pub created: UnixTime,
    /// When it became active, as stored.
    pub activated: Option<UnixTime>,
    /// The next key.
    pub next: KeyId,
    /// When that was made.
    pub next_created: UnixTime,
    /// How many keys decrypt.
    pub keys: usize,
    /// How many are in each state.
    pub states: Vec<(&'static str, usize)>,
    /// How many root slots open it.
    pub slots: usize,
    /// How full it is.
    pub room: Room,
    /// The time until it rotates no more, at today's pace.
    pub room_left: Duration,
    /// The last backup, where one is known.
    pub backup: Option<BackupHealth>,
    /// When the next rotation is due by the wall clock; `None` while one waits for an operator or the ring is frozen.
    pub rotation: Option<UnixTime>,
    /// The active key is older than the age at which it is replaced.
    pub overdue: bool,
    /// A rotation waits for an operator.
    pub waiting: bool,
    /// Why the ring is not changed.
    pub frozen: Option<String>,
}

/// Several nodes and one ring, as this node last read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeveralHealth {
    /// When etcd was last read; none since this server started: what is served is *provisional*.
    pub read: Option<UnixTime>,
    /// The registered nodes, and the generation that each has acknowledged.
    pub nodes: Vec<(String, Option<u64>)>,
    /// For whom a change waits, and why.
    pub missing: Vec<(String, String)>,
    /// Whether histories have parted and are not joined yet.
    pub parted: bool,
    /// What lies on etcd beside the ring's history and is kept, in words.
    pub beside: Vec<String>,
}

/// A backup of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupHealth {
    /// When it was written.
    pub written: UnixTime,
    /// How many keys of the ring it lacks.
    pub missing: usize,
}

/// The states of a key, as people and metrics name them.
const STATES: [&str; 4] = ["pre-active", "active", "deactivated", "suspended"];

impl RingHealth {
    /// `None` where the ring has no active or no next key, which no checked ring lacks.
    pub(super) fn of(opened: &Opened, clocks: Clocks, period: Duration) -> Option<Self> {
        let ring = &opened.ring;
        let (active, next) = (ring.active()?, ring.pre_active()?);
        let due = schedule::due(ring, clocks, period);
        let (age, due_age) = (schedule::age(ring, clocks), schedule::due_age(ring, period));
        let (now, room) = (clocks.now.0, Room::of(opened));
        let shared = members::registered(&ring.members).next().is_some();
        let rotation = match due {
            Due::In(wait) => Some(now.saturating_add(wait.as_secs())),
            Due::Now => Some(now.saturating_sub(age.saturating_sub(due_age).as_secs())),
            Due::Finish => Some(now),
            Due::Operator => None,
        };
        let count = |state| ring.keys.iter().filter(|key| key.state_name() == state).count();
        Some(Self {
            id: ring.id,
            generation: ring.generation,
            active: active.id.clone(),
            created: active.created,
            activated: active.activated,
            next: next.id.clone(),
            next_created: next.created,
            keys: ring.keys.len(),
            states: STATES.map(|state| (state, count(state))).to_vec(),
            slots: opened.head.header.slots.len(),
            room,
            room_left: room.left(clocks.now, period),
            backup: opened.backup.as_ref().map(|backup| BackupHealth {
                written: backup.written,
                missing: backup.lacks(ring).count(),
            }),
            rotation: rotation.filter(|_| opened.frozen.is_none()).map(UnixTime),
            // What several nodes have in flight may be an operator's, and is told by who is waited for.
            overdue: age >= due_age || (due == Due::Finish && !shared),
            waiting: due == Due::Operator,
            frozen: opened.frozen.as_ref().map(ToString::to_string),
        })
    }

    /// How many keys would be lost with the ring and all copies but the last backup.
    pub fn missing_in_backup(&self) -> usize {
        self.backup.map_or(self.keys, |backup| backup.missing)
    }
}

/// Something that is wrong: logged when it begins, changes and ends, not at every attempt.
#[derive(Default)]
pub(super) struct Trouble(pub(super) Option<String>);

impl Trouble {
    pub(super) fn raise(&mut self, what: &str) {
        if self.0.as_deref() != Some(what) {
            tracing::error!("{what}");
            self.0 = Some(what.to_owned());
        }
    }

    pub(super) fn clear(&mut self) {
        if let Some(what) = self.0.take() {
            tracing::info!("resolved: {what}");
        }
    }
}
