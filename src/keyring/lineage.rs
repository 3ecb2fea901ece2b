//! Which ring key is the ring's, where generations under several of them open.
//!
//! Removing a root replaces the ring key, and every generation from then on names the one that was replaced, by a
//! fingerprint that stands in sealed bodies alone. Who holds a replaced ring key can make generations under it for ever;
//! he can name no later ring key. So a key that another one names is out, whatever the numbers of its generations. Its own
//! word on others counts no more then.

use super::names::RingKeyId;
use super::ring::Ring;

/// The ring keys that none of the others replaced, in the order in which they come: one in any ring that was only ever
/// changed in one place. Several, where removals happened in histories that had parted: then neither names the other, or each
/// does, and who asks must decide by something else.
pub fn unreplaced(versions: &[(RingKeyId, &Ring)]) -> Vec<RingKeyId> {
    let names = |one: RingKeyId, other: RingKeyId| {
        let mut its = versions.iter().filter(|(key, _)| *key == one);
        its.any(|(_, ring)| ring.replaced.binary_search(&other).is_ok())
    };
    let replaces = |one: RingKeyId, other: RingKeyId| names(one, other) && !names(other, one);
    let mut open: Vec<RingKeyId> = Vec::new();
    for (key, _) in versions {
        if !open.contains(key) {
            open.push(*key);
        }
    }
    let order = open.clone();
    let mut found: Vec<RingKeyId> = Vec::new();
    while !open.is_empty() {
        let beaten = |key: &RingKeyId| open.iter().any(|other| replaces(*other, *key));
        let (rest, tops): (Vec<_>, Vec<_>) = open.iter().copied().partition(beaten);
        if tops.is_empty() {
            // A circle: none of them is more than the others.
            found.extend(rest);
            break;
        }
        open = rest;
        open.retain(|key| !tops.iter().any(|top| replaces(*top, *key)));
        found.extend(tops);
    }
    found.sort_by_key(|key| order.iter().position(|it| it == key));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Key32;
    use crate::keyring::RingId;
    use crate::keyring::lifecycle;
    use crate::keyring::ring::UnixTime;

    /// What is named by numbers: the ring keys that are unreplaced among these, each with those that it names.
    fn unreplaced_of(versions: &[(u8, &[u8])]) -> Vec<u8> {
        let id = |number: &u8| RingKeyId([*number; 16]);
        let rings: Vec<(RingKeyId, Ring)> = versions
            .iter()
            .map(|(key, named)| {
                let material = |byte| Key32::take(&mut [byte; 32]);
                let mut ring = lifecycle::create(RingId([1; 16]), material(1), material(2), UnixTime(1));
                ring.replaced = named.iter().map(id).collect();
                (id(key), ring)
            })
            .collect();
        let shown: Vec<(RingKeyId, &Ring)> = rings.iter().map(|(key, ring)| (*key, ring)).collect();
        unreplaced(&shown).iter().map(|it| it.0[0]).collect()
    }

    #[test]
    fn a_ring_key_that_another_names_is_out_whatever_it_names_itself() {
        assert_eq!(unreplaced_of(&[(2, &[1]), (1, &[])]), [2]);
        assert_eq!(unreplaced_of(&[(1, &[]), (2, &[1]), (3, &[1, 2])]), [3]);
        // What a replaced one says of another is nobody's word.
        assert_eq!(unreplaced_of(&[(2, &[1]), (1, &[9]), (9, &[])]), [2, 9]);
        // One that any of several took the word from has none.
        assert_eq!(
            unreplaced_of(&[(2, &[1]), (3, &[]), (1, &[9]), (9, &[])]),
            [2, 3, 9]
        );
    }

    #[test]
    fn one_generation_that_names_a_ring_key_is_enough_beside_older_ones_that_do_not() {
        assert_eq!(unreplaced_of(&[(2, &[1]), (2, &[]), (1, &[])]), [2]);
        assert_eq!(unreplaced_of(&[(2, &[]), (2, &[1]), (1, &[])]), [2]);
    }

    #[test]
    fn they_are_told_in_the_order_in_which_they_come() {
        assert_eq!(unreplaced_of(&[(9, &[]), (2, &[1]), (1, &[9])]), [9, 2]);
        assert_eq!(
            unreplaced_of(&[(3, &[]), (9, &[]), (2, &[1]), (1, &[9])]),
            [3, 9, 2]
        );
    }

    #[test]
    fn ring_keys_of_which_neither_or_each_names_the_other_are_undecided() {
        assert_eq!(unreplaced_of(&[(2, &[1]), (3, &[1]), (1, &[])]), [2, 3]);
        assert_eq!(unreplaced_of(&[(2, &[1, 3]), (3, &[1, 2])]), [2, 3]);
        assert_eq!(unreplaced_of(&[(1, &[2]), (2, &[3]), (3, &[1])]), [1, 2, 3]);
        assert_eq!(unreplaced_of(&[(7, &[])]), [7]);
    }
}
