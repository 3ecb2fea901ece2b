//! Whether this node's clock may start a rotation. Clocks are compared where a node saw another's acknowledgement come: an
//! old one that was there already says nothing of the clocks today.

use super::View;
use crate::keyring::members;
use crate::keyring::ring::{Ring, UnixTime};

/// Farther than that from the median of the others, in seconds, and a node starts no rotation: well above what lies between
/// two reads of the store, and far below any period.
const TOLERANCE: u64 = 600;

/// How many seconds this node's clock is ahead of the median of the others, where that is too far; negative: behind.
pub(super) fn off(view: &View<'_>, head: &Ring) -> Option<i64> {
    let others = members::registered(&head.members).filter(|it| it.name != view.me.name);
    let ahead = others.filter_map(|member| {
        let record = view.record_of(member).ok()?;
        Some(seconds(record.seen?).saturating_sub(seconds(record.said.time)))
    });
    let mut ahead: Vec<i64> = ahead.collect();
    ahead.sort_unstable();
    let middle = [ahead.len().checked_sub(1)? / 2, ahead.len() / 2];
    // Of an even number, the one of the two in the middle that is nearer.
    let median = middle
        .iter()
        .filter_map(|at| ahead.get(*at))
        .min_by_key(|it| it.unsigned_abs());
    median.copied().filter(|it| it.unsigned_abs() > TOLERANCE)
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
