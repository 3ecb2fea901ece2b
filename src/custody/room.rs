//! How full a ring is, and when its rotations will end. Every key is kept, and a generation has a greatest length: what
//! rotations may not use of it is for emergencies, when a key, a root or a node must go.

use std::time::Duration;

use super::Opened;
use crate::format::generation::MAX_LEN;
use crate::keyring::ring::UnixTime;

/// What rotations may use of a generation's length, in bytes; the rest is the reserve.
pub const FOR_ROTATIONS: usize = MAX_LEN / 8 * 7;
/// What a generation grows by for each key, in bytes: its 32 bytes and its times.
const KEY: usize = 64;
/// So many activations tell today's pace.
const PACE: u8 = 10;

/// The room of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What its newest generation takes, in bytes.
    pub length: usize,
    /// What rotations may use.
    pub limit: usize,
    /// How many keys it has.
    pub keys: usize,
    /// When the tenth activation from the end was, where there are as many.
    pub tenth: Option<UnixTime>,
}

impl Room {
    /// The room of a ring as it is stored.
    pub fn of(opened: &Opened) -> Self {
        let times = opened.ring.keys.iter().filter_map(|key| key.activated);
        let mut times: Vec<UnixTime> = times.collect();
        times.sort_unstable();
        Self {
            length: opened.head.bytes.len(),
            limit: FOR_ROTATIONS,
            keys: opened.ring.keys.len(),
            tenth: times.iter().rev().nth(usize::from(PACE) - 1).copied(),
        }
    }

    /// How much of what rotations may use is used, in percent; above 100 the reserve is.
    pub fn used(&self) -> usize {
        self.length * 100 / self.limit
    }

    /// The same as a part of 1.
    pub fn ratio(&self) -> f64 {
        let number = |bytes: usize| u32::try_from(bytes).map_or(f64::MAX, f64::from);
        number(self.length) / number(self.limit)
    }

    /// The time until rotations end at today's pace: the configured one, or the last ten activations' where that is faster.
    pub fn left(&self, now: UnixTime, period: Duration) -> Duration {
        let keys = self.limit.saturating_sub(self.length) / KEY;
        let done = self.tenth.filter(|tenth| *tenth <= now);
        let pace = done.map(|tenth| Duration::from_secs(now.since(tenth)) / u32::from(PACE));
        pace.unwrap_or(period)
            .min(period)
            .saturating_mul(u32::try_from(keys).unwrap_or(u32::MAX))
    }

    /// Whether rotations have ended.
    pub fn is_used_up(&self) -> bool {
        self.length >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn room(length: usize, tenth: Option<u64>) -> Room {
        Room {
            length,
            limit: FOR_ROTATIONS,
            keys: 2,
            tenth: tenth.map(|ago| UnixTime(NOW.0 - ago)),
        }
    }

    #[test]
    fn used_is_a_part_of_what_rotations_may_use() {
        assert_eq!(FOR_ROTATIONS, 917_504);
        for (length, used) in [
            (0, 0),
            (FOR_ROTATIONS / 2 - 1, 49),
            (FOR_ROTATIONS / 2, 50),
            (FOR_ROTATIONS - 1, 99),
            (FOR_ROTATIONS, 100),
            (MAX_LEN, 114),
        ] {
            let room = room(length, None);
            assert_eq!(room.used(), used);
            let used = f64::from(u16::try_from(used).unwrap());
            assert!(
                (used..used + 1.0).contains(&(room.ratio() * 100.0)),
                "{}",
                room.ratio()
            );
            assert_eq!(room.is_used_up(), used >= 100.0);
        }
    }

    #[test]
    fn what_is_left_goes_by_the_faster_of_the_period_and_the_last_ten_activations() {
        let at = FOR_ROTATIONS - 100 * KEY;

        // Until ten keys were active, the period alone.
        assert_eq!(room(at, None).left(NOW, DAY), 100 * DAY);
        // Ten in five days are one each half a day.
        assert_eq!(room(at, Some(5 * 86_400)).left(NOW, DAY), 50 * DAY);
        assert_eq!(room(at, Some(5 * 86_400)).left(NOW, DAY / 4), 25 * DAY);
        // As time passes without another one, they count less.
        assert_eq!(room(at, Some(50 * 86_400)).left(NOW, DAY), 100 * DAY);
        // A clock that was ahead tells nothing.
        assert_eq!(room(at, Some(0)).left(UnixTime(NOW.0 - 1), DAY), 100 * DAY);
        assert_eq!(room(at, Some(0)).left(NOW, DAY), Duration::ZERO);
        assert_eq!(room(FOR_ROTATIONS, None).left(NOW, DAY), Duration::ZERO);
        assert_eq!(room(MAX_LEN, None).left(NOW, DAY), Duration::ZERO);
        assert_eq!(room(0, None).left(NOW, Duration::MAX), Duration::MAX);
    }
}
