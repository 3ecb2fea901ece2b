//! When the next automatic rotation is due. Clocks come in as arguments and are not trusted.
//!
//! - A stored time that lies in this node's future counts from when the node first saw it (`seen`, kept in the mark).
//! - Whatever the wall clock says, two automatic rotations of one process, or a start and a rotation, lie at least the
//!   minimum interval apart by the monotonic clock. A clock that jumps ten years costs one early rotation, never a storm,
//!   also across a crash loop.

use std::time::Duration;

use super::ring::{Activate, Ring, UnixTime};
use crate::crypto::kdf;

/// What a node knows of time.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The wall clock.
    pub now: UnixTime,
    /// When this node first saw the active key, by its wall clock then; the fall-back for a time in the future.
    pub seen: Option<UnixTime>,
    /// Monotonic time since this process started or last saw the active key change, whichever is later.
    pub settled: Duration,
}

/// The answer to "rotate now?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The period is over.
    Now,
    /// The proposal in flight is to be finished.
    Finish,
    /// So long by the wall clock, at least.
    In(Duration),
    /// Not before an operator says `rotate --activate`.
    Operator,
}

/// No two automatic rotations are closer than a tenth of the period, or an hour where that is shorter.
pub fn minimum_interval(period: Duration) -> Duration {
    (period / 10).min(Duration::from_secs(3600))
}

/// When the next rotation is due, with up to a tenth of the period of jitter that is the same at every call.
pub fn due(ring: &Ring, clocks: Clocks, period: Duration) -> Due {
    match &ring.proposal {
        Some(proposal) if proposal.activate == Activate::Manual => return Due::Operator,
        Some(_) => return Due::Finish,
        None => {}
    }
    let by_age = due_age(ring, period).saturating_sub(age(ring, clocks));
    let by_interval = minimum_interval(period).saturating_sub(clocks.settled);
    match by_age.max(by_interval) {
        Duration::ZERO => Due::Now,
        wait => Due::In(wait),
    }
}

/// The age at which the active key is replaced: the period and its jitter.
pub fn due_age(ring: &Ring, period: Duration) -> Duration {
    period + jitter(ring, period)
}

/// Age of the active key, as far as this node can tell.
pub fn age(ring: &Ring, clocks: Clocks) -> Duration {
    let stored = ring.active().and_then(|key| key.activated);
    let from = [stored, clocks.seen]
        .into_iter()
        .flatten()
        .find(|time| *time <= clocks.now);
    match from {
        Some(time) => Duration::from_secs(clocks.now.since(time)),
        // Every stored time lies in the future: only the monotonic clock is left.
        None => clocks.settled,
    }
}

/// Spread over the nodes' rings and keys, the same for one key at every call and on every node.
fn jitter(ring: &Ring, period: Duration) -> Duration {
    let Some(active) = ring.active() else {
        return Duration::ZERO;
    };
    let hash = kdf::sha256(active.id.as_str().as_bytes());
    let fraction = f64::from(u16::from_be_bytes([hash[0], hash[1]])) / f64::from(u16::MAX);
    period.mul_f64(fraction / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Key32;
    use crate::keyring::lifecycle;
    use crate::keyring::names::{KeyId, RingId};

    const DAY: u64 = 86_400;
    const PERIOD: Duration = Duration::from_secs(30 * DAY);

    fn ring_activated_at(time: u64) -> Ring {
        let key = |byte| Key32::take(&mut [byte; 32]);
        lifecycle::create(RingId([1; 16]), key(1), key(2), UnixTime(time))
    }

    fn clocks(now: u64, settled_hours: u64) -> Clocks {
        Clocks {
            now: UnixTime(now),
            seen: None,
            settled: Duration::from_secs(settled_hours * 3600),
        }
    }

    #[test]
    fn due_after_the_period_and_at_most_a_tenth_more() {
        let ring = ring_activated_at(1000 * DAY);

        assert_ne!(due(&ring, clocks(1029 * DAY, 99), PERIOD), Due::Now);
        assert_eq!(due(&ring, clocks(1033 * DAY, 99), PERIOD), Due::Now);
    }

    #[test]
    fn jitter_adds_up_to_a_tenth_and_differs_from_key_to_key() {
        let age = |sequence| {
            let mut ring = ring_activated_at(0);
            ring.keys[0].id = KeyId::derive(ring.id, sequence, &Key32::take(&mut [1; 32]));
            due_age(&ring, PERIOD)
        };
        let ages: Vec<Duration> = (1..=20).map(age).collect();

        assert!(
            ages.iter().all(|age| (PERIOD..=PERIOD * 11 / 10).contains(age)),
            "{ages:?}"
        );
        let [least, most] = [ages.iter().min(), ages.iter().max()].map(Option::unwrap);
        assert!(*most - *least > PERIOD / 50, "{ages:?}");
        assert!(*most > PERIOD * 107 / 100, "{ages:?}");
    }

    #[test]
    fn the_minimum_interval_is_a_tenth_of_the_period_and_an_hour_at_most() {
        assert_eq!(
            minimum_interval(Duration::from_secs(600)),
            Duration::from_secs(60)
        );
        assert_eq!(minimum_interval(PERIOD), Duration::from_secs(3600));
    }

    #[test]
    fn a_clock_ten_years_ahead_waits_for_the_minimum_interval() {
        let ring = ring_activated_at(1000 * DAY);
        let jumped = 1000 * DAY + 3650 * DAY;

        assert_eq!(
            due(&ring, clocks(jumped, 0), PERIOD),
            Due::In(Duration::from_secs(3600))
        );
        assert_eq!(due(&ring, clocks(jumped, 1), PERIOD), Due::Now);
    }

    #[test]
    fn a_time_in_the_future_counts_from_when_it_was_seen() {
        let ring = ring_activated_at(9000 * DAY);
        let mut clocks = clocks(1040 * DAY, 99);

        clocks.seen = Some(UnixTime(1000 * DAY));
        assert_eq!(due(&ring, clocks, PERIOD), Due::Now);
        clocks.seen = Some(UnixTime(1039 * DAY));
        assert_ne!(due(&ring, clocks, PERIOD), Due::Now);
    }

    #[test]
    fn a_key_that_became_active_at_this_second_is_new_whatever_the_other_clocks_say() {
        let ring = ring_activated_at(1000 * DAY);

        assert_eq!(age(&ring, clocks(1000 * DAY, 99)), Duration::ZERO);
    }

    #[test]
    fn with_every_clock_wrong_the_monotonic_one_still_rotates() {
        let ring = ring_activated_at(9000 * DAY);
        let mut clocks = clocks(1000 * DAY, 24 * 40);
        clocks.seen = Some(UnixTime(9000 * DAY));

        assert_eq!(due(&ring, clocks, PERIOD), Due::Now);
    }

    #[test]
    fn a_manual_proposal_waits_for_the_operator_and_an_automatic_one_is_finished() {
        let ring = ring_activated_at(1000 * DAY);
        let fresh = |activate| {
            let key = Key32::take(&mut [3; 32]);
            lifecycle::propose_fresh(&ring, key, [0; 16], activate, UnixTime(0)).unwrap()
        };

        assert_eq!(
            due(&fresh(Activate::Manual), clocks(9999 * DAY, 99), PERIOD),
            Due::Operator
        );
        assert_eq!(
            due(&fresh(Activate::Auto), clocks(1000 * DAY, 0), PERIOD),
            Due::Finish
        );
    }
}
