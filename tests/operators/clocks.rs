//! Clocks that jump by ten years, under a running server and between restarts.

use std::time::Duration;

use kekring::keyring::RingId;
use kekring::keyring::lifecycle;
use kekring::keyring::ring::UnixTime;
use kekring::keyring::schedule::{Clocks, Due, due, minimum_interval};

use crate::bench::{Bench, NOW, key};

const DAY: u64 = 86_400;
const TEN_YEARS: u64 = 3650 * DAY;
const PERIOD: Duration = Duration::from_secs(30 * DAY);

#[test]
fn a_clock_that_jumps_ten_years_to_and_fro_every_forty_minutes_makes_no_storm_of_rotations() {
    let mut ring = lifecycle::create(RingId([1; 16]), key(), key(), NOW);
    let (mut wall, mut seen, mut settled) = (NOW.0, NOW, 0);
    let mut gaps = Vec::new();

    // 200 days in steps of ten minutes; the clock jumps every forty.
    for step in 0..200 * 144_u64 {
        settled += 600;
        wall += 600;
        if step % 4 == 3 {
            wall = if (step / 4) % 2 == 0 {
                wall + TEN_YEARS
            } else {
                wall - TEN_YEARS
            };
        }
        let clocks = Clocks {
            now: UnixTime(wall),
            seen: Some(seen),
            settled: Duration::from_secs(settled),
        };
        if due(&ring, clocks, PERIOD) == Due::Now {
            ring = lifecycle::activate(&ring, key(), clocks.now).unwrap();
            gaps.push(settled);
            (seen, settled) = (clocks.now, 0);
        }
    }

    let least = minimum_interval(PERIOD).as_secs();
    assert!(gaps.iter().all(|gap| *gap >= least), "{gaps:?}");
    // At most two a period: the regular one, and an early one where that was made while the clock was behind.
    assert!(
        (6..=14).contains(&gaps.len()),
        "{} rotations: {gaps:?}",
        gaps.len()
    );
}

#[test]
fn a_clock_ten_years_back_blocks_no_rotation_also_where_the_node_restarts_every_day() {
    let bench = Bench::new();
    let mut wall = NOW.0 - TEN_YEARS;
    let mut rotations = 0;

    for _ in 0..80 {
        wall += DAY;
        let now = UnixTime(wall);
        // A start, and what a server does before it uses the ring; then a day of it.
        let opened = bench.custody().open(None, now).unwrap();
        let mark = bench.custody().next_mark(opened.mark.as_ref(), &opened, now);
        bench.custody().settle(&opened, mark.as_ref()).unwrap();
        let clocks = Clocks {
            now: UnixTime(wall + DAY - 1),
            seen: mark.map(|mark| mark.seen),
            settled: Duration::from_secs(DAY - 1),
        };
        if due(&opened.ring, clocks, PERIOD) == Due::Now {
            let next = lifecycle::activate(&opened.ring, key(), clocks.now).unwrap();
            bench.custody().commit(&opened, next, clocks.now).unwrap();
            rotations += 1;
        }
    }

    assert_eq!(rotations, 2, "80 days, and a period of 30");
}
