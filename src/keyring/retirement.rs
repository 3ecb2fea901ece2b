//! Keys on their way to destruction: which, on what evidence, by whose word. Nothing destroys a key by it yet; it is
//! stored, joined and kept.

use super::names::KeyId;
use super::ring::UnixTime;

/// Most bytes of who decided a retirement.
pub const MAX_BY: usize = 256;

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retirement {
    /// 16 random bytes.
    pub id: [u8; 16],
    /// The generation that last set this record: a join takes the later one.
    pub since: u64,
    /// Taken back. Of two set in generations of one number, this one counts: a key that is kept too long does no harm.
    pub withdrawn: bool,
    /// Names of the keys, ascending.
    pub keys: Vec<KeyId>,
    /// Before that time they are not destroyed.
    pub not_before: UnixTime,
    /// SHA-256 of the evidence that nothing needs them.
    pub evidence: [u8; 32],
    /// Who decided, for people: at most [`MAX_BY`] bytes, no control characters.
    pub by: String,
    /// Numbers of the conditions that were skipped, ascending.
    pub skipped: Vec<u32>,
}

/// Of each decision the record that was set later. The order of the lists does not matter.
pub(super) fn merge(one: &[Retirement], other: &[Retirement]) -> Vec<Retirement> {
    let mut all = [one, other].concat();
    // The later one comes last among those of one id.
    all.sort_unstable();
    all.reverse();
    all.dedup_by_key(|it| it.id);
    all.reverse();
    all
}

/// True when `newer` has for each record of `older` one that says as much.
pub(super) fn cover(newer: &[Retirement], older: &[Retirement]) -> bool {
    older.iter().all(|theirs| {
        let ours = newer.binary_search_by(|it| it.id.cmp(&theirs.id)).ok();
        ours.and_then(|at| newer.get(at))
            .is_some_and(|ours| ours >= theirs)
    })
}
