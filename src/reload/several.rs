//! Where several nodes keep the ring: the reloader's steps on etcd, and what is told of them.
//!
//! etcd is never on the way of a request. While it is away, this node serves from its copy, for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::Wake;
use super::health::{SeveralHealth, Trouble};
use super::steps::{Cause, Reloader};
use crate::custody::{Custody, Opened};
use crate::etcd::WatchHandle;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::members::NodeName;
use crate::keyring::ring::UnixTime;
use crate::keyring::schedule::{self, Due};
use crate::keyring::{KeyId, NotServing};
use crate::member::{End, Holder, Member, MemberError, Pass, Want};
use crate::nodes::Missing;
use crate::store::{Pulse, Stamp};

/// How often etcd is read although no watch has told of a change: a watch is a hint, this is the truth.
const REREAD: Duration = Duration::from_secs(30);
/// How soon it is read again when it did not answer, or something did not work.
const RETRY: Duration = Duration::from_secs(3);
/// How long the first steps may take: a start says READY within that, etcd or not.
const FIRST: Duration = Duration::from_millis(3500);
/// How long others may take; each answer of etcd is bounded by itself.
const PASS: Duration = Duration::from_secs(20);
/// For the read on behalf of a request, which waits a little longer than this.
const REQUEST: Duration = Duration::from_millis(1300);
/// How often a node says that it lives: well within its lease.
const BEAT: Duration = Duration::from_secs(10);
/// How often what it says is written although nothing but times have changed: etcd keeps every version for a while.
const RETELL: Duration = Duration::from_secs(300);

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All of it.
    pub whole: Vec<u8>,
    /// The same without times: whether it has changed.
    pub essence: Vec<u8>,
}

/// This node among several.
pub(super) struct Several {
    member: Member,
    wake: mpsc::Sender<Wake>,
    changed: Arc<AtomicBool>,
    watch: Option<WatchHandle>,
    next: Instant,
    was_due: bool,
    begun: bool,
    read: Option<UnixTime>,
    last: Option<Pass>,
    trouble: Trouble,
    account: watch::Receiver<Account>,
    pulse: Pulse,
    beat: Instant,
    told: Option<(Vec<u8>, Instant)>,
}

impl Several {
    pub(super) fn new(member: Member, wake: mpsc::Sender<Wake>, account: watch::Receiver<Account>) -> Self {
        let now = Instant::now();
        Self {
            member,
            wake,
            changed: Arc::new(AtomicBool::new(false)),
            watch: None,
            next: now,
            was_due: false,
            begun: false,
            read: None,
            last: None,
            trouble: Trouble::default(),
            account,
            pulse: Pulse::default(),
            beat: now,
            told: None,
        }
    }

    /// For status and metrics, and what is wrong.
    pub(super) fn health(&self) -> (Option<SeveralHealth>, Option<String>) {
        let standing = self.last.as_ref().map(|it| &it.standing);
        let nodes = standing.iter().flat_map(|it| &it.nodes);
        let missing = match self.last.as_ref().map(|it| &it.end) {
            Some(End::Waiting(missing)) => missing.as_slice(),
            _ => &[],
        };
        let health = SeveralHealth {
            read: self.read,
            nodes: nodes.map(|(name, said)| (name.to_string(), *said)).collect(),
            missing: missing
                .iter()
                .map(|it| (it.name.to_string(), it.why.to_string()))
                .collect(),
            parted: standing.is_some_and(|it| it.parted),
            beside: standing.map(|it| it.beside.clone()).unwrap_or_default(),
        };
        (Some(health), self.trouble.0.clone())
    }

    /// Whether there is a reason to read etcd now.
    fn is_time(&mut self, cause: Cause, due: bool) -> bool {
        let changed = self.changed.swap(false, Ordering::AcqRel);
        let newly_due = due && !self.was_due;
        self.was_due = due;
        changed || newly_due || cause != Cause::Tick || Instant::now() >= self.next
    }

    /// Once it is known which ring.
    fn watch(&mut self) {
        if self.watch.is_none() {
            let (changed, wake) = (Arc::clone(&self.changed), self.wake.clone());
            self.watch = self.member.store().watch(move || {
                changed.store(true, Ordering::Release);
                // Where so many wake the reloader already, it is awake.
                let _ = wake.try_send(Wake::Changed);
            });
            // What came between the read and the watch.
            self.changed.store(self.watch.is_some(), Ordering::Release);
        }
    }

    /// The name that another instance has.
    fn taken_by(&self) -> Option<&NodeName> {
        match &self.last.as_ref()?.end {
            End::Refused(Refusal::SecondInstance(name)) => Some(name),
            _ => None,
        }
    }

    /// Tells the others that this node lives, unless another instance has its name: whether that one lives is for that one
    /// to say. Nobody decides by it but the operator who removes a node.
    fn live(&mut self) {
        if Instant::now() < self.beat || self.read.is_none() || self.taken_by().is_some() {
            return;
        }
        let account = self.account.borrow().clone();
        if account.whole.is_empty() {
            return;
        }
        self.beat = Instant::now() + BEAT;
        let told = self.told.as_ref();
        let known = told.is_some_and(|(essence, at)| *essence == account.essence && at.elapsed() < RETELL);
        let name = self.member.name().to_string();
        let store = Arc::clone(self.member.store());
        match store.beat(&mut self.pulse, &name, &account.whole, !known) {
            Ok(()) if !known => self.told = Some((account.essence, Instant::now())),
            Ok(()) => {}
            Err(why) => tracing::debug!(%why, "this node could not say that it lives"),
        }
    }
}

impl Reloader {
    /// The copy is still to come from etcd: there is nothing to open, and no trouble yet.
    pub(super) fn awaits_copy(&self) -> bool {
        self.several.is_some() && self.custody.store.stamp() == Ok(Stamp::default())
    }

    /// Reads the ring on etcd and takes this node's steps, where it is time.
    pub(super) fn keep_together(&mut self, several: &Arc<Mutex<Several>>, cause: Cause, now: UnixTime) {
        let mut several = several.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.due_key(now);
        if several.is_time(cause, due.is_some()) {
            let patience = match cause {
                Cause::Request => REQUEST,
                _ if !several.begun => FIRST,
                _ => PASS,
            };
            several.begun = true;
            if cause == Cause::Signal {
                several.member.forget_refusals();
            }
            let want = Want {
                due,
                ..Want::nothing()
            };
            let outcome = several.member.pass(self, &want, Instant::now() + patience, now);
            // What is away may be back at once; what does not open, or is not allowed, needs somebody to mend it.
            let away = outcome.as_ref().is_err_and(MemberError::is_away);
            several.next = Instant::now() + if away { RETRY } else { REREAD };
            match outcome {
                Ok(pass) => self.passed(&mut several, pass, now),
                Err(why) => self.stopped(&mut several, &why),
            }
            self.learn(&several);
            self.forget_removed(now);
            several.watch();
        }
        several.live();
    }

    /// The next key, where it is due.
    fn due_key(&self, now: UnixTime) -> Option<KeyId> {
        let opened = self.opened.as_ref().filter(|it| it.frozen.is_none())?;
        let due = schedule::due(&opened.ring, self.clocks(now, opened), self.period) == Due::Now;
        opened.ring.pre_active().filter(|_| due).map(|key| key.id.clone())
    }

    fn passed(&mut self, several: &mut Several, pass: Pass, now: UnixTime) {
        several.read = Some(now);
        several.trouble.clear();
        if pass.activated {
            self.metrics.rotated(true);
        }
        match &pass.end {
            End::Waiting(missing) => self.rotation_trouble.raise(&waits(&pass, missing)),
            End::Refused(refusal) if !matches!(refusal, Refusal::SecondInstance(_)) => {
                self.rotation_trouble
                    .raise(&format!("the ring on etcd is not changed: {refusal}"));
            }
            _ => self.rotation_trouble.clear(),
        }
        if self.opened.is_none() {
            match &pass.end {
                End::NoRing => self.serve_nothing(
                    "there is no ring in etcd and no copy here; hint: `kekring init` makes the first one, or `kekring store move --to etcd` brings it",
                ),
                End::Refused(Refusal::SecondInstance(name)) => {
                    let why = NotServing::SecondInstance(name.clone());
                    self.serve_nothing(&format!("there is no copy of the ring here: {why}"));
                }
                End::Refused(refusal) => self.serve_nothing(&format!("there is no copy of the ring here: {refusal}")),
                _ => {}
            }
        } else if pass.end == End::NoRing {
            self.rotation_trouble
                .raise("there is no ring in etcd, and this node is not registered in its copy: it does not put it there");
        }
        several.last = Some(pass);
    }

    fn stopped(&mut self, several: &mut Several, why: &MemberError) {
        if self.opened.is_none() && self.awaits_copy() {
            self.serve_nothing(&format!("there is no copy of the ring here yet: {why}"));
        } else {
            several.trouble.raise(&format!("{why}; hint: {}", why.hint()));
        }
    }

    /// A root that was removed opens nothing here any more: this node has opened the new ring key from its disk.
    fn forget_removed(&mut self, now: UnixTime) {
        let half = |it: &&Opened| it.frozen.is_none() && !it.joined && !it.half_removed().is_empty();
        if let Some(opened) = self.opened.as_ref().filter(half)
            && self.custody.finish_removal(opened, now).is_ok()
        {
            let _ = Self::reread(self, now);
        }
    }

    /// What etcd holds beyond the copy may decrypt at once; who is refused reports nothing.
    fn learn(&mut self, several: &Several) {
        let taken = several.taken_by().cloned().map(NotServing::SecondInstance);
        let superseded = several.member.superseded().map(NotServing::Superseded);
        let refused = superseded.or(taken);
        let held = |id: &_| self.opened.as_ref().is_some_and(|it| it.ring.key(id).is_some());
        let more: Vec<_> = several
            .member
            .known()
            .filter(|it| it.ring.keys.iter().any(|key| !held(&key.id)))
            .cloned()
            .collect();
        let same = refused == self.beyond.refusing && more.is_empty() && self.beyond.versions.is_empty();
        let reports_again = refused.is_none() && self.beyond.refusing.is_some();
        (self.beyond.versions, self.beyond.refusing) = (more, refused);
        if !same {
            if let Some(refused) = &self.beyond.refusing {
                self.load_trouble.raise(&refused.to_string());
            } else if reports_again && self.opened.as_ref().is_some_and(|it| it.refusing.is_none()) {
                self.load_trouble.clear();
            }
            self.serve_again();
        }
    }
}

impl Holder for Reloader {
    fn custody(&self) -> &Custody {
        &self.custody
    }

    fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    fn reread(&mut self, now: UnixTime) -> Result<(), String> {
        if self.opened.is_some() {
            return Self::reread(self, now);
        }
        self.first_open(now);
        match (&self.opened, &self.load_trouble.0) {
            (Some(_), _) => Ok(()),
            (None, Some(why)) => Err(why.clone()),
            (None, None) => Err("it does not open".into()),
        }
    }
}

fn waits(pass: &Pass, missing: &[Missing]) -> String {
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let what = match pass.standing.parted {
        true => "the nodes' histories of the ring have parted, and joining them waits",
        false => "a rotation waits",
    };
    format!(
        "{what} for {}; hint: bring the node back; where it is gone for good, `kekring node remove NAME`",
        names.join("; ")
    )
}
