//! This node as one of several: it reads the ring on etcd, asks `nodes` what comes next, does it, and reads again.
//!
//! ```text
//! look   etcd ─▶ open the head and what is shown ─▶ check the acknowledgements ─▶ a view
//! step   nodes::step (pure)
//! act    copy ─▶ this node's directory, read back and opened     acknowledge, publish, commit ─▶ etcd, under its conditions
//! ```
//!
//! `serve` and the verbs run the same steps: each is right whoever else takes it too. Nothing is remembered between two
//! passes but what saves work, so a crash anywhere leaves a node that reads and goes on.

mod act;
mod error;
mod look;
mod replaced;
mod tidy;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::MemberError;
pub use look::{Look, Standing};
use replaced::Heeded;
use tidy::Judged;

use crate::crypto::kdf::{self, Context};
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::custody::{Custody, Derivations, OpenError, Opened, Version};
use crate::etcd::Revision;
use crate::format::generation::{self, Hash};
use crate::keyring::lifecycle::Refusal;
use crate::keyring::members::{self, Instance, NodeName};
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingKeyId, lineage};
use crate::nodes::{self, Me, Missing, Rotation, Step, View};
use crate::store::{Entry, EtcdStore};

/// Longest time that a pass waits for one answer of etcd.
const ANSWER: Duration = Duration::from_secs(2);
/// Most steps of one pass. A node that was away takes about ten; more than that and something goes round in circles.
const MOST_STEPS: usize = 32;
const INSTANCE_LABEL: &str = "kekring/v1/instance";

/// Who holds this node's copy: a server with its ring in memory, or a verb.
pub trait Holder {
    /// The copy's store, and the roots.
    fn custody(&self) -> &Custody;

    /// The copy, where it is open.
    fn opened(&self) -> Option<&Opened>;

    /// Reads the copy again, proves it, writes its mark, and then uses it.
    fn reread(&mut self, now: UnixTime) -> Result<(), String>;
}

/// What is wanted of a pass beyond being up to date.
#[derive(Clone, Debug)]
pub struct Want {
    /// The next key that is due by the schedule: it, and not the one after it.
    pub due: Option<KeyId>,
    /// The next key that an operator wants to become active.
    pub asked: Option<KeyId>,
    /// Nodes that it does not wait for.
    pub without: Vec<NodeName>,
    /// Nodes to be removed.
    pub gone: Vec<NodeName>,
}

impl Want {
    /// Only to be up to date.
    pub fn nothing() -> Self {
        Self {
            due: None,
            asked: None,
            without: Vec::new(),
            gone: Vec::new(),
        }
    }
}

impl Want {
    fn rotation(&self, head: Option<&Arc<Version>>) -> Rotation {
        let next = head.and_then(|it| it.ring.pre_active()).map(|key| &key.id);
        match (&self.asked, &self.due) {
            (Some(key), _) => Rotation::Asked(key.clone()),
            // Another node may have done it: what comes after it is not due yet.
            (None, Some(key)) if next == Some(key) => Rotation::Due,
            _ => Rotation::NotDue,
        }
    }
}

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All is as it should be.
    Rest,
    /// For these nodes.
    Waiting(Vec<Missing>),
    /// Until an operator decides.
    Refused(Refusal),
    /// etcd holds no ring.
    NoRing,
    /// A change of the ring is due, and the copy is frozen.
    Frozen,
}

/// What a pass did and found.
#[derive(Clone, Debug)]
pub struct Pass {
    /// How it ended.
    pub end: End,
    /// How the ring on etcd stood at the last look.
    pub standing: Standing,
    /// Whether this node made a key active.
    pub activated: bool,
}

/// What did not open, and how that came.
struct Refused {
    at: UnixTime,
    why: OpenError,
    /// Whether it is worth another try as soon as keys may be derived for it.
    fell_short: bool,
}

/// This node.
pub struct Member {
    store: Arc<EtcdStore>,
    name: NodeName,
    me: Option<Me>,
    /// What has been opened before, by its identity: a generation never changes.
    versions: HashMap<Hash, Arc<Version>>,
    /// The bytes under the name of each node that was asked for, and when they came.
    seen: HashMap<String, (Vec<u8>, Option<UnixTime>)>,
    /// This node's copy as it is stored, without what its mark adds.
    own: Option<Arc<Version>>,
    /// What does not open here: asking a root may be dear, and anybody who can write to etcd can put something there.
    refused: HashMap<Hash, Refused>,
    /// Where that lay: it is not read again before it is tried again.
    passed_over: HashMap<(String, Revision), Hash>,
    /// When keys were derived for what nodes have shown: within the last minute.
    derived: Vec<UnixTime>,
    /// The record of the last backup that was passed on to the copy.
    backup: Option<Vec<u8>>,
    /// The records of replaced ring keys that were read.
    heeded: Heeded,
    /// What lies on etcd beside the head, and what it is.
    judged: Judged,
    /// Ring keys that were replaced and opened something lately: what they open is told by its keys.
    replaced: Vec<Arc<Key32>>,
}

impl Member {
    /// A node of that name, with its copy in `store`.
    pub fn new(store: Arc<EtcdStore>, name: NodeName) -> Self {
        Self {
            store,
            name,
            me: None,
            versions: HashMap::new(),
            seen: HashMap::new(),
            own: None,
            refused: HashMap::new(),
            passed_over: HashMap::new(),
            derived: Vec::new(),
            backup: None,
            heeded: Heeded::default(),
            judged: Judged::default(),
            replaced: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The ring on etcd.
    pub fn store(&self) -> &Arc<EtcdStore> {
        &self.store
    }

    /// Rings that hold keys which the copy may lack: the head and what is shown, as they were at the last look. What is under
    /// a ring key that another one names replaced counts for nothing.
    pub fn known(&self) -> impl Iterator<Item = &Arc<Version>> {
        let known = self.versions.values().chain(&self.own);
        let all: Vec<(RingKeyId, &Ring)> = known.map(|it| (it.lineage, &it.ring)).collect();
        let unreplaced = lineage::unreplaced(&all);
        let counts = move |it: &&Arc<Version>| unreplaced.contains(&it.lineage);
        self.versions.values().filter(counts)
    }

    /// The generation that replaced the ring key of this node's copy, where a record on etcd says so and nothing under a later
    /// one opens here: no key is to be reported.
    pub fn superseded(&self) -> Option<u64> {
        self.heeded.generation()
    }

    /// What did not open is tried again: the roots may be others now.
    pub fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    /// Finds out which instance of its node this is, and so makes its copy's directory one that has something in it.
    pub fn begin(&mut self, custody: &Custody) -> Result<Instance, MemberError> {
        self.me(custody).map(|me| me.instance)
    }

    /// Takes every step that there is to take. Ends by `until`, give or take the call that is under way.
    pub fn pass(
        &mut self,
        holder: &mut dyn Holder,
        want: &Want,
        until: Instant,
        now: UnixTime,
    ) -> Result<Pass, MemberError> {
        let me = self.me(holder.custody())?;
        let mut activated = false;
        for _ in 0..MOST_STEPS {
            if let Some(opened) = holder.opened() {
                self.store.is_ring(opened.ring.id.0);
            }
            self.read_own(holder)?;
            let look = self.look(holder, until, now)?;
            let shown: Vec<nodes::Version<'_>> = look.shown.iter().map(|it| version(it)).collect();
            let opened = holder.opened();
            let view = View {
                me: &me,
                copy: self.own.as_ref().map(|it| version(it)),
                mark: opened.and_then(|it| it.mark.as_ref()).map(|mark| &mark.reported),
                head: look.head.as_ref().map(|it| version(it)),
                records: &look.records,
                shown: &shown,
                fork: look.fork,
                rotation: want.rotation(look.head.as_ref()),
                without: &want.without,
                gone: &want.gone,
                now,
            };
            let step = nodes::step(&view);
            let end = match &step {
                Step::Idle => Some(End::Rest),
                Step::NoRing => Some(End::NoRing),
                Step::Refused(refusal) => Some(End::Refused(refusal.clone())),
                Step::Wait { missing } => Some(End::Waiting(missing.clone())),
                step if changes_the_ring(step)
                    && !(may_change(&look, opened) && self.superseded().is_none()) =>
                {
                    Some(End::Frozen)
                }
                _ => None,
            };
            if let Some(end) = end {
                let ring = view.head.or(view.copy).map(|it| it.ring);
                let mut standing = look.standing(ring);
                standing.beside = self.tidy(&look, opened, left(until));
                return Ok(Pass {
                    end,
                    standing,
                    activated,
                });
            }
            match self.act(&step, &look, &view, holder.custody(), left(until)) {
                Ok(()) => activated |= step == Step::Activate,
                // Somebody else was faster: what there is to do now is another thing.
                Err(why) if why.is_conflict() => continue,
                Err(why) => return Err(why),
            }
            if matches!(step, Step::Copy | Step::Adopt { .. } | Step::Mark) {
                take_again(holder, now)?;
            }
            if Instant::now() >= until {
                return Err(MemberError::Late);
            }
        }
        Err(MemberError::Late)
    }

    /// How the ring on etcd stands, and what the servers of its nodes say of themselves. Takes no step.
    pub fn stands(
        &mut self,
        holder: &dyn Holder,
        now: UnixTime,
    ) -> Result<(Standing, Vec<Entry>), MemberError> {
        if let Some(opened) = holder.opened() {
            self.store.is_ring(opened.ring.id.0);
        }
        let until = Instant::now() + ANSWER;
        loop {
            match self.stands_now(holder, until, now) {
                // What was being read was compacted away.
                Err(why) if why.is_conflict() && Instant::now() < until => {}
                outcome => return outcome,
            }
        }
    }

    fn stands_now(
        &mut self,
        holder: &dyn Holder,
        until: Instant,
        now: UnixTime,
    ) -> Result<(Standing, Vec<Entry>), MemberError> {
        self.read_own(holder)?;
        let snapshot = self.store.read(left(until))?;
        let look = self.open_all(holder, &snapshot, until, now)?;
        let ring = look.head.as_ref().map(|it| &it.ring);
        let standing = look.standing(ring.or(holder.opened().map(|it| &it.ring)));
        let names: Vec<String> = standing.nodes.iter().map(|(name, _)| name.to_string()).collect();
        let live = self.store.live(&snapshot, &names, left(until))?;
        Ok((standing, live))
    }

    /// What others are shown and told of is the copy as it is stored.
    fn read_own(&mut self, holder: &dyn Holder) -> Result<(), MemberError> {
        let Some(opened) = holder.opened() else {
            self.own = None;
            return Ok(());
        };
        let head = &opened.head;
        if self.own.as_ref().is_none_or(|own| own.stored.hash != head.hash) {
            let held = opened.keys();
            let mut derivations = Derivations::of_an_opening();
            let custody = holder.custody();
            let own = custody.open_one(&head.name, &head.name, &head.bytes, held, &mut derivations);
            self.own = Some(Arc::new(own.map_err(MemberError::Open)?));
        }
        Ok(())
    }

    /// Who this node is: 16 bytes that were made with its copy, and the machine that it is on. A copy that was taken to
    /// another machine is another instance.
    fn me(&mut self, custody: &Custody) -> Result<Me, MemberError> {
        if let Some(me) = &self.me {
            return Ok(me.clone());
        }
        self.store.local().create_directories()?;
        let fresh: [u8; 16] = random().map_err(|why| MemberError::Copy(why.to_string()))?;
        let own = self.store.local().instance(fresh)?;
        let machine = custody.machine.as_deref().unwrap_or_default().trim();
        let context = Context::new(INSTANCE_LABEL).with(&own).with(machine.as_bytes());
        let hash = kdf::sha256(context.as_bytes());
        let mut instance = [0; 16];
        instance.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        let me = Me {
            name: self.name.clone(),
            instance,
            format: generation::VERSION,
        };
        Ok(self.me.insert(me).clone())
    }
}

/// What was written to the copy must show there.
fn take_again(holder: &mut dyn Holder, now: UnixTime) -> Result<(), MemberError> {
    let state = |holder: &dyn Holder| holder.opened().map(|it| (it.head.hash, reported(it)));
    let before = state(holder);
    holder.reread(now).map_err(MemberError::Copy)?;
    match state(holder) == before {
        true => Err(MemberError::Copy(
            "it is the same as before, although it was written".into(),
        )),
        false => Ok(()),
    }
}

/// The name of a node as the configuration or the host has it, in lower case.
pub fn node_name(text: &str) -> Result<NodeName, members::MalformedNodeName> {
    text.to_ascii_lowercase().parse()
}

fn version(it: &Version) -> nodes::Version<'_> {
    nodes::Version {
        ring: &it.ring,
        hash: it.stored.hash,
        lineage: it.lineage,
        format: it.stored.format,
        unfinished: it
            .stored
            .header
            .slots
            .iter()
            .any(|slot| it.ring.removed.binary_search(&slot.id).is_ok()),
    }
}

fn reported(opened: &Opened) -> Option<KeyId> {
    opened.mark.as_ref().map(|mark| mark.reported.clone())
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now()).min(ANSWER)
}

fn changes_the_ring(step: &Step) -> bool {
    matches!(
        step,
        Step::OpenFork { .. }
            | Step::Register
            | Step::Remove { .. }
            | Step::Join
            | Step::Propose
            | Step::Activate
    )
}

/// What a newer version wrote is never written back, and a copy that is frozen tells that something is missing.
fn may_change(look: &Look, opened: Option<&Opened>) -> bool {
    let newer = look.head.iter().chain(&look.shown).any(|it| !it.writable);
    !newer && opened.is_none_or(|it| it.frozen.is_none())
}
