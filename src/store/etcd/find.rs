//! Which ring lies under the prefix.

use std::time::Duration;

use super::{EtcdStore, bounded};
use crate::etcd::{Deadline, Range, Span};
use crate::store::StoreError;

/// Names under the prefix that are looked at: there is one ring there, and seldom anything else.
const MOST: usize = 64;
/// Longest part of a stranger's name that is shown.
const SHOWN: usize = 200;

impl EtcdStore {
    /// Whose ring this is: the one that it must be, or else the only one that is there.
    pub(super) fn find(&self, within: Duration) -> Result<Option<[u8; 16]>, StoreError> {
        if let Some(id) = self.id.get() {
            return Ok(Some(*id));
        }
        let there = self.under(MOST, within)?;
        let rings: Vec<[u8; 16]> = there.iter().filter_map(|name| ring_id(name)).collect();
        match (rings.as_slice(), there.as_slice()) {
            (_, []) => Ok(None),
            (_, names) if names.len() >= MOST => Err(StoreError::Corrupt(format!(
                "there are {MOST} names or more under {}/ in etcd, and one ring is looked for: name it in ring.id",
                self.prefix
            ))),
            ([one], _) => Ok(Some(*self.id.get_or_init(|| *one))),
            ([], [other, ..]) => Err(StoreError::Corrupt(format!(
                "{} in etcd is no ring's: use a prefix of its own",
                self.spelled(other)
            ))),
            (_, names) => Err(StoreError::Corrupt(format!(
                "there are several rings: {}; name the one that belongs here in ring.id",
                names
                    .iter()
                    .filter(|name| ring_id(name).is_some())
                    .map(|name| self.spelled(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// The first two names under the prefix, whole: two are as many as a hundred.
    pub(super) fn rings(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        let names = self.under(2, within)?;
        Ok(names.iter().map(|name| self.spelled(name)).collect())
    }

    /// What lies under the prefix, by its first part alone: so many of them, whatever each has below.
    fn under(&self, most: usize, within: Duration) -> Result<Vec<Vec<u8>>, StoreError> {
        let until = Deadline::within(bounded(within));
        let prefix = format!("{}/", self.prefix);
        let all = Span::prefix(prefix.clone())?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut rest = all.clone();
        while names.len() < most {
            let mut range = Range::of(rest);
            (range.keys_only, range.limit) = (true, 1);
            let found = self.client.range(&range, until.left())?;
            let Some(kv) = found.kvs.first() else { break };
            let name = kv.key.strip_prefix(prefix.as_bytes()).unwrap_or_default();
            let name = name.split(|byte| *byte == b'/').next().unwrap_or_default();
            let ring = [prefix.as_bytes(), name].concat();
            // The next comes after all that this one has, whoever put it there.
            rest = match kv.key == ring {
                true => all.after(&kv.key),
                false => all.beyond(&[ring.as_slice(), b"/"].concat()),
            };
            if !names.iter().any(|known| known == name) {
                names.push(name.to_vec());
            }
        }
        Ok(names)
    }

    /// Anybody who can write to etcd chooses it.
    fn spelled(&self, name: &[u8]) -> String {
        let name: String = name.escape_ascii().to_string().chars().take(SHOWN).collect();
        format!("{}/{name}", self.prefix)
    }
}

fn ring_id(name: &[u8]) -> Option<[u8; 16]> {
    data_encoding::HEXLOWER.decode(name).ok()?.try_into().ok()
}
