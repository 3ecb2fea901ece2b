//! Reading a ring on etcd: all of it at one moment, and of what strangers have put there no more than names.
//!
//! Whoever can write to etcd can put any number of megabytes under the prefix. So a value is read by its exact key alone, few
//! in one request, and of a directory so many names. What is longer than it can be is cut: it is damaged, and stops nothing
//! else.

use std::time::Duration;

use super::{EtcdStore, bounded};
use crate::etcd::{
    Deadline, EtcdError, Found, KeyValue, LeaseId, Op, OpAnswer, Outcome, Range, Revision, Span, Txn,
};
use crate::format::generation::MAX_LEN;
use crate::format::superseded;
use crate::store::file::parse_name;
use crate::store::{Stamp, StoreError};

/// Stands for the head in a stamp while histories have parted: nothing is saved on it.
pub(super) const PARTED: &str = "parted";
/// Directories of which names are read, and how many.
const DIRECTORIES: [(&str, u32); 3] = [("gen", 256), ("shown", 256), ("superseded", 64)];
/// Generations before the head that are loaded: more than are kept.
const OLDER: usize = 7;
/// Values in one request: whoever puts them may use the 1.5 MiB that etcd takes for each, and an answer holds 8.
const AT_ONCE: usize = 4;
/// How often it is read anew where what was being read is compacted away.
const TRIES: usize = 3;
/// Longest acknowledgement, and longest record of a backup: their names have up to 253 bytes, and the rest is small.
const MAX_WORD: usize = 4 * 1024;
/// Longest account of a server.
const MAX_LIVE: usize = 64 * 1024;
/// Longest name in a directory that is taken for one.
const MAX_NAME: usize = 256;

/// A ring on etcd as it was at one moment. Whatever else is asked of it is answered as it was then.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which ring; none where there is none.
    pub id: Option<[u8; 16]>,
    /// The name of its newest generation.
    pub head: Option<String>,
    /// What lies under that name.
    pub newest: Option<Entry>,
    /// The generations in its history, the head among them.
    pub names: Vec<Named>,
    /// Those that nodes have shown.
    pub shown: Vec<Named>,
    /// The records of replaced ring keys.
    pub superseded: Vec<Named>,
    /// The nonce while histories have parted.
    pub fork: Option<[u8; 16]>,
    /// The record of the last backup.
    pub backup: Option<Vec<u8>>,
    /// There are more names than were read.
    pub crowded: bool,
    at: Revision,
    cluster: u64,
}

/// What lies under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name in its directory.
    pub name: String,
    /// What is there; one byte more than there can be, where there is more.
    pub bytes: Vec<u8>,
    /// When it was put there.
    pub at: Revision,
    /// Whether it ends by itself, as all does that a server says of itself.
    pub leased: bool,
}

/// A generation, or a record of a replaced ring key, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// When what lies there was put there.
    pub at: Revision,
}

impl Named {
    /// The number in its name; 0 where that is no generation's.
    pub fn number(&self) -> u64 {
        parse_name(&self.name).map_or(0, |(number, _)| number)
    }
}

impl Snapshot {
    /// Name and bytes of the newest generation; none where there is no head.
    pub fn head_bytes(&self) -> Result<Option<(&str, &[u8])>, StoreError> {
        let Some(head) = self.head.as_deref() else {
            return Ok(None);
        };
        let newest = self.newest.as_ref().ok_or_else(|| {
            StoreError::Corrupt(format!(
                "the head in etcd names {head}, which is not there: a node whose copy has it puts it back"
            ))
        })?;
        Ok(Some((head, &newest.bytes)))
    }

    /// What a change compares: the head, and after it the names of all that is there.
    pub(super) fn stamp(&self) -> Stamp {
        let Some(head) = &self.head else {
            return Stamp::default();
        };
        let first = match self.fork {
            Some(_) => PARTED.to_owned(),
            None => head.clone(),
        };
        let mut names: Vec<String> = self.names.iter().map(|it| it.name.clone()).collect();
        names.sort_unstable();
        Stamp(std::iter::once(first).chain(names).collect())
    }

    /// The newest of those before the head. What is called later than the head is nothing of its history.
    pub(super) fn older(&self) -> Vec<String> {
        let head = self.names.iter().find(|it| Some(&it.name) == self.head.as_ref());
        let last = head.map_or(u64::MAX, Named::number);
        let mut older: Vec<&Named> = self.names.iter().filter(|it| it.number() <= last).collect();
        older.retain(|it| Some(&it.name) != self.head.as_ref());
        older.sort_unstable_by_key(|it| std::cmp::Reverse(it.number()));
        older.iter().take(OLDER).map(|it| it.name.clone()).collect()
    }
}

impl EtcdStore {
    /// What there is at this moment, by a quorum's word; an empty one where there is no ring.
    pub fn read(&self, within: Duration) -> Result<Snapshot, StoreError> {
        let until = Deadline::within(bounded(within));
        again(|| self.read_once(until))
    }

    /// Of these nodes, what each has acknowledged.
    pub fn said(&self, of: &Snapshot, nodes: &[String], within: Duration) -> Result<Vec<Entry>, StoreError> {
        self.values(of, ("nodes", MAX_WORD), nodes, within)
    }

    /// Of these nodes, what the server of each says of itself.
    pub fn live(&self, of: &Snapshot, nodes: &[String], within: Duration) -> Result<Vec<Entry>, StoreError> {
        self.values(of, ("live", MAX_LIVE), nodes, within)
    }

    /// Those of these generations that nodes have shown.
    pub fn shown(&self, of: &Snapshot, names: &[String], within: Duration) -> Result<Vec<Entry>, StoreError> {
        self.values(of, ("shown", MAX_LEN), names, within)
    }

    /// Those of these generations that are in the ring's history.
    pub fn generations(
        &self,
        of: &Snapshot,
        names: &[String],
        within: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        self.values(of, ("gen", MAX_LEN), names, within)
    }

    /// Those of these records of replaced ring keys that are there.
    pub fn superseded(
        &self,
        of: &Snapshot,
        names: &[String],
        within: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        self.values(of, ("superseded", superseded::MAX_LEN), names, within)
    }

    fn read_once(&self, until: Deadline) -> Result<Snapshot, StoreError> {
        let Some(id) = self.find(until.left())? else {
            return Ok(Snapshot::default());
        };
        let mut snapshot = match self.first(&id, &DIRECTORIES, until) {
            // A name can be as long as a value: then it goes without any.
            Err(EtcdError::TooLarge(_)) => Snapshot {
                crowded: true,
                ..self.taken(&id, self.first(&id, &[], until)?)?
            },
            outcome => self.taken(&id, outcome?)?,
        };
        if let Some(head) = snapshot.head.clone() {
            let newest = self.generations(&snapshot, &[head], until.left())?;
            snapshot.newest = newest.into_iter().next();
        }
        Ok(snapshot)
    }

    /// What has a name of its own, and the names in these directories.
    fn first(
        &self,
        id: &[u8; 16],
        directories: &[(&str, u32)],
        until: Deadline,
    ) -> Result<Outcome, EtcdError> {
        let exact = ["head", "fork", "backup"].map(|name| Ok(Range::of(Span::key(self.key(id, name))?)));
        let listed = directories.iter().map(|(directory, limit)| {
            Ok(Range {
                keys_only: true,
                limit: *limit,
                ..Range::of(Span::prefix(self.key(id, &format!("{directory}/")))?)
            })
        });
        let gets = exact.into_iter().chain(listed);
        self.client
            .txn(only(gets.collect::<Result<_, _>>()?), until.left())
    }

    fn taken(&self, id: &[u8; 16], outcome: Outcome) -> Result<Snapshot, StoreError> {
        let mut snapshot = Snapshot {
            id: Some(*id),
            at: outcome.revision,
            cluster: outcome.cluster_id,
            ..Snapshot::default()
        };
        let mut answers = outcome.answers.into_iter().map(found);
        let mut next = || answers.next().flatten();
        if let Some(kv) = next().and_then(single) {
            let head = String::from_utf8(kv.value.clone()).ok();
            let head = head.filter(|head| parse_name(head).is_some());
            snapshot.head = Some(head.ok_or_else(|| corrupt(&kv, "it names no generation; delete this key alone, and the nodes bring the ring back from their copies"))?);
        }
        if let Some(kv) = next().and_then(single) {
            let nonce = kv.value.as_slice().try_into();
            snapshot.fork = Some(nonce.map_err(|_| corrupt(&kv, "it is not 16 bytes; delete this key alone, and histories that have parted are parted anew"))?);
        }
        let backup = next().and_then(single).map(|kv| kv.value);
        snapshot.backup = backup.filter(|record| record.len() <= MAX_WORD);
        let mut listed = |directory: &str| -> Vec<Named> {
            let Some(found) = next() else {
                return Vec::new();
            };
            snapshot.crowded |= found.more;
            let prefix = self.key(id, &format!("{directory}/"));
            let names = found.kvs.iter().filter_map(|kv| named(kv, &prefix));
            names.collect()
        };
        // Of anything else no generation is made, and no file: whoever can write to etcd chooses these names.
        let ours = |it: &Named| parse_name(&it.name).is_some();
        let (names, shown, superseded) = (listed("gen"), listed("shown"), listed("superseded"));
        snapshot.names = names.into_iter().filter(ours).collect();
        snapshot.shown = shown.into_iter().filter(ours).collect();
        snapshot.superseded = superseded;
        Ok(snapshot)
    }

    /// What lay under these names of a directory at the snapshot's moment, and no more of each than it can be.
    /// [`StoreError::Conflict`] where that moment can be asked for no more.
    fn values(
        &self,
        of: &Snapshot,
        (directory, most): (&str, usize),
        names: &[String],
        within: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        let Some(id) = of.id else {
            return Ok(Vec::new());
        };
        let until = Deadline::within(bounded(within));
        let mut entries = Vec::new();
        for few in names.chunks(AT_ONCE) {
            let keys = few
                .iter()
                .map(|name| self.key(&id, &format!("{directory}/{name}")));
            let exact = |key| {
                Ok(Range {
                    at: Some(of.at),
                    ..Range::of(Span::key(key)?)
                })
            };
            let gets = keys.map(exact).collect::<Result<_, EtcdError>>()?;
            let outcome = match self.client.txn(only(gets), until.left()) {
                Err(EtcdError::Compacted(_)) => return Err(self.conflict()),
                Ok(outcome) if outcome.cluster_id != of.cluster => return Err(self.conflict()),
                outcome => outcome?,
            };
            let answers = outcome.answers.into_iter().map(|it| found(it).and_then(single));
            let there = few.iter().zip(answers);
            entries.extend(there.filter_map(|(name, kv)| Some(entry(name, kv?, most))));
        }
        Ok(entries)
    }
}

/// Reads anew where the moment that was being read is compacted away.
pub(super) fn again<T>(mut read: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut outcome = read();
    for _ in 1..TRIES {
        match outcome {
            Err(StoreError::Conflict(_)) => outcome = read(),
            _ => break,
        }
    }
    outcome
}

/// Reads, and changes nothing.
fn only(ranges: Vec<Range>) -> Txn {
    Txn {
        then: ranges.into_iter().map(Op::Get).collect(),
        ..Txn::default()
    }
}

fn found(answer: OpAnswer) -> Option<Found> {
    match answer {
        OpAnswer::Found(found) => Some(found),
        OpAnswer::Put | OpAnswer::Deleted(_) => None,
    }
}

fn single(found: Found) -> Option<KeyValue> {
    found.kvs.into_iter().next()
}

fn named(kv: &KeyValue, prefix: &str) -> Option<Named> {
    let name = kv.key.strip_prefix(prefix.as_bytes())?;
    let name = str::from_utf8(name).ok().filter(|it| it.len() <= MAX_NAME)?;
    Some(Named {
        name: name.to_owned(),
        at: kv.mod_revision,
    })
}

fn entry(name: &str, kv: KeyValue, most: usize) -> Entry {
    let mut bytes = kv.value;
    // One byte too many is refused everywhere, and more of it says no more.
    if bytes.len() > most {
        bytes.truncate(most.saturating_add(1));
        bytes.shrink_to_fit();
    }
    Entry {
        name: name.to_owned(),
        bytes,
        at: kv.mod_revision,
        leased: kv.lease != LeaseId(0),
    }
}

fn corrupt(kv: &KeyValue, what: &str) -> StoreError {
    StoreError::Corrupt(format!("{}: {what}", kv.key.escape_ascii()))
}

impl From<EtcdError> for StoreError {
    fn from(why: EtcdError) -> Self {
        match why {
            EtcdError::Config(text) | EtcdError::Denied(text) => Self::Barred(text),
            EtcdError::TooLarge(text) | EtcdError::Malformed(text) => Self::Corrupt(text),
            EtcdError::Unavailable(text)
            | EtcdError::NoQuorum(text)
            | EtcdError::Unknown(text)
            | EtcdError::Compacted(text)
            | EtcdError::NoLease(text)
            | EtcdError::Refused(text) => Self::Away(text),
        }
    }
}
