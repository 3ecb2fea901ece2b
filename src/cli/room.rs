//! That a ring becomes full, in words.

use std::time::Duration;

use crate::config::shown_duration;
use crate::custody::Room;
use crate::keyring::ring::UnixTime;

/// From here on, in percent, it is worth a word.
const WORTH_A_WORD: usize = 50;

/// How full it is, where that is worth a word, and when its rotations end.
pub(super) fn warning(room: &Room, now: UnixTime, period: Duration) -> Option<String> {
    let (used, keys) = (room.used(), room.keys);
    if room.is_used_up() {
        return Some(format!(
            "the ring rotates no more: with {keys} keys it takes {used} % of what rotations may use, and the rest is for emergencies"
        ));
    }
    (used >= WORTH_A_WORD).then(|| {
        let left = shown_duration(room.left(now, period));
        format!(
            "the ring takes {used} % of what rotations may use, with {keys} keys: at today's pace they end in {left}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_ring_is_worth_a_word_and_a_full_one_says_what_the_rest_is_for() {
        let said = |length| {
            let room = Room {
                length,
                limit: 1000,
                keys: 9,
                tenth: None,
            };
            warning(&room, UnixTime(0), Duration::from_secs(86_400))
        };

        assert_eq!(said(499), None);
        for (length, words) in [
            (
                500,
                "takes 50 % of what rotations may use, with 9 keys: at today's pace they end in 7d",
            ),
            (755, "takes 75 %"),
            (999, "takes 99 %"),
            (1000, "rotates no more: with 9 keys it takes 100 %"),
            (1142, "rotates no more: with 9 keys it takes 114 %"),
        ] {
            let said = said(length).unwrap();
            assert!(said.contains(words), "{said}");
        }
    }
}
