//! The etcd store of several control-plane nodes: one ring under a prefix, the same bytes as in files, and a copy in a
//! directory of each node.
//!
//! ```text
//! <prefix>/<ring id>/head                 the name of the newest generation; changes by compare-and-swap alone
//!                    gen/gen-N-….ring     it, and the two before
//!                    fork                 16 random bytes while histories have parted
//!                    shown/gen-N-….ring   what nodes have shown in that time
//!                    nodes/<node>         what the node has acknowledged
//!                    live/<node>          what its server says of itself; ends with its lease
//!                    backup               the record of the last backup
//!                    superseded/…         records of ring keys that were replaced
//! ```
//!
//! Everything is read as it was at one moment, by a quorum's word. A change names the head that it was made for; where its
//! outcome is unknown, the name of the generation, which no other attempt can have, tells what became of it.

mod find;
mod read;
mod write;

use std::sync::OnceLock;
use std::time::Duration;

pub use read::{Entry, Named, Snapshot};
pub use write::{Change, Pulse};

use read::again;

use super::{
    FileStore, Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy, StoredMark,
};
use crate::etcd::{Client, Config, Event, Revision, Span, WITHIN, WatchHandle};
use crate::format::covered::Covered;
use crate::format::{generation, mark};

/// Generations that are kept: what is older lies in backups and in the nodes' copies.
pub const KEPT_ON_ETCD: usize = 3;

/// A ring on etcd, and this node's copy of it.
pub struct EtcdStore {
    client: Client,
    prefix: String,
    /// Whose ring; found at the first read where nobody has said it.
    id: OnceLock<[u8; 16]>,
    local: FileStore,
    shown: String,
}

impl EtcdStore {
    /// Nothing is asked yet. `id` is the only ring that is accepted; where there is none, the only one that is there.
    pub fn new(
        config: Config,
        prefix: &str,
        id: Option<[u8; 16]>,
        local: FileStore,
    ) -> Result<Self, StoreError> {
        let members: Vec<String> = config.endpoints.iter().map(ToString::to_string).collect();
        Ok(Self {
            client: Client::new(config)?,
            shown: format!("etcd at {}, {prefix}", members.join(", ")),
            prefix: prefix.to_owned(),
            id: id.map(OnceLock::from).unwrap_or_default(),
            local,
        })
    }

    /// This node's copy.
    pub fn local(&self) -> &FileStore {
        &self.local
    }

    /// What this node's copy is of, where nobody has said which ring it should be.
    pub fn is_ring(&self, id: [u8; 16]) {
        // A configured one stays.
        let _ = self.id.set(id);
    }

    /// Tells of every change of the ring, as a hint: once it is known which ring, and from now on.
    pub fn watch(&self, tell: impl Fn() + Send + 'static) -> Option<WatchHandle> {
        let span = Span::prefix(self.key(self.id.get()?, "")).ok()?;
        let tell = move |event| {
            if let Event::Lost { why } = &event {
                tracing::debug!("{why}");
            }
            tell();
        };
        Some(self.client.watch(span, None::<Revision>, tell))
    }

    /// What in etcd suggests that a ring exists; empty when nothing does.
    pub fn traces(&self) -> Result<Vec<String>, StoreError> {
        self.rings(WITHIN)
    }

    /// The whole key of something of a ring.
    pub fn key(&self, id: &[u8; 16], name: &str) -> String {
        let id = data_encoding::HEXLOWER.encode(id);
        format!("{}/{id}/{name}", self.prefix)
    }
}

impl RingStore for EtcdStore {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    /// The head and what came before it, with the marks of this node's copy.
    fn load(&self) -> Result<Loaded, StoreError> {
        let (snapshot, older) = again(|| {
            let snapshot = self.read(WITHIN)?;
            snapshot.head_bytes()?;
            let older = self.generations(&snapshot, &snapshot.older(), WITHIN)?;
            Ok((snapshot, older))
        })?;
        let local = self.local.load()?;
        let mut loaded = Loaded {
            witness: witness(local.copies, &local.marks),
            marks: local.marks,
            stamp: snapshot.stamp(),
            backup: snapshot.backup,
            ..Loaded::default()
        };
        if snapshot.fork.is_some() {
            loaded
                .warnings
                .push("the nodes' histories of the ring have parted and are being joined".into());
        }
        if snapshot.crowded {
            loaded.warnings.push(format!(
                "there are more names of generations in {} than a ring has, and some are passed over: `etcdctl get --prefix --keys-only` lists them",
                self.shown
            ));
        }
        let head = snapshot.head;
        for Entry { name, bytes, .. } in snapshot.newest.into_iter().chain(older) {
            loaded.copies.push(StoredCopy {
                place: format!("{} in {}", name, self.shown),
                own: Some(&name) == head.as_ref(),
                name,
                bytes: Ok(bytes),
            });
        }
        Ok(loaded)
    }

    fn elsewhere(&self, _: &str) -> Vec<StoredCopy> {
        Vec::new()
    }

    fn further(&self) -> Vec<StoredCopy> {
        Vec::new()
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        Ok(self.read(WITHIN)?.stamp())
    }

    fn save(&self, new: &NewGeneration<'_>, base: &Stamp) -> Result<(String, Stamp), StoreError> {
        let stored = generation::parse(new.bytes).map_err(|why| StoreError::Corrupt(why.to_string()))?;
        let (head, names) = match base.0.split_first() {
            Some((head, names)) => (Some(head.clone()), names),
            None => (None, &[][..]),
        };
        if head.as_deref() == Some(read::PARTED) {
            return Err(StoreError::Away(
                "the nodes' histories of the ring have parted; it is changed again once they are joined, `kekring status` says who is missing".into(),
            ));
        }
        let name = super::generation_name(new.generation, &new.hash);
        let change = Change {
            name: &name,
            bytes: new.bytes,
            head: head.as_deref(),
            fork: None,
            joined: &[],
            superseded: &[],
        };
        self.commit(stored.header.ring_id.0, &change, new.verify, WITHIN)?;
        let mut kept = vec![name.clone(), name.clone()];
        kept.extend(names.iter().cloned());
        Ok((name, Stamp(kept)))
    }

    /// The copy first, as with every further place.
    fn settle(&self, name: &str, bytes: &[u8], mark: &NewMark<'_>) -> Result<(), StoreError> {
        self.local.create_directories()?;
        self.local.settle(name, bytes, mark)
    }

    fn remove(&self, gone: &[Covered], leaving: &[Vec<u8>]) -> Result<Vec<String>, StoreError> {
        self.local.remove(gone, &[])?;
        self.remove_generations(gone, leaving)
    }

    fn set_aside(&self, _: &[String], _: bool, _: u64) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Denied(
            "what lies in etcd is not moved aside: restore into files, and bring the ring to a prefix of its own by `kekring store move --to etcd`".into(),
        ))
    }

    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        self.put_backup(record)
    }
}

/// The generation that the copy's mark names, or else its newest.
fn witness(copies: Vec<StoredCopy>, marks: &[StoredMark]) -> Option<StoredCopy> {
    let own = marks.iter().find(|it| it.own);
    let named = own.and_then(|it| mark::claims(&it.bytes));
    let name = named.map(|(_, number, hash)| super::generation_name(number, &hash));
    let mut copies = copies;
    let at = copies.iter().position(|it| Some(&it.name) == name.as_ref());
    let at = at.or((!copies.is_empty()).then_some(0))?;
    Some(copies.swap_remove(at))
}

/// How long a call within a bound may take.
fn bounded(within: Duration) -> Duration {
    within.min(WITHIN)
}
