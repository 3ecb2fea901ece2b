//! Changing a ring on etcd: each change in one transaction, under its conditions, and read back.

use std::time::Duration;

use super::{Entry, EtcdStore, bounded};
use crate::etcd::{
    Compare, EtcdError, KeyValue, LeaseId, MAX_REQUEST, Op, Range, Revision, Span, Target, Txn, WITHIN,
};
use crate::format::covered::Covered;
use crate::format::superseded;
use crate::store::{StoreError, Verify};

/// A generation to become the head.
pub struct Change<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is stored.
    pub bytes: &'a [u8],
    /// The head must still be this one; none: there must be none, and no other ring either.
    pub head: Option<&'a str>,
    /// The nonce must still be this one, and goes; none: there must be none.
    pub fork: Option<[u8; 16]>,
    /// Generations that were shown and are in this one: they go, as they were put there then.
    pub joined: &'a [(Covered, Revision)],
    /// Records of replaced ring keys that are left with it.
    pub superseded: &'a [Vec<u8>],
}

/// What keeps a node's word on itself alive.
#[derive(Debug, Default)]
pub struct Pulse(Option<LeaseId>);

/// How long it stays after a node has fallen silent.
const LEASE: Duration = Duration::from_secs(30);
/// Most generations that go in one transaction: well within what etcd does at once.
const MOST_REMOVED: usize = 32;
/// Names of what stays that are shown.
const MOST_SHOWN: u32 = 8;

impl EtcdStore {
    /// Makes a generation the head, reads it back, and gives it to `verify`. [`StoreError::Conflict`] where a condition no
    /// longer holds. Where it is not known what became of it, its name tells; where even that cannot be read, the error says so.
    pub fn commit(
        &self,
        id: [u8; 16],
        change: &Change<'_>,
        verify: Verify<'_>,
        within: Duration,
    ) -> Result<(), StoreError> {
        if change.bytes.len() + change.name.len() >= MAX_REQUEST {
            return Err(StoreError::Corrupt(format!(
                "a generation of {} bytes is more than etcd takes in one request",
                change.bytes.len()
            )));
        }
        let outcome = self.client.txn(self.transaction(&id, change)?, bounded(within));
        match outcome {
            Ok(outcome) if !outcome.succeeded => return Err(self.conflict()),
            Ok(_) => {}
            Err(EtcdError::Unknown(why)) => {
                // Where this cannot be read either, it must not seem that nothing was sent.
                let found = self.generation(&id, change.name);
                let there = found.map_err(|read| unread(&why, &read))?.is_some();
                if !there {
                    let seen = self.unknown(&id, change, &why);
                    return Err(seen.map_err(|read| unread(&why, &read))?);
                }
            }
            Err(why) => return Err(why.into()),
        }
        let written = self.generation(&id, change.name);
        let written = written.map_err(|read| unread("the ring is changed", &read))?;
        let again = written.map(|kv| kv.value).unwrap_or_default();
        let odd = |what: String| {
            StoreError::Corrupt(format!(
                "{} is in {} and is not what was written: {what}",
                change.name, self.shown
            ))
        };
        if again != change.bytes {
            return Err(odd("it reads back as something else".into()));
        }
        self.is_ring(id);
        verify(&again).map_err(odd)
    }

    fn transaction(&self, id: &[u8; 16], change: &Change<'_>) -> Result<Txn, StoreError> {
        let (head, fork) = (self.span(id, "head")?, self.span(id, "fork")?);
        let first = change.head.is_none() && change.fork.is_none();
        let mut compares = vec![
            match first {
                // And the only one.
                true => Compare::absent(Span::prefix(format!("{}/", self.prefix))?),
                false => still(&head, change.head.map(str::as_bytes)),
            },
            still(&fork, change.fork.as_ref().map(<[u8; 16]>::as_slice)),
        ];
        let mut then = vec![
            put(self.span(id, &format!("gen/{}", change.name))?, change.bytes),
            put(head, change.name.as_bytes()),
        ];
        if change.fork.is_some() {
            then.push(Op::Delete(fork));
        }
        for (covered, at) in change.joined.iter().filter(|(it, _)| it.is_by(change.bytes)) {
            let key = self.span(id, &format!("shown/{}", covered.name()))?;
            compares.push(Compare::unchanged(key.clone(), *at));
            then.push(Op::Delete(key));
        }
        for record in change.superseded {
            then.push(self.leave(id, record)?);
        }
        Ok(Txn {
            compares,
            then,
            otherwise: Vec::new(),
        })
    }

    /// It is not there: another change has come before it, or it may yet come.
    fn unknown(&self, id: &[u8; 16], change: &Change<'_>, why: &str) -> Result<StoreError, StoreError> {
        let found = self.client.range(&Range::of(self.span(id, "head")?), WITHIN)?;
        let head = found.kvs.first().map(|kv| kv.value.as_slice());
        if head != change.head.map(str::as_bytes) {
            return Ok(self.conflict());
        }
        Ok(StoreError::Away(format!(
            "{why}; it is not there, and may yet come: read the ring again before changing it"
        )))
    }

    fn generation(&self, id: &[u8; 16], name: &str) -> Result<Option<KeyValue>, StoreError> {
        self.value(id, &format!("gen/{name}"))
    }

    fn value(&self, id: &[u8; 16], name: &str) -> Result<Option<KeyValue>, StoreError> {
        let range = Range::of(self.span(id, name)?);
        Ok(self.client.range(&range, WITHIN)?.kvs.into_iter().next())
    }

    /// Makes a generation that is sound elsewhere the head where etcd holds no ring.
    pub fn begin(&self, id: [u8; 16], name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let first = Change {
            name,
            bytes,
            head: None,
            fork: None,
            joined: &[],
            superseded: &[],
        };
        self.commit(id, &first, &|_| Ok(()), WITHIN)
    }

    /// Puts a generation beside the head, for all to see. Its name holds its hash: repeating it changes nothing.
    pub fn show(&self, id: [u8; 16], name: &str, bytes: &[u8], within: Duration) -> Result<(), StoreError> {
        let key = self.span(&id, &format!("shown/{name}"))?;
        self.put(Vec::new(), key, bytes, within)
    }

    /// Puts the head's own bytes in place of what was read at `damaged`, or where there is nothing, while it is the head.
    pub fn put_back(
        &self,
        id: [u8; 16],
        head: &str,
        damaged: Option<Revision>,
        bytes: &[u8],
        within: Duration,
    ) -> Result<(), StoreError> {
        let (head_key, key) = (self.span(&id, "head")?, self.span(&id, &format!("gen/{head}"))?);
        let compares = vec![still(&head_key, Some(head.as_bytes())), as_read(&key, damaged)];
        self.put(compares, key, bytes, within)
    }

    /// Writes what a node acknowledges, in place of what was read at `known`; none: there must be nothing.
    pub fn acknowledge(
        &self,
        id: [u8; 16],
        node: &str,
        bytes: &[u8],
        known: Option<Revision>,
        within: Duration,
    ) -> Result<(), StoreError> {
        let key = self.span(&id, &format!("nodes/{node}"))?;
        self.put(vec![as_read(&key, known)], key, bytes, within)
    }

    /// Writes the nonce of a fork while the head is still `head` and the nonce `instead_of`.
    pub fn open_fork(
        &self,
        id: [u8; 16],
        nonce: [u8; 16],
        head: Option<&str>,
        instead_of: Option<[u8; 16]>,
        within: Duration,
    ) -> Result<(), StoreError> {
        let (head_key, key) = (self.span(&id, "head")?, self.span(&id, "fork")?);
        let compares = vec![
            still(&head_key, head.map(str::as_bytes)),
            still(&key, instead_of.as_ref().map(<[u8; 16]>::as_slice)),
        ];
        self.put(compares, key, &nonce, within)
    }

    /// Says what a node's server is doing, for as long as it goes on saying so. It is written where it has `changed`, or is
    /// there no more.
    pub fn beat(&self, pulse: &mut Pulse, node: &str, bytes: &[u8], changed: bool) -> Result<(), StoreError> {
        let Some(id) = self.id.get().copied() else {
            return Ok(());
        };
        let kept = match pulse.0 {
            Some(lease) => self.client.lease_keep_alive_once(lease, WITHIN)?.map(|it| it.id),
            None => None,
        };
        let lease = match kept {
            Some(_) if !changed => return Ok(()),
            Some(lease) => lease,
            None => self.client.lease_grant(LEASE, WITHIN)?.id,
        };
        pulse.0 = Some(lease);
        let put = Op::Put {
            key: self.span(&id, &format!("live/{node}"))?,
            value: bytes.to_vec(),
            lease,
        };
        let then = vec![put];
        self.client.txn(
            Txn {
                then,
                ..Txn::default()
            },
            WITHIN,
        )?;
        Ok(())
    }

    /// Takes the ring out of etcd, where its head is still as it was read and histories have not parted: the head, of the other
    /// generations those that are proven to be covered by it, and what is said of nodes. Returns what is still there, a few
    /// names of it.
    pub fn take_away(
        &self,
        id: [u8; 16],
        head: &Entry,
        (older, shown): (&[Covered], &[Covered]),
    ) -> Result<Vec<String>, StoreError> {
        self.remove_generations(older, &[])?;
        self.remove_shown(shown)?;
        let (head_key, newest) = (
            self.span(&id, "head")?,
            self.span(&id, &format!("gen/{}", head.name))?,
        );
        let compares = vec![
            still(&head_key, Some(head.name.as_bytes())),
            Compare::unchanged(newest.clone(), head.at),
            still(&self.span(&id, "fork")?, None),
        ];
        let mut then = vec![Op::Delete(head_key), Op::Delete(newest)];
        then.push(Op::Delete(self.span(&id, "backup")?));
        for directory in ["nodes/", "live/", "superseded/"] {
            then.push(Op::Delete(Span::prefix(self.key(&id, directory))?));
        }
        let txn = Txn {
            compares,
            then,
            otherwise: Vec::new(),
        };
        if !self.client.txn(txn, WITHIN)?.succeeded {
            return Err(self.conflict());
        }
        let mut rest = Range::of(Span::prefix(self.key(&id, ""))?);
        (rest.keys_only, rest.limit) = (true, MOST_SHOWN);
        let found = self.client.range(&rest, WITHIN)?.kvs;
        Ok(found.iter().map(|kv| kv.key.escape_ascii().to_string()).collect())
    }

    pub(super) fn put_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        match self.id.get() {
            Some(id) => self.put(Vec::new(), self.span(id, "backup")?, record, WITHIN),
            None => Err(StoreError::Unavailable(format!(
                "there is no ring in {}",
                self.shown
            ))),
        }
    }

    /// Deletes generations of the ring's history by what is proven of them, and leaves records of replaced ring keys in the same
    /// transaction: while the head is the one for whose sake they go, and histories have not parted. Returns the names that are
    /// gone.
    pub fn remove_generations(
        &self,
        gone: &[Covered],
        leaving: &[Vec<u8>],
    ) -> Result<Vec<String>, StoreError> {
        self.remove_from("gen", gone, leaving)
    }

    /// The same of what nodes have shown.
    pub fn remove_shown(&self, gone: &[Covered]) -> Result<Vec<String>, StoreError> {
        self.remove_from("shown", gone, &[])
    }

    fn remove_from(
        &self,
        directory: &str,
        gone: &[Covered],
        leaving: &[Vec<u8>],
    ) -> Result<Vec<String>, StoreError> {
        let Some(id) = self.id.get().filter(|_| !gone.is_empty() || !leaving.is_empty()) else {
            return Ok(Vec::new());
        };
        let (head_key, fork) = (self.span(id, "head")?, self.span(id, "fork")?);
        let found = self.client.range(&Range::of(head_key.clone()), WITHIN)?;
        // A head that came back from an earlier time may be what was to go.
        let Some(head) = found.kvs.into_iter().next() else {
            return Ok(Vec::new());
        };
        let name = String::from_utf8_lossy(&head.value).into_owned();
        let newest = self.value(id, &format!("gen/{name}"))?.map(|kv| kv.value);
        let stays = |it: &&Covered| newest.as_ref().is_some_and(|newest| it.is_by(newest));
        let mut old = Vec::new();
        for covered in gone.iter().filter(stays) {
            let key = format!("{directory}/{}", covered.name());
            let there = self.value(id, &key)?.filter(|kv| covered.is(&kv.value));
            old.extend(there.map(|kv| (covered.name(), key, kv.mod_revision)));
        }
        let records = leaving.iter().map(|record| self.leave(id, record));
        let mut then: Vec<Op> = records.collect::<Result<_, _>>()?;
        let (mut batches, mut removed) = (old.chunks(MOST_REMOVED), Vec::new());
        let mut few = batches.next().unwrap_or_default();
        loop {
            let mut compares = vec![
                Compare::unchanged(head_key.clone(), head.mod_revision),
                still(&fork, None),
            ];
            for (_, key, at) in few {
                let span = self.span(id, key)?;
                compares.push(Compare::unchanged(span.clone(), *at));
                then.push(Op::Delete(span));
            }
            let txn = Txn {
                compares,
                then: std::mem::take(&mut then),
                otherwise: Vec::new(),
            };
            // Where another head has come meanwhile, whoever reads it removes what is too much.
            if txn.then.is_empty() || !self.client.txn(txn, WITHIN)?.succeeded {
                return Ok(removed);
            }
            removed.extend(few.iter().map(|(name, _, _)| (*name).to_owned()));
            few = match batches.next() {
                Some(next) => next,
                None => return Ok(removed),
            };
        }
    }

    /// Puts a record of a replaced ring key where a node that holds that key finds it.
    fn leave(&self, id: &[u8; 16], record: &[u8]) -> Result<Op, StoreError> {
        Ok(put(self.span(id, &superseded::name(record))?, record))
    }

    /// A small change that may be repeated; what is not known of it is found out by reading again.
    fn put(
        &self,
        compares: Vec<Compare>,
        key: Span,
        value: &[u8],
        within: Duration,
    ) -> Result<(), StoreError> {
        self.change(compares, put(key, value), within)
    }

    /// One operation, where all of these hold.
    fn change(&self, compares: Vec<Compare>, op: Op, within: Duration) -> Result<(), StoreError> {
        let txn = Txn {
            compares,
            then: vec![op],
            otherwise: Vec::new(),
        };
        match self.client.txn(txn, bounded(within)) {
            Ok(outcome) if outcome.succeeded => Ok(()),
            Ok(_) => Err(self.conflict()),
            Err(why) => Err(why.into()),
        }
    }

    fn span(&self, id: &[u8; 16], name: &str) -> Result<Span, StoreError> {
        Ok(Span::key(self.key(id, name))?)
    }

    pub(super) fn conflict(&self) -> StoreError {
        StoreError::Conflict(self.shown.clone())
    }
}

/// That a key still has this value; none: that it is not there.
fn still(key: &Span, value: Option<&[u8]>) -> Compare {
    match value {
        Some(value) => Compare::equal(key.clone(), Target::Value(value.to_vec())),
        None => Compare::absent(key.clone()),
    }
}

/// That a key is as it was read at that revision; none: that it is not there.
fn as_read(key: &Span, known: Option<Revision>) -> Compare {
    match known {
        Some(at) => Compare::unchanged(key.clone(), at),
        None => Compare::absent(key.clone()),
    }
}

/// Writes a key that stays.
fn put(key: Span, value: &[u8]) -> Op {
    Op::Put {
        key,
        value: value.to_vec(),
        lease: LeaseId::default(),
    }
}

/// What is known of a change that cannot be read back now.
fn unread(known: &str, why: &StoreError) -> StoreError {
    StoreError::Away(format!("{known}; and it cannot be read back now: {why}"))
}
