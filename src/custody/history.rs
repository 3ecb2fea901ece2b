//! What was opened, put together: the newest version, other histories of the ring, what the node has reported.

use std::sync::Arc;

use super::frozen::{Frozen, Reason};
use super::lineages::{
    Choice, choose, heed_record, heed_removed_slots, keys, outrank, pass_over, refuse_undecided,
};
use super::marks::Heeded;
use super::open::{Damage, Damaged, Version};
use super::{Head, Opened, marks};
use crate::crypto::secret::Key32;
use crate::format::backup;
use crate::format::generation::Hash;
use crate::format::mark::{self, Mark};
use crate::keyring::join::{self, JoinError};
use crate::keyring::ring::{Key, Ring, UnixTime};
use crate::keyring::{KeyId, NotServing, RingId};
use crate::store::{KEPT, Loaded, StoredMark};

/// Highest number above what is authenticated at which a generation that cannot be read is taken for one that was written: a
/// ring that changes every minute takes two years to get there.
pub(super) const FARTHEST: u64 = 1_000_000;

/// Puts the head, other histories, the marks and the damage together. `versions` are all that opened, the newest first;
/// `wanted` is the generation for whose ring key an operator decides.
pub(super) fn assemble(
    versions: Vec<Version>,
    damage: &Damage,
    mut loaded: Loaded,
    wanted: Option<&str>,
    now: UnixTime,
) -> Opened {
    let choice = choose(&versions, &loaded.marks, wanted);
    let suspended: Vec<(Hash, Vec<KeyId>)> = versions.iter().map(suspended_in).collect();
    let (mut opened, older, others) = begin(versions, &choice, &mut loaded);
    let (undecided, replaced): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|it| choice.is_undecided(it.lineage));
    outrank(&mut opened, &choice, &replaced);
    let Heeded { valid, strange } = marks::heed(&mut opened, &loaded.marks);
    let marked = valid.iter().map(|mark| mark.generation).max();
    complain(&mut opened, damage, marked);
    for version in &older {
        join_history(&mut opened, version, &valid, now);
    }
    let highest = |mark: &Mark| (mark.reported.sequence(), mark.generation);
    match valid.into_iter().max_by_key(highest) {
        Some(mark) => {
            let said = suspended.iter().find(|(hash, _)| *hash == mark.hash);
            apply_mark(&mut opened, mark, said.map_or(&[], |(_, keys)| keys));
        }
        None => refuse_unmarked(&mut opened, damage, &loaded.marks),
    }
    // Where it is what a later ring key signed, that is said already.
    let is_behind = |it: &Reason| matches!(it, Reason::BehindMark { .. });
    if strange && !opened.frozen.iter().flat_map(Frozen::reasons).any(is_behind) {
        opened.freeze(Reason::StrangeMark);
    }
    refuse_undecided(&mut opened, undecided);
    heed_record(&mut opened, loaded.superseded.as_deref());
    pass_over(&mut opened, &replaced);
    heed_removed_slots(&mut opened);
    opened
}

/// The newest generation under the chosen ring key as the ring that it is, the older ones under that key, and all others.
fn begin(
    versions: Vec<Version>,
    choice: &Choice,
    loaded: &mut Loaded,
) -> (Opened, Vec<Version>, Vec<Version>) {
    let here = versions.iter().map(|it| it.stored.hash).collect();
    let kept = versions.iter().filter(|it| it.own && it.lineage == choice.winner);
    let surplus = kept.count() > KEPT;
    let keys = keys(&versions, choice.winner);
    let (mut ours, others): (Vec<Version>, Vec<Version>) =
        versions.into_iter().partition(|it| it.lineage == choice.winner);
    let older = ours.split_off(1);
    let head = ours.swap_remove(0);
    let ring_key = Arc::clone(&head.key);
    let record = loaded.backup.take();
    let mut opened = Opened {
        ring: head.ring,
        parents: vec![head.stored.hash],
        format: head.stored.format,
        head: Head {
            name: head.name,
            hash: head.stored.hash,
            header: head.stored.header,
            bytes: head.bytes,
        },
        stamp: loaded.stamp.clone(),
        mark: None,
        backup: record.and_then(|bytes| backup::decode(&bytes, &ring_key).ok()),
        ring_key,
        refusing: None,
        frozen: None,
        joined: false,
        warnings: std::mem::take(&mut loaded.warnings),
        passed: Vec::new(),
        turns: Vec::new(),
        keys,
        here,
        surplus,
        beside: Vec::new(),
        above: 0,
        removed: Vec::new(),
    };
    if !head.writable {
        opened.freeze(Reason::NewerFormat);
    }
    (opened, older, others)
}

fn suspended_in(version: &Version) -> (Hash, Vec<KeyId>) {
    let keys = version.ring.keys.iter().filter(|key| key.suspended);
    (version.stored.hash, keys.map(|key| key.id.clone()).collect())
}

/// A generation is used only once its mark is written. Where no mark is valid, nothing says that a newer one was not: one
/// that cannot be read, or one that a mark under a later ring key names. A mark that is damaged still names what is here. A
/// mark outside of the store's own place says nothing of that sort.
fn refuse_unmarked(opened: &mut Opened, damage: &Damage, marks: &[StoredMark]) {
    let head = opened.head.header.generation;
    let unread = damage
        .iter()
        .filter(|it| counts(it, head, head))
        .map(|it| it.generation);
    let own = marks.iter().filter(|it| it.own);
    let claimed = own.filter_map(|it| mark::claimed(&it.bytes, opened.ring.id));
    let named = claimed
        .filter(|(number, hash)| !opened.here.contains(hash) && number.saturating_sub(head) <= FARTHEST)
        .map(|(generation, _)| generation);
    let (newest, named) = (unread.chain(named.clone()).max(), named.max());
    if let Some(used) = named.filter(|it| *it > head) {
        opened.freeze(Reason::BehindMark { used, newest: head });
    }
    let active = opened.ring.active().map(|key| key.id.clone());
    if let (Some(unread), Some(active)) = (newest.filter(|it| *it > head), active)
        && opened.refusing.is_none()
    {
        opened.refusing = Some(NotServing::Unmarked { active, unread });
    }
}

/// Whether a generation that cannot be used may have been written after the head: one in the store's own place, not too far
/// above what is `authenticated`.
fn counts(damaged: &Damaged, head: u64, authenticated: u64) -> bool {
    let beyond = damaged.generation.saturating_sub(authenticated);
    damaged.own && damaged.generation > head && beyond <= FARTHEST
}

/// What a person should know of the copies that did not open, and whether that forbids a change.
fn complain(opened: &mut Opened, damage: &Damage, marked: Option<u64>) {
    let causes = damage.iter().map(|it| it.why.cause());
    opened.warnings.extend(causes);
    let head = opened.head.header.generation;
    let authenticated = marked.map_or(head, |marked| marked.max(head));
    for it in damage.iter().filter(|it| counts(it, head, authenticated)) {
        let (generation, why) = (it.generation, it.why.cause());
        opened.freeze(match it.why.is_newer() {
            true => Reason::NewerGeneration { generation, why },
            false => Reason::Damaged { generation, why },
        });
    }
}

/// An older generation that the newest does not cover is another history: a restored backup, a copied directory.
fn join_history(opened: &mut Opened, other: &Version, marks: &[Mark], now: UnixTime) {
    if join::covers(&opened.ring, &other.ring) {
        return;
    }
    let reported: Vec<_> = marks.iter().map(|mark| mark.reported.clone()).collect();
    match joined(opened, other, &reported, now) {
        Ok(ring) => take_joined(opened, other, ring),
        // All keys that there are serve; the lost one is for people to decide on.
        Err(JoinError::Missing(id)) => {
            opened.freeze(Reason::Lost(id));
            if let Ok(ring) = joined(opened, other, &[], now) {
                take_joined(opened, other, ring);
            }
        }
        Err(why) => opened.freeze(Reason::Unjoinable {
            one: opened.head.name.clone(),
            other: other.name.clone(),
            why,
        }),
    }
}

fn joined(opened: &Opened, other: &Version, reported: &[KeyId], now: UnixTime) -> Result<Ring, JoinError> {
    // A join counts as one generation, however many histories it joins.
    let base = Ring {
        generation: opened.head.header.generation,
        ..opened.ring.clone()
    };
    let fresh = Key32::generate().map_err(JoinError::Randomness)?;
    join::join(&base, &other.ring, reported, fresh, now)
}

fn take_joined(opened: &mut Opened, other: &Version, ring: Ring) {
    opened.warnings.push(format!(
        "two histories of the ring were joined: generation {} ({}) does not descend from generation {}",
        opened.head.header.generation, opened.head.name, other.name
    ));
    opened.ring = ring;
    opened.joined = true;
    opened.parents.push(other.stored.hash);
    opened.parents.sort_unstable();
}

/// An older ring, or another history of it, never reports a lower sequence and never lifts a suspension or a destruction.
/// `said` is what the marked generation says is suspended, where it is there: that is in the ring, or another history has
/// resumed it. A mark can hold more: what an earlier one said, and no generation does.
fn apply_mark(opened: &mut Opened, mark: Mark, said: &[KeyId]) {
    if mark.generation > opened.head.header.generation {
        opened.freeze(Reason::BehindMark {
            used: mark.generation,
            newest: opened.head.header.generation,
        });
    }
    // A key that was resumed since then has a later generation for that.
    let since = |key: &Key| key.suspension > mark.generation;
    let marked = |key: &Key| mark.suspended.binary_search(&key.id).is_ok() && !said.contains(&key.id);
    for key in &mut opened.ring.keys {
        if marked(key) && !key.suspended && !since(key) {
            key.suspended = true;
            // The mark does not say since when; the ring can say no later.
            key.suspension = opened.ring.generation;
        }
    }
    if let Some(active) = opened.ring.active().map(|key| key.id.clone())
        && active.sequence() < mark.reported.sequence()
    {
        let reported = mark.reported.clone();
        let below = NotServing::BelowMark { active, reported };
        // Another history can be as long as the marked one, or longer.
        if mark.generation <= opened.head.header.generation {
            opened.freeze(Reason::BelowMark(below.clone()));
        }
        opened.refusing = Some(below);
    }
    opened.mark = Some(mark);
    if let Some(lost) = opened.lost().cloned() {
        opened.freeze(Reason::Lost(lost));
    }
}

/// A ring that is not the one it should be reports no key and is not changed.
pub(super) fn refuse_other_ring(opened: &mut Opened, expected: RingId) {
    let reason = NotServing::OtherRing {
        found: opened.ring.id,
        expected,
    };
    Frozen::add(&mut opened.frozen, Reason::OtherRing(reason.clone()));
    opened.refusing = Some(reason);
}
