//! Changing a ring on etcd: each change in one transaction, under its conditions, and read back.

use std::time::Duration;

use super::{EtcdStore, bounded};
use crate::etcd::{
    Compare, EtcdError, KeyValue, LeaseId, MAX_REQUEST, Op, Range, Revision, Span, Target, Txn, WITHIN,
};
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
    /// Names of generations that were shown and are in this one.
    pub joined: &'a [String],
    /// Names of earlier generations that go.
    pub prune: &'a [String],
}

/// What keeps a node's word on itself alive.
#[derive(Debug, Default)]
pub struct Pulse(Option<LeaseId>);

/// How long it stays after a node has fallen silent.
const LEASE: Duration = Duration::from_secs(30);

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
        let compares = vec![
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
        for name in change.joined {
            then.push(Op::Delete(self.span(id, &format!("shown/{name}"))?));
        }
        for name in change.prune.iter().filter(|name| *name != change.name) {
            then.push(Op::Delete(self.span(id, &format!("gen/{name}"))?));
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
        let range = Range::of(self.span(id, &format!("gen/{name}"))?);
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
            prune: &[],
        };
        self.commit(id, &first, &|_| Ok(()), WITHIN)
    }

    /// Puts a generation beside the head, for all to see. Its name holds its hash: repeating it changes nothing.
    pub fn show(&self, id: [u8; 16], name: &str, bytes: &[u8], within: Duration) -> Result<(), StoreError> {
        let key = self.span(&id, &format!("shown/{name}"))?;
        self.put(Vec::new(), key, bytes, within)
    }

    /// Puts the head's own bytes in place of `damaged`, or where there is nothing, while it is the head.
    pub fn put_back(
        &self,
        id: [u8; 16],
        head: &str,
        damaged: Option<&[u8]>,
        bytes: &[u8],
        within: Duration,
    ) -> Result<(), StoreError> {
        let (head_key, key) = (self.span(&id, "head")?, self.span(&id, &format!("gen/{head}"))?);
        let compares = vec![still(&head_key, Some(head.as_bytes())), still(&key, damaged)];
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
        let same = match known {
            Some(at) => Compare::unchanged(key.clone(), at),
            None => Compare::absent(key.clone()),
        };
        self.put(vec![same], key, bytes, within)
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

    /// Takes the whole ring out of etcd, where its head is still this one and histories have not parted.
    pub fn take_away(&self, id: [u8; 16], head: &str) -> Result<(), StoreError> {
        let compares = vec![
            still(&self.span(&id, "head")?, Some(head.as_bytes())),
            still(&self.span(&id, "fork")?, None),
        ];
        let all = Op::Delete(Span::prefix(self.key(&id, ""))?);
        self.change(compares, all, WITHIN)
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

    pub(super) fn remove_generations(&self, names: &[String]) -> Result<(), StoreError> {
        let Some(id) = self.id.get().filter(|_| !names.is_empty()) else {
            return Ok(());
        };
        let head = self.span(id, "head")?;
        let found = self.client.range(&Range::of(head.clone()), WITHIN)?;
        // A head that came back from an earlier time may be what was to go.
        let Some(kv) = found.kvs.first() else {
            return Ok(());
        };
        let older = names.iter().filter(|name| name.as_bytes() != kv.value);
        let spans = older.map(|name| self.span(id, &format!("gen/{name}")));
        let then: Vec<Op> = spans.map(|span| span.map(Op::Delete)).collect::<Result<_, _>>()?;
        if then.is_empty() {
            return Ok(());
        }
        let txn = Txn {
            compares: vec![Compare::unchanged(head, kv.mod_revision)],
            then,
            otherwise: Vec::new(),
        };
        // Where another head has come meanwhile, whoever put it there has removed what is too much.
        self.client.txn(txn, WITHIN)?;
        Ok(())
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

    fn conflict(&self) -> StoreError {
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
