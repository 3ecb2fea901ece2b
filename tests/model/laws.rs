//! What must hold after each step, for each place where the ring is served.

use std::collections::BTreeSet;

use kekring::custody::Opened;
use kekring::keyring::ring::KeyState;
use kekring::keyring::{DecryptError, KeyId};

use crate::model::Side;
use crate::place::text;

impl Side {
    /// No change takes a key away: only an accident does, and what it took may come back.
    pub fn keys_stay(&mut self, keys: &BTreeSet<KeyId>) -> Result<(), String> {
        let lost: Vec<_> = self.keys.difference(keys).collect();
        ensure(lost.is_empty() || self.robbed, || {
            format!("lost without an accident: {lost:?}")
        })?;
        self.keys.clone_from(keys);
        Ok(())
    }

    pub fn check(&mut self, opened: &Opened) -> Result<(), String> {
        opened.ring.check().map_err(text)?;
        let count = |state| opened.ring.keys.iter().filter(|key| key.state == state).count();
        ensure(
            count(KeyState::Active) == 1 && count(KeyState::PreActive) == 1,
            || "not one active, one next".into(),
        )?;
        if let Ok(active) = opened.keyring().status() {
            let before = self.reported.replace(active.clone());
            ensure(
                before
                    .as_ref()
                    .is_none_or(|it| it.sequence() <= active.sequence()),
                || format!("{active} is reported after {before:?}"),
            )?;
        }
        let lost = self
            .reported
            .as_ref()
            .is_some_and(|id| opened.ring.key(id).is_none());
        ensure(!lost || opened.frozen.is_some(), || {
            "what was reported is lost, and nobody is asked".into()
        })?;
        for (id, (_, suspended)) in &self.suspensions {
            let Some(key) = opened.ring.key(id) else { continue };
            ensure(key.suspended || !suspended, || {
                format!("the suspension of {id} is lifted")
            })?;
            // An accident may take a resumption away, which is the safe side.
            ensure(key.suspended == *suspended || self.robbed, || {
                format!("{id} is suspended")
            })?;
        }
        Ok(())
    }

    pub fn check_sealed(&self, opened: &Opened, sealed: &[(KeyId, Vec<u8>, Vec<u8>)]) -> Result<(), String> {
        let keyring = opened.keyring();
        for (id, bytes, plain) in sealed {
            let key = opened.ring.key(id);
            match (keyring.decrypt(id.as_str(), bytes), key) {
                (Ok(opened), Some(key)) if opened.expose() == plain && !key.suspended => {}
                (Err(DecryptError::Suspended(_)), Some(key)) if key.suspended => {}
                (Err(DecryptError::UnknownKey(_)), None) => {}
                (outcome, _) => return Err(format!("what {id} sealed: {:?}", outcome.map(drop))),
            }
        }
        Ok(())
    }
}

pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
