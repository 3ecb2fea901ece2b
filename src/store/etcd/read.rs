//! Reading a ring on etcd: everything at one moment.

use std::time::Duration;

use super::{EtcdStore, bounded};
use crate::etcd::{EtcdError, KeyValue, LeaseId, Range, Revision, Span};
use crate::store::file::parse_name;
use crate::store::{Stamp, StoreError};

/// Stands for the head in a stamp while histories have parted: nothing is saved on it.
pub(super) const PARTED: &str = "parted";

/// Longest name of a key that is shown whole, in bytes.
const LONGEST: usize = 256;

/// A ring on etcd as it was at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which ring; none where there is none.
    pub id: Option<[u8; 16]>,
    /// The name of its newest generation.
    pub head: Option<String>,
    /// Names and bytes of the generations in its history, the head among them.
    pub generations: Vec<(String, Vec<u8>)>,
    /// Names and bytes of those that nodes have shown.
    pub shown: Vec<(String, Vec<u8>)>,
    /// What nodes have acknowledged.
    pub acknowledged: Vec<Said>,
    /// What servers say of themselves.
    pub live: Vec<Live>,
    /// The nonce while histories have parted.
    pub fork: Option<[u8; 16]>,
    /// The record of the last backup.
    pub backup: Option<Vec<u8>>,
}

/// What is said of a node's server. Nothing proves who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The node's name.
    pub node: String,
    /// What is there.
    pub bytes: Vec<u8>,
    /// Whether it ends by itself, as all does that a server says of itself.
    pub leased: bool,
}

/// What lies under a node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The name.
    pub node: String,
    /// What is there.
    pub bytes: Vec<u8>,
    /// When it was put there.
    pub at: Revision,
}

impl Snapshot {
    /// Name and bytes of the newest generation; none where there is no head.
    pub fn head_bytes(&self) -> Result<Option<(&str, &[u8])>, StoreError> {
        let Some(head) = self.head.as_deref() else {
            return Ok(None);
        };
        let bytes = self.generation(head);
        let bytes = bytes.ok_or_else(|| {
            StoreError::Corrupt(format!(
                "the head in etcd names {head}, which is not there: a node whose copy has it puts it back"
            ))
        })?;
        Ok(Some((head, bytes)))
    }

    /// The bytes of the generation of that name in the ring's history.
    pub fn generation(&self, name: &str) -> Option<&[u8]> {
        let found = self.generations.iter().find(|(it, _)| it == name)?;
        Some(&found.1)
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
        let mut names: Vec<String> = self.generations.iter().map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        Stamp(std::iter::once(first).chain(names).collect())
    }

    fn add(&mut self, name: &str, kv: KeyValue) -> Result<(), StoreError> {
        let corrupt = |what: &str| StoreError::Corrupt(format!("{}: {what}", shown(&kv.key)));
        match name.split_once('/') {
            None if name == "head" => {
                let head = String::from_utf8(kv.value.clone()).ok();
                let head = head.filter(|head| parse_name(head).is_some());
                self.head = Some(head.ok_or_else(|| corrupt("it names no generation; delete this key alone, and the nodes bring the ring back from their copies"))?);
            }
            None if name == "fork" => {
                let nonce = kv.value.as_slice().try_into();
                self.fork = Some(nonce.map_err(|_| corrupt("it is not 16 bytes; delete this key alone, and histories that have parted are parted anew"))?);
            }
            None if name == "backup" => self.backup = Some(kv.value),
            // Of anything else no generation is made, and no file: whoever can write to etcd chooses these names.
            Some(("gen", name)) if parse_name(name).is_some() => {
                self.generations.push((name.to_owned(), kv.value));
            }
            Some(("shown", name)) if parse_name(name).is_some() => {
                self.shown.push((name.to_owned(), kv.value));
            }
            Some(("live", node)) => self.live.push(Live {
                node: node.to_owned(),
                leased: kv.lease != LeaseId(0),
                bytes: kv.value,
            }),
            Some(("nodes", node)) => self.acknowledged.push(Said {
                node: node.to_owned(),
                bytes: kv.value,
                at: kv.mod_revision,
            }),
            // Something of a later version, or of nobody.
            _ => {}
        }
        Ok(())
    }
}

impl EtcdStore {
    /// Everything there is, by a quorum's word; an empty one where there is no ring.
    pub fn read(&self, within: Duration) -> Result<Snapshot, StoreError> {
        let Some(id) = self.find(within)? else {
            return Ok(Snapshot::default());
        };
        let prefix = self.key(&id, "");
        let found = self
            .client
            .range(&Range::of(Span::prefix(prefix.clone())?), bounded(within))?;
        let mut snapshot = Snapshot::default();
        for kv in found.kvs {
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            if let Some(name) = key.strip_prefix(&prefix) {
                snapshot.add(name, kv)?;
            }
        }
        snapshot.id = Some(id);
        Ok(snapshot)
    }

    /// Whose ring this is: the one that it must be, or else the only one that is there.
    fn find(&self, within: Duration) -> Result<Option<[u8; 16]>, StoreError> {
        if let Some(id) = self.id.get() {
            return Ok(Some(*id));
        }
        let rings = self.rings(within)?;
        match rings.as_slice() {
            [] => Ok(None),
            [one] => {
                let text = one.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                let bytes = data_encoding::HEXLOWER.decode(text).ok();
                let id = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
                    StoreError::Corrupt(format!(
                        "{} in etcd is no ring's: use a prefix of its own",
                        shown(one)
                    ))
                })?;
                Ok(Some(*self.id.get_or_init(|| id)))
            }
            several => Err(StoreError::Corrupt(format!(
                "there are several rings: {}; name the one that belongs here in ring.id",
                several.iter().map(|it| shown(it)).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// The first two rings under the prefix: two are as many as a hundred.
    pub(super) fn rings(&self, within: Duration) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = format!("{}/", self.prefix);
        let all = Span::prefix(prefix.clone())?;
        let mut rings: Vec<Vec<u8>> = Vec::new();
        let mut rest = all.clone();
        while rings.len() < 2 {
            let mut range = Range::of(rest);
            (range.keys_only, range.limit) = (true, 1);
            let found = self.client.range(&range, bounded(within))?;
            let Some(kv) = found.kvs.first() else { break };
            let name = kv.key.strip_prefix(prefix.as_bytes()).unwrap_or_default();
            let name = name.split(|byte| *byte == b'/').next().unwrap_or_default();
            let ring = [prefix.as_bytes(), name].concat();
            // The next ring comes after all that this one has, whoever put it there.
            rest = match kv.key == ring {
                true => all.after(&kv.key),
                false => all.beyond(&[ring.as_slice(), b"/"].concat()),
            };
            if !rings.contains(&ring) {
                rings.push(ring);
            }
        }
        Ok(rings)
    }
}

/// A key's name, or the beginning of a long one, as it may stand in a message: whoever can write to etcd chooses it.
pub(super) fn shown(key: &[u8]) -> String {
    match key.get(..LONGEST) {
        None => key.escape_ascii().to_string(),
        Some(begin) => format!("{}... ({} bytes)", begin.escape_ascii(), key.len()),
    }
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
