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
//! ```
//!
//! Everything is read in one transaction by a quorum's word. A change names the head that it was made for; where its outcome
//! is unknown, the name of the generation, which no other attempt can have, tells what became of it.

mod read;
mod write;

use std::sync::OnceLock;
use std::time::Duration;

pub use read::{Live, Said, Snapshot};
pub use write::{Change, Pulse};

use super::file::parse_name;
use super::{FileStore, Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy};
use crate::etcd::{Client, Config, Event, Revision, Span, WITHIN, WatchHandle};
use crate::format::generation;

/// Generations that are kept: what is older lies in backups and in the nodes' copies.
const KEPT: usize = 3;

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
        let rings = self.rings(WITHIN)?;
        Ok(rings.iter().map(|ring| read::shown(ring)).collect())
    }

    fn key(&self, id: &[u8; 16], name: &str) -> String {
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
        let snapshot = self.read(WITHIN)?;
        snapshot.head_bytes()?;
        let local = self.local.load()?;
        let mut loaded = Loaded {
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
        for (name, bytes) in snapshot.generations {
            loaded.copies.push(StoredCopy {
                place: format!("{} in {}", name, self.shown),
                name,
                bytes: Ok(bytes),
            });
        }
        Ok(loaded)
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        Ok(self.read(WITHIN)?.stamp())
    }

    fn save(
        &self,
        new: &NewGeneration<'_>,
        base: &Stamp,
        prune: &[String],
    ) -> Result<(String, Stamp), StoreError> {
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
            prune: &surplus(names, head.as_deref(), prune),
        };
        self.commit(stored.header.ring_id.0, &change, new.verify, WITHIN)?;
        let mut kept = vec![name.clone(), name.clone()];
        kept.extend(names.iter().filter(|it| !change.prune.contains(it)).cloned());
        Ok((name, Stamp(kept)))
    }

    /// The copy first, as with every further place; then what is to go.
    fn settle(
        &self,
        name: &str,
        bytes: &[u8],
        mark: &NewMark<'_>,
        prune: &[String],
    ) -> Result<(), StoreError> {
        self.local.create_directories()?;
        self.local.settle(name, bytes, mark, prune)?;
        let old: Vec<String> = prune.iter().filter(|old| *old != name).cloned().collect();
        self.remove_generations(&old)
    }

    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        self.put_backup(record)
    }
}

/// What goes with a change: what is named, and what is more than are kept with the new one; never the head that it is made for.
pub fn surplus(names: &[String], head: Option<&str>, prune: &[String]) -> Vec<String> {
    let mut older: Vec<&String> = names.iter().filter(|it| Some(it.as_str()) != head).collect();
    older.sort_unstable_by_key(|name| std::cmp::Reverse(parse_name(name).map(|(number, _)| number)));
    let more = older.iter().skip(KEPT - 2).map(|it| (*it).clone());
    let named = prune
        .iter()
        .filter(|it| names.contains(it) && Some(it.as_str()) != head);
    let mut all: Vec<String> = more.chain(named.cloned()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// How long a call within a bound may take.
fn bounded(within: Duration) -> Duration {
    within.min(WITHIN)
}
