//! What a running server knows of its ring, without a secret, and how trouble is told.

use crate::keyring::ring::UnixTime;
use crate::keyring::{KeyId, RingId};

/// What a server knows of its ring, without a secret: for `status.json` and the log.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// False until the first attempt to open the ring has ended.
    pub attempted: bool,
    /// The ring, once it is open.
    pub ring: Option<RingHealth>,
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
    /// When it became active, as stored.
    pub activated: Option<UnixTime>,
    /// The next key.
    pub next: KeyId,
    /// How many keys decrypt.
    pub keys: usize,
    /// When the next rotation is due by the wall clock; `None` while one waits for an operator or the ring is frozen.
    pub rotation: Option<UnixTime>,
    /// Why the ring is not changed.
    pub frozen: Option<String>,
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
