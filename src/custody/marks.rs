//! What the marks say. A mark counts where it verifies under the head's own ring key; the highest of those does, wherever it
//! lies. The others decide nothing, and this says what becomes of each.

use std::sync::Arc;

use super::history::refuse_other_ring;
use super::{Custody, Opened};
use crate::crypto::secret::Key32;
use crate::format::FormatError;
use crate::format::mark::{self, Mark};
use crate::keyring::RingKeyId;
use crate::keyring::ring::Key;
use crate::store::StoredMark;

/// What a mark is to the ring that was opened.
enum Standing {
    /// It verifies under the head's ring key.
    Ours(Mark),
    /// It verifies under a ring key that the stored head names replaced.
    Replaced(Mark),
    /// It verifies under another ring key that opened here.
    Beside,
    /// A newer version wrote it.
    Newer,
    /// It names another ring.
    OtherRing,
    /// It verifies under nothing, and names what is here.
    Damaged(FormatError),
    /// It verifies under nothing, and names nothing that is here.
    Strange(FormatError),
}

/// What the marks come to.
pub(super) struct Heeded {
    /// Those under the head's ring key.
    pub(super) valid: Vec<Mark>,
    /// Whether the one in the store's own place verifies under nothing, and names nothing that is here.
    pub(super) strange: bool,
}

/// Heeds what other marks than the valid ones say.
pub(super) fn heed(opened: &mut Opened, stored: &[StoredMark]) -> Heeded {
    if stored.is_empty() {
        let reason = "the mark is missing: an older ring put in this one's place would not be noticed";
        opened.warnings.push(reason.into());
    }
    let (mut valid, mut strange) = (Vec::new(), false);
    for it in stored {
        let whose = if it.own {
            "the mark"
        } else {
            "the mark in the mirror"
        };
        match (standing(opened, &it.bytes), it.own) {
            (Standing::Ours(mark), _) => valid.push(mark),
            (Standing::Replaced(mark), true) => suspend(opened, &mark),
            (Standing::Replaced(_), false) => opened.warnings.push(format!(
                "{whose} is under a ring key that was replaced; it decides nothing and is replaced too"
            )),
            (Standing::Beside, _) => opened
                .warnings
                .push(format!("{whose} is under another ring key, and is left as it is")),
            (Standing::OtherRing, true) => {
                if let Some(other) = mark::of_another_ring(&it.bytes, opened.ring.id, &opened.ring_key) {
                    refuse_other_ring(opened, other);
                }
            }
            (Standing::Newer, true) => opened
                .warnings
                .push(format!("{whose} cannot be used: a newer kekring wrote it")),
            (Standing::Damaged(why), _) => opened.warnings.push(format!("{whose} cannot be used: {why}")),
            (Standing::Strange(why), true) => {
                opened.warnings.push(format!("{whose} cannot be used: {why}"));
                strange = true;
            }
            (Standing::Strange(_) | Standing::Newer | Standing::OtherRing, false) => {
                opened.warnings.push(format!(
                    "{whose} is none of this ring's, or a newer kekring wrote it: it decides nothing and is replaced"
                ));
            }
        }
    }
    Heeded { valid, strange }
}

fn standing(opened: &Opened, bytes: &[u8]) -> Standing {
    let (ours, ring) = (opened.ring.id, &opened.ring);
    let why = match mark::decode(bytes, &opened.ring_key) {
        Ok(mark) => return Standing::Ours(mark),
        Err(why) => why,
    };
    for key in opened.keys.iter().skip(1) {
        if let Ok(mark) = mark::decode(bytes, key) {
            let replaced = ring.replaced.binary_search(&RingKeyId::of(ours, key)).is_ok();
            // A join that is not stored yet names nothing replaced.
            return match replaced && !opened.joined {
                true => Standing::Replaced(mark),
                false => Standing::Beside,
            };
        }
    }
    if matches!(why, FormatError::Newer(_)) {
        return Standing::Newer;
    }
    if mark::of_another_ring(bytes, ours, &opened.ring_key).is_some() {
        return Standing::OtherRing;
    }
    let claimed = mark::claimed(bytes, ours).map(|(_, hash)| hash);
    let here = claimed.is_some_and(|hash| {
        let parents = &opened.head.header.parents;
        hash == opened.head.hash || parents.contains(&hash) || opened.here.contains(&hash)
    });
    match here {
        true => Standing::Damaged(why),
        false => Standing::Strange(why),
    }
}

/// What this node suspended before the ring key was replaced stays suspended, unless it was resumed since.
fn suspend(opened: &mut Opened, mark: &Mark) {
    let since = |key: &Key| key.suspension > mark.generation;
    let generation = opened.ring.generation;
    let marked = |key: &&mut Key| mark.suspended.binary_search(&key.id).is_ok();
    for key in opened.ring.keys.iter_mut().filter(marked) {
        if !key.suspended && !since(key) {
            (key.suspended, key.suspension) = (true, generation);
        }
    }
}

/// Under which of these ring keys the node's own mark verifies.
pub(super) fn own(stored: &[StoredMark], keys: &[(RingKeyId, Arc<Key32>)]) -> Option<RingKeyId> {
    let own = stored.iter().find(|it| it.own)?;
    let verifies = |(_, key): &&(RingKeyId, Arc<Key32>)| mark::decode(&own.bytes, key).is_ok();
    keys.iter().find(verifies).map(|(id, _)| *id)
}

impl Custody {
    /// Whether `mark` takes the place of one that is there.
    pub(super) fn supersedes(opened: &Opened, mark: &Mark, known: &StoredMark, decided: bool) -> bool {
        match (standing(opened, &known.bytes), known.own) {
            // Neither goes back, whatever the other does.
            (Standing::Ours(known), _) => {
                known.generation <= mark.generation && known.reported <= mark.reported && known != *mark
            }
            (Standing::Replaced(_) | Standing::Damaged(_), _) => true,
            (Standing::Beside, _) => false,
            (Standing::Newer | Standing::OtherRing, own) => !own,
            (Standing::Strange(_), own) => !own || decided,
        }
    }
}
