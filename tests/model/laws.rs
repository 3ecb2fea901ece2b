//! What must hold after each step, for each place where the ring is served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use kekring::custody::Opened;
use kekring::keyring::ring::KeyState;
use kekring::keyring::{DecryptError, KeyId};

use crate::model::Side;
use crate::place::{Place, generations, text};

impl Side {
    /// No change takes a key away: only an accident does, and what it took may come back. What is stored decrypts, or is
    /// named to the operator; what decrypted a moment ago still does.
    pub fn nothing_is_lost(&mut self, opened: &Opened, stored: BTreeSet<KeyId>) -> Result<(), String> {
        let lost: Vec<_> = self.keys.difference(&stored).collect();
        ensure(lost.is_empty() || self.accident, || {
            format!("lost without an accident: {lost:?}")
        })?;
        let keyring = opened.keyring();
        let known = |id: &&KeyId| keyring.holds(id) || is_named(opened, id);
        let own = Place::keys(&generations(&self.place.ring), opened.keys());
        ensure(own.keys().all(|id| known(&id)), || {
            format!(
                "{:?} are stored, and neither open nor are named",
                own.keys().filter(|id| !known(id))
            )
        })?;
        let silent = self.decrypts.iter().find(|id| !known(id));
        ensure(silent.is_none() || self.accident, || {
            format!("{silent:?} decrypted a moment ago")
        })?;
        self.decrypts = stored.iter().filter(|id| keyring.holds(id)).cloned().collect();
        self.keys = stored;
        Ok(())
    }

    /// A root that was removed has no slot, or it is said that it still has one; and the ring does not rotate then.
    pub fn check_slots(&self, opened: &Opened) -> Result<(), String> {
        // Nothing is sealed for anybody until an operator has chosen.
        if is_undecided(opened) {
            return Ok(());
        }
        let unfinished: Vec<_> = opened.unfinished().map(|slot| slot.id).collect();
        let mut slots = opened.head.header.slots.iter();
        let back = slots.find(|slot| self.removed.contains(&slot.id) && !unfinished.contains(&slot.id));
        ensure(back.is_none(), || "a removed root has a slot again".into())
    }

    /// Once it is served, the mark of the mirror says what the ring's own says, whatever lay there.
    pub fn check_marks(&self, opened: &Opened) -> Result<(), String> {
        let Some(mirror) = &self.place.mirror else {
            return Ok(());
        };
        if opened.frozen.is_some() || opened.joined {
            return Ok(());
        }
        let mark = |dir: &Path| fs::read(dir.join("mark")).map_err(text);
        ensure(mark(mirror)? == mark(&self.place.ring)?, || {
            "the mark in the mirror is another".into()
        })
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
            .is_some_and(|id| opened.ring.key(id).is_none() && !is_named(opened, id));
        ensure(!lost || opened.frozen.is_some(), || {
            "what was reported is lost, and nobody is asked".into()
        })?;
        if is_undecided(opened) {
            return Ok(());
        }
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
            let suspended = self.suspensions.get(id).is_some_and(|it| it.1);
            if is_undecided(opened) {
                match keyring.decrypt(id.as_str(), bytes) {
                    Ok(opened) if opened.expose() == plain && !suspended => {}
                    Err(DecryptError::Suspended(_) | DecryptError::UnknownKey(_)) => {}
                    outcome => return Err(format!("what {id} sealed: {:?}", outcome.map(drop))),
                }
                continue;
            }
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

/// An attacker's keys are never in use, and decrypt by an operator's word alone.
pub fn strangers_have_no_say(
    opened: &Opened,
    foreign: &BTreeSet<KeyId>,
    by_word: &BTreeSet<KeyId>,
    forged: &[(KeyId, Vec<u8>)],
) -> Result<(), String> {
    for key in opened.ring.keys.iter().filter(|key| foreign.contains(&key.id)) {
        ensure(by_word.contains(&key.id), || format!("{} got in", key.id))?;
        let idle = key.decrypt_only && key.state == KeyState::Deactivated;
        ensure(idle, || format!("{} is more than to decrypt", key.id))?;
    }
    let keyring = opened.keyring();
    for (id, bytes) in forged
        .iter()
        .filter(|(id, _)| !by_word.contains(id) && foreign.contains(id))
    {
        let outcome = keyring.decrypt(id.as_str(), bytes);
        ensure(outcome.is_err(), || format!("what {id} sealed is believed"))?;
    }
    Ok(())
}

/// Whether the operator is told where it is.
fn is_named(opened: &Opened, id: &KeyId) -> bool {
    opened.passed.iter().any(|it| it.keys.contains(id))
}

/// Whether an operator must choose between ring keys.
fn is_undecided(opened: &Opened) -> bool {
    opened.frozen.iter().any(|it| it.heads().next().is_some())
}

pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
