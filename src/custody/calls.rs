//! Calls to roots, from one opening to the next.
//!
//! A root that takes its time is called once: the call runs on a thread of its own and outlives the opening that made it, and
//! what it brings is taken by the next one. A refusal that asking again does not change is remembered: a wrong PIN every few
//! seconds locks hardware.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::crypto::secret::Key32;
use crate::format::generation::{Header, Slot, slot_context};
use crate::keyring::RingId;
use crate::root::{FileStamp, RootError, RootKey};

/// How long a refusal stands that nothing here can be seen to have changed: what it depends on may lie elsewhere.
const STANDS: Duration = Duration::from_secs(15 * 60);
/// Most refusals that are remembered of one root: what strangers write must not fill the memory.
const MOST_REFUSALS: usize = 256;

/// A root slot as the thing that a root is asked to open: slots outlive rotations, and the same one stands in many
/// generations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    ring: [u8; 16],
    id: [u8; 16],
    sealed: Vec<u8>,
}

impl Lock {
    pub(super) fn of(header: &Header, slot: &Slot) -> Self {
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

/// What a call tells the opening that listens.
pub(super) enum Word {
    Said(usize, Lock, Result<Arc<Key32>, RootError>),
    Ended(usize),
}

/// What is known of a root before it is asked.
#[derive(Default)]
pub(super) struct Recalled {
    /// Refusals that still stand.
    pub(super) refused: Vec<(Lock, RootError)>,
    /// What a call brought when nobody listened any more.
    pub(super) kept: Vec<(Lock, Arc<Key32>)>,
    /// What a call of an earlier opening has not told of yet.
    pub(super) pending: Option<HashSet<Lock>>,
}

/// A root's refusal.
struct Refusal {
    lock: Lock,
    why: RootError,
    at: Instant,
    /// What the root reads, as it was before.
    stamp: Option<FileStamp>,
}

/// All that is known of the calls to one root.
#[derive(Default)]
struct Line {
    /// When the call began that is at work.
    since: Option<Instant>,
    /// What that call has not told of yet.
    pending: HashSet<Lock>,
    /// The opening that waits for it.
    listener: Option<mpsc::Sender<Word>>,
    kept: Vec<(Lock, Arc<Key32>)>,
    refused: Vec<Refusal>,
    /// What it said last, where it opened nothing.
    last: Option<RootError>,
}

/// The calls to the roots of a custody, by their places there.
pub struct Calls {
    lines: Mutex<BTreeMap<usize, Line>>,
    stands: Duration,
}

impl Default for Calls {
    fn default() -> Self {
        Self::remembering(STANDS)
    }
}

impl Calls {
    /// Calls whose refusals stand so long where nothing changes.
    pub fn remembering(stands: Duration) -> Self {
        Self {
            lines: Mutex::default(),
            stands,
        }
    }

    /// Every root is asked again, whatever it said.
    pub fn forget(&self) {
        for line in self.lines().values_mut() {
            line.refused.clear();
        }
    }

    /// Whether a call has brought a key since the last opening.
    pub fn has_news(&self) -> bool {
        self.lines().values().any(|line| !line.kept.is_empty())
    }

    /// The roots that are at work or opened nothing, and since when or why, in their order; `roots` are their names.
    pub fn standing(&self, roots: &[String]) -> Vec<String> {
        let told = |(place, line): (&usize, &Line)| {
            let name = roots.get(*place)?;
            match (line.since, &line.last) {
                (Some(since), _) => Some(format!(
                    "{name}: has been asked for {} s",
                    since.elapsed().as_secs()
                )),
                (None, Some(why)) => Some(format!("{name}: {why}")),
                (None, None) => None,
            }
        };
        self.lines().iter().filter_map(told).collect()
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<usize, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a root that is wanted for these locks. What it says from now on is told to `listener`.
    pub(super) fn recall(
        &self,
        place: usize,
        root: &dyn RootKey,
        wanted: &HashSet<Lock>,
        listener: &mpsc::Sender<Word>,
    ) -> Recalled {
        let mut lines = self.lines();
        let line = lines.entry(place).or_default();
        line.listener = Some(listener.clone());
        let stamp = (!line.refused.is_empty()).then(|| root.stamp());
        line.refused
            .retain(|it| it.at.elapsed() < self.stands && Some(&it.stamp) == stamp.as_ref());
        // A root that is denied altogether is asked again for a slot that it has not seen.
        let seen = |lock: &Lock| line.refused.iter().any(|it| it.lock == *lock);
        let unseen = wanted.iter().any(|lock| !seen(lock));
        line.refused.retain(|it| !(unseen && is_denied(&it.why)));
        let refused = line.refused.iter().filter(|it| wanted.contains(&it.lock));
        Recalled {
            refused: refused.map(|it| (it.lock.clone(), it.why.clone())).collect(),
            kept: std::mem::take(&mut line.kept),
            pending: line.since.map(|_| line.pending.clone()),
        }
    }

    /// Asks a root for one lock after the other, on a thread of its own.
    pub(super) fn ask(
        self: &Arc<Self>,
        place: usize,
        root: Arc<dyn RootKey>,
        locks: Vec<Lock>,
    ) -> Result<(), RootError> {
        let mut lines = self.lines();
        let line = lines.entry(place).or_default();
        line.since = Some(Instant::now());
        line.pending = locks.iter().cloned().collect();
        line.last = None;
        // A call that does not come about ends as well, and says so.
        drop(lines);
        let ending = Ending(place, Arc::clone(self));
        let ask = move || {
            let all = locks.clone();
            for lock in locks {
                let stamp = root.stamp();
                let outcome = lock.open(root.as_ref());
                let last = matches!(&outcome, Err(why) if is_its_own(why));
                // Where nobody listens any more, the rest is not wanted.
                if !ending.1.told(place, &all, lock, stamp.as_ref(), outcome) || last {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new().name("root".into()).spawn(ask);
        spawned
            .map(drop)
            .map_err(|why| RootError::Unavailable(format!("cannot start a thread: {why}")))
    }

    /// Nobody listens from now on. Keys that were told and not heard are kept.
    pub(super) fn hang_up(&self, words: &mpsc::Receiver<Word>) {
        let mut lines = self.lines();
        lines.values_mut().for_each(|line| line.listener = None);
        for word in words.try_iter() {
            if let Word::Said(place, lock, Ok(key)) = word {
                lines.entry(place).or_default().kept.push((lock, key));
            }
        }
    }

    /// Returns whether somebody listens.
    fn told(
        &self,
        place: usize,
        all: &[Lock],
        lock: Lock,
        stamp: Option<&FileStamp>,
        outcome: Result<Arc<Key32>, RootError>,
    ) -> bool {
        let mut lines = self.lines();
        let line = lines.entry(place).or_default();
        line.pending.remove(&lock);
        match &outcome {
            Err(why) => {
                line.last = Some(why.clone());
                line.remember(&lock, all, why, stamp);
            }
            Ok(_) => line.last = None,
        }
        let word = Word::Said(place, lock, outcome);
        let untold = match &line.listener {
            Some(listener) => listener.send(word).err().map(|failed| failed.0),
            None => Some(word),
        };
        let heard = untold.is_none();
        if let Some(Word::Said(_, lock, Ok(key))) = untold {
            line.kept.push((lock, key));
        }
        heard
    }

    fn ended(&self, place: usize) {
        let mut lines = self.lines();
        let line = lines.entry(place).or_default();
        line.since = None;
        line.pending.clear();
        if let Some(listener) = &line.listener {
            let _ = listener.send(Word::Ended(place));
        }
    }
}

impl Line {
    /// Only what asking again does not change. Where the root was denied, it has not looked at the rest either.
    fn remember(&mut self, lock: &Lock, all: &[Lock], why: &RootError, stamp: Option<&FileStamp>) {
        let locks = match why {
            why if is_denied(why) => all,
            RootError::WrongRoot => std::slice::from_ref(lock),
            _ => return,
        };
        let at = Instant::now();
        let room = MOST_REFUSALS.saturating_sub(locks.len());
        let surplus = self.refused.len().saturating_sub(room);
        self.refused.drain(..surplus);
        self.refused.extend(locks.iter().map(|lock| Refusal {
            lock: lock.clone(),
            why: why.clone(),
            at,
            stamp: stamp.cloned(),
        }));
    }
}

fn is_denied(why: &RootError) -> bool {
    matches!(why, RootError::Denied(_) | RootError::DeniedByTpm(_))
}

/// Some refusals are a slot's fault, and the next one may be sound; the others are the root's.
pub(super) fn is_its_own(why: &RootError) -> bool {
    !matches!(why, RootError::WrongRoot | RootError::Corrupt(_))
}

/// Tells that a call has ended, however it ended.
struct Ending(usize, Arc<Calls>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.1.ended(self.0);
    }
}
