//! The copies of an opening, and what came of each key that was tried on them.

use std::sync::Arc;

use super::open::Candidate;
use crate::crypto::secret::Key32;
use crate::format::FormatError;
use crate::format::generation::{Hash, Header, OpenGeneration};

type Outcome = Result<(OpenGeneration, Arc<Key32>), FormatError>;

/// Copies to be opened, newest first.
pub(super) struct Attempts {
    candidates: Vec<Candidate>,
    /// By place in `candidates`; `None` while no key fits.
    outcomes: Vec<Option<Outcome>>,
    /// Places in `candidates`, in the order in which roots are asked for them.
    order: Vec<usize>,
    /// Whether a copy that is older than one that opened is left alone.
    newest_only: bool,
}

impl Attempts {
    /// Roots are asked for the generations that a mark names first: a stranger's cost nothing where those open. `named` may
    /// be unverified, since it is an order and nothing else. A key that is `held` is tried on all of them; where one opens, an
    /// older generation under another key says nothing new, and no root is asked for it.
    pub(super) fn new(candidates: Vec<Candidate>, named: &[Hash], held: &[Arc<Key32>]) -> Self {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        let is_named = |at: &usize| {
            candidates
                .get(*at)
                .is_some_and(|it| named.contains(&it.stored.hash))
        };
        order.sort_by_key(|at| !is_named(at));
        let mut attempts = Self {
            outcomes: candidates.iter().map(|_| None).collect(),
            candidates,
            order,
            newest_only: !held.is_empty(),
        };
        for key in held {
            attempts.try_key(key, |_| false);
        }
        attempts
    }

    /// The clear parts of what roots are still to be asked for, in that order.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Header> {
        let opened = self.outcomes.iter().position(|it| matches!(it, Some(Ok(_))));
        let bound = opened.filter(|_| self.newest_only).unwrap_or(self.outcomes.len());
        let is_wanted = move |at: &&usize| **at < bound && matches!(self.outcomes.get(**at), Some(None));
        let wanted = self.order.iter().filter(is_wanted);
        wanted.filter_map(|at| self.candidates.get(*at).map(|it| &it.stored.header))
    }

    /// Tries a key on everything that did not open. Where a slot `holds` it and the body does not open, the two were not
    /// written together.
    pub(super) fn try_key(&mut self, key: &Arc<Key32>, holds: impl Fn(&Header) -> bool) {
        for (candidate, outcome) in self.candidates.iter().zip(&mut self.outcomes) {
            if outcome.is_some() {
                continue;
            }
            *outcome = match candidate.stored.open(key) {
                Err(FormatError::WrongKey) if holds(&candidate.stored.header) => Some(Err(strange_slots())),
                Err(FormatError::WrongKey) => None,
                opened => Some(opened.map(|open| (open, Arc::clone(key)))),
            };
        }
    }

    /// Whether a key has opened one of them.
    pub(super) fn has_opened(&self) -> bool {
        self.outcomes.iter().any(|it| matches!(it, Some(Ok(_))))
    }

    /// Each copy and what came of it, newest first.
    pub(super) fn into_outcomes(self) -> impl Iterator<Item = (Candidate, Option<Outcome>)> {
        self.candidates.into_iter().zip(self.outcomes)
    }
}

fn strange_slots() -> FormatError {
    FormatError::Tampered("its root slots hold another ring key than that of its body".into())
}
