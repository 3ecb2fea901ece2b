//! Asking the roots for the ring keys of generations.
//!
//! Anybody who can write to a store can make a slot, and nothing is authenticated before it opens: what the slots of
//! strangers cost is bounded. Roots that are cheap to ask come first, for all generations; a key derivation comes after
//! them, and a limited number of times. A root that hangs holds nothing up that another one opens: each is asked on a thread
//! of its own, which ends by itself, and what it says later is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::attempts::Attempts;
use crate::crypto::secret::Key32;
use crate::format::generation::{Header, MAX_SLOTS, Slot, slot_context};
use crate::keyring::RingId;
use crate::root::{RootError, RootKey};

/// How long key derivations wait for the roots that are cheap to ask, from when the first of those was asked.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long a root that is cheap to ask is alone, before the next one is asked beside it.
const TURN: Duration = Duration::from_millis(50);
/// How long a root that has not answered is waited for where another one has opened something: what is left may be a
/// stranger's, and may be a generation that this root alone opens.
const GRACE: Duration = Duration::from_secs(1);
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
}

/// A root slot as the thing that a root is asked to open: slots outlive rotations, and the same one stands in many
/// generations.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Lock {
    ring: [u8; 16],
    id: [u8; 16],
    sealed: Vec<u8>,
}

impl Lock {
    fn of(header: &Header, slot: &Slot) -> Self {
        Self {
            ring: header.ring_id.0,
            id: slot.id,
            sealed: slot.sealed.clone(),
        }
    }

    fn open(&self, root: &dyn RootKey) -> Result<Arc<Key32>, RootError> {
        let context = slot_context(RingId(self.ring), &self.id, root.kind().into());
        root.open(&self.sealed, &context).map(Arc::new)
    }
}

/// What a thread that asks a root tells.
enum Word {
    Said(usize, Lock, Result<Arc<Key32>, RootError>),
    Ended(usize),
}

/// Tells that a thread has ended, however it ended.
struct Ending(usize, mpsc::Sender<Word>);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.1.send(Word::Ended(self.0));
    }
}

/// One root in this opening.
struct Asked {
    root: Arc<dyn RootKey>,
    /// What it could not open, and why.
    refused: HashMap<Lock, RootError>,
    /// In trouble itself, so that asking it again does not help.
    away: Option<RootError>,
    /// A thread is asking it.
    busy: bool,
    /// What the thread has not told of yet.
    pending: HashSet<Lock>,
    /// It was not asked, since so many key derivations were done.
    not_tried: Option<RootError>,
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
        // Some are this slot's fault, and the next one may be sound; the others are the root's.
        if !matches!(why, RootError::WrongRoot | RootError::Corrupt(_)) {
            self.away = Some(why.clone());
        }
        self.refused.insert(lock, why);
    }

    /// Why it opened none of a generation's slots.
    fn complaints(&self, header: &Header) -> Vec<RootError> {
        let silent = || RootError::Unavailable("it has not answered".into());
        let mut complaints = Vec::new();
        for lock in self.locks(header) {
            let known = self.refused.get(&lock).or(self.away.as_ref());
            let known = known.or(self.not_tried.as_ref()).cloned();
            let why = known.or_else(|| self.pending.contains(&lock).then(silent));
            complaints.extend(why.filter(|why| !complaints.contains(why)));
        }
        complaints
    }
}

/// The roots of one opening, and what they have said so far.
pub(super) struct Asking {
    asked: Vec<Asked>,
    words: mpsc::Receiver<Word>,
    /// For the threads.
    tell: mpsc::Sender<Word>,
    /// Whether a root has opened something.
    unlocked: bool,
}

impl Asking {
    pub(super) fn new(roots: &[Arc<dyn RootKey>]) -> Self {
        let (tell, words) = mpsc::channel();
        let asked = roots.iter().map(|root| Asked {
            root: Arc::clone(root),
            refused: HashMap::new(),
            away: None,
            busy: false,
            pending: HashSet::new(),
            not_tried: None,
        });
        Self {
            asked: asked.collect(),
            words,
            tell,
            unlocked: false,
        }
    }

    /// Asks the roots in their order, each for the slots of its kind, until everything opens or nothing is left to ask.
    pub(super) fn unlock(&mut self, attempts: &mut Attempts, derivations: &mut Derivations) {
        let start = Instant::now();
        for place in 0..self.asked.len() {
            if self.begin(place, attempts) {
                let is_quiet = |it: &Self| it.asked.get(place).is_none_or(|asked| !asked.busy);
                self.listen(attempts, Some(Instant::now() + TURN), is_quiet);
            }
        }
        if self.next_derivation(attempts).is_some() {
            let is_quiet = |it: &Self| it.asked.iter().all(|asked| !asked.busy);
            self.listen(attempts, Some(start + HEAD_START), is_quiet);
            self.derive(attempts, derivations);
        }
        self.wait(attempts);
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

    /// Asks a root that is cheap to ask, on a thread of its own. Returns whether there is anything to ask it.
    fn begin(&mut self, place: usize, attempts: &Attempts) -> bool {
        let Some(asked) = self.asked.get_mut(place).filter(|it| !it.root.derives()) else {
            return false;
        };
        let locks: Vec<Lock> = asked.open_questions(attempts).collect();
        if locks.is_empty() {
            return false;
        }
        asked.busy = true;
        asked.pending = locks.iter().cloned().collect();
        let (root, ending) = (Arc::clone(&asked.root), Ending(place, self.tell.clone()));
        let ask = move || {
            for lock in locks {
                let outcome = lock.open(root.as_ref());
                let last = matches!(&outcome, Err(why) if !matches!(why, RootError::WrongRoot | RootError::Corrupt(_)));
                // Where nobody listens any more, everything is open.
                if ending.1.send(Word::Said(place, lock, outcome)).is_err() || last {
                    return;
                }
            }
        };
        if let Err(why) = thread::Builder::new().name("root".into()).spawn(ask) {
            asked.away = Some(RootError::Unavailable(format!("cannot start a thread: {why}")));
        }
        true
    }

    /// Takes what the threads tell, until a moment, or until there is nothing more to wait for.
    fn listen(&mut self, attempts: &mut Attempts, until: Option<Instant>, is_enough: impl Fn(&Self) -> bool) {
        while attempts.wanted().next().is_some() && !is_enough(self) {
            let word = match until {
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    self.words.recv_timeout(left).ok()
                }
                None => self.words.recv().ok(),
            };
            match word {
                Some(Word::Said(place, lock, outcome)) => self.take(place, lock, outcome, attempts),
                Some(Word::Ended(place)) => {
                    if let Some(asked) = self.asked.get_mut(place) {
                        asked.busy = false;
                    }
                }
                None => return,
            }
        }
    }

    fn take(
        &mut self,
        place: usize,
        lock: Lock,
        outcome: Result<Arc<Key32>, RootError>,
        attempts: &mut Attempts,
    ) {
        let Some(asked) = self.asked.get_mut(place) else {
            return;
        };
        asked.pending.remove(&lock);
        match outcome {
            Ok(key) => {
                self.unlocked = true;
                attempts.try_key(&key, |header| asked.locks(header).any(|it| it == lock));
            }
            Err(why) => asked.refuse(lock, why),
        }
    }

    fn next_derivation(&self, attempts: &Attempts) -> Option<(usize, Lock)> {
        let dear = || self.asked.iter().enumerate().filter(|(_, it)| it.root.derives());
        attempts.wanted().find_map(|header| {
            dear().find_map(|(place, asked)| {
                let mut locks = asked
                    .locks(header)
                    .filter(|lock| !asked.refused.contains_key(lock));
                locks
                    .next()
                    .filter(|_| asked.away.is_none())
                    .map(|lock| (place, lock))
            })
        })
    }

    /// One after the other: each takes its memory.
    fn derive(&mut self, attempts: &mut Attempts, derivations: &mut Derivations) {
        while let Some((place, lock)) = self.next_derivation(attempts) {
            if derivations.left == 0 {
                derivations.fell_short = true;
                let why = RootError::NotTried(derivations.done);
                let dear = self.asked.iter_mut().filter(|it| it.root.derives());
                dear.for_each(|it| it.not_tried = Some(why.clone()));
                return;
            }
            let Some(root) = self.asked.get(place).map(|it| Arc::clone(&it.root)) else {
                return;
            };
            let outcome = lock.open(root.as_ref());
            self.take(place, lock, outcome, attempts);
            // A root without its secret has derived nothing.
            if self.asked.get(place).is_some_and(|it| it.away.is_none()) {
                derivations.left -= 1;
                derivations.done += 1;
            }
            // What has been told meanwhile.
            self.listen(attempts, Some(Instant::now()), |_| false);
        }
    }

    /// Waits for roots that are still being asked for something that did not open.
    fn wait(&mut self, attempts: &mut Attempts) {
        let is_idle = |it: &Self| it.asked.iter().all(|asked| !asked.busy);
        self.listen(attempts, None, |it| it.unlocked || is_idle(it));
        if self.is_awaited(attempts) {
            self.listen(attempts, Some(Instant::now() + GRACE), is_idle);
        }
    }

    fn is_awaited(&self, attempts: &Attempts) -> bool {
        let mut busy = self.asked.iter().filter(|it| it.busy);
        busy.any(|it| it.open_questions(attempts).next().is_some())
    }
}
