//! When a ring that grows fast is worth a word, and when not.

use kekring::custody::{Opened, Room};
use kekring::keyring::lifecycle;
use kekring::keyring::ring::UnixTime;
use kekring::store::RingStore;

use crate::bench::{Bench, NOW, key};

/// More keys than ten within a day are worth a word.
const DAY: u64 = 24 * 60 * 60;

/// A ring with so many keys that became active now.
fn grown(active: usize) -> Opened {
    let bench = Bench::new();
    for _ in 1..active {
        bench.rotate();
    }
    bench.open()
}

fn later(seconds: u64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

#[test]
fn more_than_ten_keys_within_a_day_are_told_with_their_number() {
    let warning = grown(11).growth_warning(later(0)).unwrap();

    assert!(
        warning.contains("11 keys became active within a day"),
        "{warning}"
    );
    assert_eq!(grown(10).growth_warning(later(0)), None);
}

#[test]
fn keys_of_an_earlier_day_and_of_a_time_to_come_do_not_count() {
    let opened = grown(12);

    assert!(opened.growth_warning(later(DAY - 1)).is_some());
    assert_eq!(opened.growth_warning(later(DAY)), None);
    assert_eq!(opened.growth_warning(UnixTime(NOW.0 - 1)), None);
}

#[test]
fn a_throw_away_ring_may_grow() {
    let mut opened = grown(12);
    opened.ring.development = true;

    assert_eq!(opened.growth_warning(later(0)), None);
}

#[test]
fn what_was_opened_says_which_state_of_the_store_it_is() {
    let bench = Bench::new();
    let opened = bench.open();
    assert_eq!(*opened.stamp(), bench.store().stamp().unwrap());

    let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    let after = bench.custody().commit(&opened, next, NOW).unwrap();
    assert_eq!(*after.stamp(), bench.store().stamp().unwrap());
    assert_ne!(opened.stamp(), after.stamp());
}

#[test]
fn the_pace_is_that_of_the_last_ten_activations_in_whatever_order_the_clock_had_them() {
    assert_eq!(Room::of(&grown(9)).tenth, None);
    let mut opened = grown(12);
    assert_eq!(Room::of(&opened).tenth, Some(NOW));

    // 12 activations, the latest first.
    let active = opened.ring.keys.iter_mut().filter(|key| key.activated.is_some());
    for (at, key) in active.enumerate() {
        key.activated = Some(UnixTime(NOW.0 + 100 - u64::try_from(at).unwrap()));
    }

    assert_eq!(Room::of(&opened).tenth, Some(later(91)));
}
