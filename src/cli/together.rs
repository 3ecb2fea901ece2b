//! A verb on a ring that several nodes keep: it takes the steps of this node, as the server does, until what it wants is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::output::Form;
use super::place::{member, own_custody};
use super::progress::Progress;
use crate::config::Config;
use crate::crypto::secret::Key32;
use crate::custody::{CommitError, Custody, Opened};
use crate::keyring::members;
use crate::keyring::ring::UnixTime;
use crate::member::{End, Holder, Member, Pass, Standing, Want};
use crate::store::{Entry, Stamp};
use crate::telemetry::now;

/// How often etcd is read while others have to do something.
const POLL: Duration = Duration::from_millis(200);
/// Longest time that a verb waits for what it does itself.
const OWN: Duration = Duration::from_secs(20);

/// This node, and its copy in the hands of a verb.
pub(super) struct Together {
    pub(super) member: Member,
    pub(super) copy: Copy,
}

/// This node's copy.
pub(super) struct Copy {
    custody: Custody,
    opened: Option<Opened>,
}

impl Together {
    /// `None` where one node has the ring for itself. No root is asked where the ring key at hand fits.
    pub(super) fn of(config: &Config, held: Option<&Arc<Key32>>) -> Result<Option<Self>, Failure> {
        let Some(member) = member(config)? else {
            return Ok(None);
        };
        let custody = own_custody(config)?;
        // A machine that has no copy is nobody's: it can look, and remove a node.
        let opened = match custody.store.stamp()? {
            stamp if stamp == Stamp::default() => None,
            _ => Some(custody.open(held, now())?),
        };
        let copy = Copy { custody, opened };
        Ok(Some(Self { member, copy }))
    }

    /// The copy, where this node is one of those that keep the ring.
    pub(super) fn registered(&self) -> Result<&Opened, Failure> {
        let name = self.member.name();
        let opened = self.copy.opened.as_ref();
        let here = opened.filter(|it| members::registered(&it.ring.members).any(|it| it.name == *name));
        here.ok_or_else(|| {
            Failure::refused(
                format!("cannot do this here: node {name} does not keep the ring"),
                "run it on a control-plane node where `kekring serve` runs, as root or as its user",
            )
        })
    }

    /// The ring key of the copy, where that is open.
    pub(super) fn ring_key(&self) -> Option<&Arc<Key32>> {
        self.copy.opened.as_ref().map(|it| &it.ring_key)
    }

    /// Brings this node up to date.
    pub(super) fn refresh(&mut self) -> Result<Pass, Failure> {
        self.pass(&Want::nothing())
    }

    /// Brings this node up to date, for a change: histories that have parted are joined before anything else.
    pub(super) fn one_history(&mut self) -> Result<(), Failure> {
        let pass = self.refresh()?;
        let End::Waiting(missing) = pass.end else {
            return Ok(());
        };
        if !pass.standing.parted {
            return Ok(());
        }
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Err(Failure::unfinished(
            format!(
                "nothing was changed: the nodes' histories of the ring have parted, and joining them waits for {}",
                missing.join("; ")
            ),
            "bring the node back, and they are joined by themselves; when it is gone for good, `kekring node remove NODE`",
        ))
    }

    /// How the ring stands, and what its servers say of themselves; nothing is changed.
    pub(super) fn look(&mut self) -> Result<(Standing, Vec<Entry>), Failure> {
        Ok(self.member.stands(&self.copy, now())?)
    }

    /// One pass.
    pub(super) fn pass(&mut self, want: &Want) -> Result<Pass, Failure> {
        let until = Instant::now() + OWN;
        Ok(self.member.pass(&mut self.copy, want, until, now())?)
    }

    /// Passes until `done`, or until `deadline`: then it returns for whom it waits.
    pub(super) fn until(
        &mut self,
        want: &Want,
        deadline: Instant,
        (form, what): (Form, &str),
        done: impl Fn(&Opened, &Standing) -> Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        let mut shown = None;
        loop {
            let pass = self.pass(want)?;
            let waiting = match (&pass.end, &self.copy.opened) {
                (End::Waiting(missing), _) => missing.iter().map(ToString::to_string).collect(),
                (End::Refused(refusal), _) => {
                    return Err(CommitError::Refused(refusal.clone()).into());
                }
                (End::Frozen, Some(opened)) => return Err(frozen(opened)),
                (_, Some(opened)) => done(opened, &pass.standing),
                (_, None) => vec!["this node's copy of the ring".into()],
            };
            if waiting.is_empty() || Instant::now() >= deadline {
                return Ok(waiting);
            }
            shown.get_or_insert_with(|| {
                Progress::begin(form, format!("{what}, waiting for {}", waiting.join("; ")))
            });
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(POLL);
        }
    }
}

/// Registered nodes that have not acknowledged this generation, but for those that do not count.
pub(super) fn behind(standing: &Standing, generation: u64, without: &[members::NodeName]) -> Vec<String> {
    let counted = standing.nodes.iter().filter(|(name, _)| !without.contains(name));
    let behind = counted.filter(|(_, said)| said.is_none_or(|said| said < generation));
    behind
        .map(|(name, said)| match said {
            Some(said) => format!("{name}: it has acknowledged generation {said}, and not yet {generation}"),
            None => format!("{name}: it has acknowledged nothing that can be verified"),
        })
        .collect()
}

fn frozen(opened: &Opened) -> Failure {
    match &opened.frozen {
        Some(why) => CommitError::Frozen(why.clone()).into(),
        None => Failure::refused(
            "the ring is not changed: a newer kekring wrote what is in etcd",
            "use that version, or a later one",
        ),
    }
}

impl Holder for Copy {
    fn custody(&self) -> &Custody {
        &self.custody
    }

    fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    fn reread(&mut self, now: UnixTime) -> Result<(), String> {
        let opened = match &self.opened {
            Some(opened) => self.custody.reopen(opened, now),
            None => self.custody.open(None, now),
        };
        let mut opened = opened.map_err(|why| why.to_string())?;
        let mark = self.custody.next_mark(opened.mark.as_ref(), &opened, now);
        self.custody
            .settle(&opened, mark.as_ref())
            .map_err(|why| why.to_string())?;
        opened.mark = mark;
        self.opened = Some(opened);
        Ok(())
    }
}
