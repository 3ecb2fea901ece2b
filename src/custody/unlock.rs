//! Asking the roots for the ring keys of generations: a race with a head start.
//!
//! Anybody who can write to a store can make a slot, and nothing is authenticated before it opens: what the slots of
//! strangers cost is bounded. Roots that are cheap to ask come first, in their order and for all generations; key derivations
//! come after them, one at a time, and a limited number of times. Whoever is next begins when the one before has failed, or
//! beside it when that takes too long; the first ring key that opens wins. A call that is still at work then goes on by itself
//! ([`Calls`]), and what it brings is for the next opening.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::attempts::Attempts;
use super::calls::{Calls, Lock, Recalled, Word, is_its_own};
use crate::crypto::secret::Key32;
use crate::format::generation::{Header, MAX_SLOTS};
use crate::root::{RootError, RootKey};

/// How long a root is alone, before the next one is asked beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long roots that have not answered are waited for where another one has opened something: what is left may be a
/// stranger's, and may be a generation that this root alone opens.
const GRACE: Duration = Duration::from_secs(1);
/// How long they are waited for where nothing has opened: a root that gives a program 30 s is still heard.
const PATIENCE: Duration = Duration::from_secs(31);
/// Most key derivations of one opening: the slots of one generation, since honest ones under one ring key share them.
pub const MOST_DERIVATIONS: usize = MAX_SLOTS;

/// How many key derivations may be done.
#[derive(Debug)]
pub struct Derivations {
    left: usize,
    done: usize,
    fell_short: bool,
}

impl Derivations {
    /// As many as one opening may do.
    pub fn of_an_opening() -> Self {
        Self::at_most(MOST_DERIVATIONS)
    }

    /// So many, or as many as one opening may do.
    pub fn at_most(most: usize) -> Self {
        Self {
            left: most.min(MOST_DERIVATIONS),
            done: 0,
            fell_short: false,
        }
    }

    /// How many were done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether none may be done any more.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Whether one was wanted and not done.
    pub fn fell_short(&self) -> bool {
        self.fell_short
    }

    /// Takes one of those that may be done.
    fn take_one(&mut self) -> bool {
        self.fell_short |= self.left == 0;
        let may = self.left > 0;
        if may {
            self.left -= 1;
            self.done += 1;
        }
        may
    }

    fn give_back(&mut self) {
        self.left += 1;
        self.done = self.done.saturating_sub(1);
    }
}

/// How a root fared in an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What it is, for people.
    pub root: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of asking a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It opened something, so long after the opening began.
    Opened(Duration),
    /// It opened nothing.
    Refused(RootError),
    /// It was still at work so long after it was asked.
    AtWork(Duration),
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = &self.root;
        match &self.outcome {
            Outcome::Opened(after) => write!(f, "{root}: opened it after {} ms", after.as_millis()),
            Outcome::Refused(why) => write!(f, "{root}: {why}"),
            Outcome::AtWork(since) => write!(f, "{root}: has not answered in {} ms", since.as_millis()),
        }
    }
}

/// One root in this opening.
struct Asked {
    root: Arc<dyn RootKey>,
    /// What it could not open, and why.
    refused: HashMap<Lock, RootError>,
    /// In trouble itself, so that asking it again does not help.
    away: Option<RootError>,
    /// A call is at work.
    busy: bool,
    /// What that call has not told of yet.
    pending: HashSet<Lock>,
    /// It was not asked, since so many key derivations were done.
    not_tried: Option<RootError>,
    /// When it was asked first in this opening, and when it opened something.
    began: Option<Instant>,
    opened: Option<Instant>,
}

impl Asked {
    fn locks<'a>(&self, header: &'a Header) -> impl Iterator<Item = Lock> + use<'a> {
        let kind = i32::from(self.root.kind());
        let slots = header.slots.iter().filter(move |slot| slot.kind == kind);
        slots.map(|slot| Lock::of(header, slot))
    }

    /// What it is still to be asked for, each once.
    fn open_questions<'a>(&'a self, attempts: &'a Attempts) -> impl Iterator<Item = Lock> + 'a {
        let wanted = attempts.wanted().filter(|_| self.away.is_none());
        let locks = wanted.flat_map(|header| self.locks(header));
        let mut seen = HashSet::new();
        locks.filter(move |lock| !self.refused.contains_key(lock) && seen.insert(lock.clone()))
    }

    fn refuse(&mut self, lock: Lock, why: RootError) {
        if is_its_own(&why) {
            self.away = Some(why.clone());
        }
        self.refused.insert(lock, why);
    }

    fn silent(&self) -> Option<RootError> {
        let since = self.began.filter(|_| self.busy)?;
        let seconds = since.elapsed().as_secs();
        Some(RootError::Unavailable(format!(
            "it has not answered in {seconds} s"
        )))
    }

    /// Why it opened none of a generation's slots.
    fn complaints(&self, header: &Header) -> Vec<RootError> {
        let mut complaints = Vec::new();
        for lock in self.locks(header) {
            let known = self.refused.get(&lock).or(self.away.as_ref());
            let known = known.or(self.not_tried.as_ref()).cloned();
            let why = known.or_else(|| self.silent().filter(|_| self.pending.contains(&lock)));
            complaints.extend(why.filter(|why| !complaints.contains(why)));
        }
        complaints
    }

    /// How it fared, where it was asked or would have been.
    fn turn(&self, start: Instant) -> Option<Turn> {
        let refused = self.away.as_ref().or_else(|| self.refused.values().next());
        let outcome = match (self.opened, self.began.filter(|_| self.busy), refused) {
            (Some(at), ..) => Outcome::Opened(at - start),
            (None, Some(since), _) => Outcome::AtWork(since.elapsed()),
            (None, None, Some(why)) => Outcome::Refused(why.clone()),
            (None, None, None) => return None,
        };
        let root = self.root.describe();
        Some(Turn { root, outcome })
    }
}

/// The roots of one opening, and what they have said so far.
pub(super) struct Asking<'a> {
    asked: Vec<Asked>,
    calls: &'a Arc<Calls>,
    words: mpsc::Receiver<Word>,
    tell: mpsc::Sender<Word>,
    start: Instant,
    /// The root that was asked last.
    latest: Option<usize>,
    /// When another one may be asked beside it.
    turn: Instant,
    /// Since when nothing is left but to wait, although something has opened.
    waiting: Option<Instant>,
    /// Whether something has opened, by a root or by a key at hand.
    unlocked: bool,
}

impl<'a> Asking<'a> {
    pub(super) fn new(roots: &[Arc<dyn RootKey>], calls: &'a Arc<Calls>) -> Self {
        let (tell, words) = mpsc::channel();
        let start = Instant::now();
        let asked = roots.iter().map(|root| Asked {
            root: Arc::clone(root),
            refused: HashMap::new(),
            away: None,
            busy: false,
            pending: HashSet::new(),
            not_tried: None,
            began: None,
            opened: None,
        });
        Self {
            asked: asked.collect(),
            calls,
            words,
            tell,
            start,
            latest: None,
            turn: start,
            waiting: None,
            unlocked: false,
        }
    }

    /// Asks the roots, each for the slots of its kind, until everything opens, nothing is left to ask, or the time is over.
    pub(super) fn unlock(&mut self, attempts: &mut Attempts, derivations: &mut Derivations) {
        self.recall(attempts);
        self.unlocked |= attempts.has_opened();
        while attempts.wanted().next().is_some() {
            let now = Instant::now();
            let is_free = self.latest.is_none_or(|place| !self.is_busy(place));
            if (is_free || now >= self.turn) && self.ask_next(attempts, derivations) {
                self.turn = now + HEAD_START;
            }
            let Some(until) = self.until(attempts, now) else {
                return;
            };
            match self.words.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Word::Said(place, lock, outcome)) => {
                    self.take(place, lock, outcome, attempts, derivations);
                }
                Ok(Word::Ended(place)) => {
                    if let Some(asked) = self.asked.get_mut(place) {
                        asked.busy = false;
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// What each root said of a generation that none of them opened, in their order.
    pub(super) fn complaints(&self, header: &Header) -> Vec<(String, RootError)> {
        let mut told = Vec::new();
        for asked in &self.asked {
            for why in asked.complaints(header) {
                let complaint = (asked.root.describe(), why);
                if !told.contains(&complaint) {
                    told.push(complaint);
                }
            }
        }
        told
    }

    /// How the roots fared, in the order in which they were asked; those that were not needed are left out.
    pub(super) fn turns(&self) -> Vec<Turn> {
        let mut asked: Vec<&Asked> = self.asked.iter().collect();
        asked.sort_by_key(|it| (it.root.derives(), it.began));
        asked.iter().filter_map(|it| it.turn(self.start)).collect()
    }

    /// Takes what earlier openings have left: keys, refusals that stand, and calls that are at work.
    fn recall(&mut self, attempts: &mut Attempts) {
        for place in 0..self.asked.len() {
            let Some(asked) = self.asked.get_mut(place) else {
                return;
            };
            let wanted: HashSet<Lock> = asked.open_questions(attempts).collect();
            let recalled = self.calls.recall(place, asked.root.as_ref(), &wanted, &self.tell);
            let Recalled {
                refused,
                kept,
                pending,
            } = recalled;
            refused
                .into_iter()
                .for_each(|(lock, why)| asked.refuse(lock, why));
            if let Some(pending) = pending {
                (asked.busy, asked.pending) = (true, pending);
                asked.began = Some(self.start);
            }
            for (lock, key) in kept {
                self.use_key(place, &lock, &key, attempts);
            }
        }
    }

    fn is_busy(&self, place: usize) -> bool {
        self.asked.get(place).is_some_and(|it| it.busy)
    }

    /// Asks the root whose turn it is. Returns whether one was asked.
    fn ask_next(&mut self, attempts: &Attempts, derivations: &mut Derivations) -> bool {
        let Some((place, locks)) = self.next(attempts) else {
            return false;
        };
        let Some(asked) = self.asked.get_mut(place) else {
            return false;
        };
        if asked.root.derives() && !derivations.take_one() {
            let why = RootError::NotTried(derivations.done);
            let dear = self.asked.iter_mut().filter(|it| it.root.derives());
            dear.for_each(|it| it.not_tried = Some(why.clone()));
            return false;
        }
        asked.busy = true;
        asked.pending = locks.iter().cloned().collect();
        asked.began.get_or_insert_with(Instant::now);
        self.latest = Some(place);
        if let Err(why) = self.calls.ask(place, Arc::clone(&asked.root), locks) {
            asked.away = Some(why);
        }
        true
    }

    /// The next root and what to ask it: those that are cheap in their order, each for everything; then, one at a time, a key
    /// derivation.
    fn next(&self, attempts: &Attempts) -> Option<(usize, Vec<Lock>)> {
        let idle = |derives: bool| {
            let all = self.asked.iter().enumerate();
            all.filter(move |(_, it)| it.root.derives() == derives && !it.busy && it.not_tried.is_none())
        };
        let cheap = idle(false).find_map(|(place, asked)| {
            let locks: Vec<Lock> = asked.open_questions(attempts).collect();
            (!locks.is_empty()).then_some((place, locks))
        });
        if cheap.is_some() || self.asked.iter().any(|it| it.root.derives() && it.busy) {
            return cheap;
        }
        attempts.wanted().find_map(|header| {
            idle(true).find_map(|(place, asked)| {
                let mut locks = asked.locks(header);
                let lock = locks.find(|lock| !asked.refused.contains_key(lock));
                lock.filter(|_| asked.away.is_none())
                    .map(|lock| (place, vec![lock]))
            })
        })
    }

    /// Until when to wait for a word; `None` where there is nothing to wait for.
    fn until(&mut self, attempts: &Attempts, now: Instant) -> Option<Instant> {
        let limit = self.start + PATIENCE;
        if self.next(attempts).is_some() {
            return (now < limit).then_some(self.turn.min(limit));
        }
        if !self.is_awaited(attempts) {
            return None;
        }
        let until = match self.unlocked {
            true => *self.waiting.get_or_insert(now) + GRACE,
            false => limit,
        };
        (now < until).then_some(until)
    }

    fn is_awaited(&self, attempts: &Attempts) -> bool {
        let mut busy = self.asked.iter().filter(|it| it.busy);
        busy.any(|it| it.open_questions(attempts).next().is_some())
    }

    fn take(
        &mut self,
        place: usize,
        lock: Lock,
        outcome: Result<Arc<Key32>, RootError>,
        attempts: &mut Attempts,
        derivations: &mut Derivations,
    ) {
        let Some(asked) = self.asked.get_mut(place) else {
            return;
        };
        asked.pending.remove(&lock);
        match outcome {
            Ok(key) => self.use_key(place, &lock, &key, attempts),
            Err(why) => {
                asked.refuse(lock, why);
                // A root without its secret has derived nothing.
                if asked.root.derives() && asked.away.is_some() {
                    derivations.give_back();
                }
            }
        }
    }

    fn use_key(&mut self, place: usize, lock: &Lock, key: &Arc<Key32>, attempts: &mut Attempts) {
        let Some(asked) = self.asked.get_mut(place) else {
            return;
        };
        self.unlocked = true;
        asked.opened.get_or_insert_with(Instant::now);
        attempts.try_key(key, |header| asked.locks(header).any(|it| it == *lock));
    }
}

/// What has been told and not heard is for the next opening.
impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.calls.hang_up(&self.words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_derivations_are_allowed_than_one_opening_may_do() {
        let left = |most: usize| Derivations::at_most(most).left;

        assert_eq!(left(0), 0);
        assert_eq!(left(3), 3);
        assert_eq!(left(usize::MAX), MOST_DERIVATIONS);
        assert!(Derivations::at_most(0).is_spent());
        assert!(!Derivations::of_an_opening().is_spent());
    }
}
