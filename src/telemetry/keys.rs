//! Counters by key. Only keys of the ring have any: what a request names is looked up, and never becomes a label.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::metrics::Labels;

/// A key of the ring by its names.
pub struct Known {
    /// As it stands in requests.
    pub id: String,
    /// As kube-apiserver's metrics show it.
    pub hash: String,
    /// The state that it is in.
    pub state: &'static str,
}

/// How a Decrypt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decrypted {
    /// Well.
    Done,
    /// Refused: the key is suspended.
    Suspended,
    /// The key is there, and the ciphertext does not open under it.
    Failed,
    /// There is no such key.
    UnknownKey,
}

struct Counters {
    hash: String,
    encrypts: Counter,
    /// With the state of now.
    decrypts: Counter,
    failed: Counter,
}

/// The counters of every key of the ring.
pub struct Keys {
    current: RwLock<BTreeMap<String, Counters>>,
    encrypts: Family<Labels, Counter>,
    decrypts: Family<Labels, Counter>,
    failed: Family<Labels, Counter>,
    unknown: Counter,
}

impl Keys {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let keys = Self {
            current: RwLock::default(),
            encrypts: Family::default(),
            decrypts: Family::default(),
            failed: Family::default(),
            unknown: Counter::default(),
        };
        registry.register("encrypts", "Seeds encrypted, by key", keys.encrypts.clone());
        registry.register(
            "decrypts",
            "Seeds decrypted, by key and its state then; under a suspended key, refused",
            keys.decrypts.clone(),
        );
        registry.register(
            "decrypts_failed",
            "Ciphertexts that did not decrypt under the key that they came with",
            keys.failed.clone(),
        );
        registry.register(
            "decrypts_unknown_key",
            "Decrypts refused since the ring has no key of that name",
            keys.unknown.clone(),
        );
        keys
    }

    /// Takes the keys of a ring; those that are no longer in it lose their counters.
    pub fn replace(&self, keys: impl Iterator<Item = Known>) {
        let next: BTreeMap<String, Counters> = keys.map(|key| (key.id.clone(), self.counters(key))).collect();
        let previous = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next)
        };
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        for (_, gone) in previous.iter().filter(|(id, _)| !current.contains_key(*id)) {
            self.forget(&gone.hash);
        }
    }

    /// A seed was encrypted under this key.
    pub fn encrypted(&self, id: &str) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = current.get(id) {
            counters.encrypts.inc();
        }
    }

    /// A Decrypt that named this key has ended.
    pub fn decrypted(&self, id: &str, how: Decrypted) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        match (how, current.get(id)) {
            (Decrypted::Done | Decrypted::Suspended, Some(counters)) => counters.decrypts.inc(),
            (Decrypted::Failed, Some(counters)) => counters.failed.inc(),
            _ => self.unknown.inc(),
        };
    }

    fn counters(&self, key: Known) -> Counters {
        let labels = vec![("key_id_hash", key.hash.clone())];
        Counters {
            encrypts: self.encrypts.get_or_create_owned(&labels),
            decrypts: self.decrypts.get_or_create_owned(&in_state(&key.hash, key.state)),
            failed: self.failed.get_or_create_owned(&labels),
            hash: key.hash,
        }
    }

    fn forget(&self, hash: &str) {
        let labels = vec![("key_id_hash", hash.to_owned())];
        self.encrypts.remove(&labels);
        self.failed.remove(&labels);
        for state in ["pre-active", "active", "deactivated", "suspended"] {
            self.decrypts.remove(&in_state(hash, state));
        }
    }
}

fn in_state(hash: &str, state: &str) -> Labels {
    vec![("key_id_hash", hash.to_owned()), ("state", state.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Gauges, Metrics};

    fn known(name: &str, state: &'static str) -> Known {
        Known {
            id: name.into(),
            hash: format!("hash-of-{name}"),
            state,
        }
    }

    fn text(metrics: &Metrics) -> String {
        metrics.render(&Gauges::default()).unwrap()
    }

    #[test]
    fn a_key_keeps_its_counts_until_it_leaves_the_ring() {
        let metrics = Metrics::new(None);
        metrics
            .keys
            .replace([known("k1", "active"), known("k2", "pre-active")].into_iter());
        metrics.keys.encrypted("k1");
        metrics.keys.decrypted("k1", Decrypted::Done);

        metrics
            .keys
            .replace([known("k1", "deactivated"), known("k2", "active")].into_iter());
        metrics.keys.decrypted("k1", Decrypted::Done);

        let both = text(&metrics);
        for series in [
            "encrypts_total{key_id_hash=\"hash-of-k1\"} 1",
            "decrypts_total{key_id_hash=\"hash-of-k1\",state=\"active\"} 1",
            "decrypts_total{key_id_hash=\"hash-of-k1\",state=\"deactivated\"} 1",
        ] {
            assert!(both.contains(&format!("kekring_{series}\n")), "{series}: {both}");
        }
        metrics.keys.replace([known("k2", "active")].into_iter());
        assert!(!text(&metrics).contains("hash-of-k1"), "{}", text(&metrics));
    }

    #[test]
    fn a_name_from_outside_is_counted_and_never_shown() {
        let metrics = Metrics::new(None);
        metrics.keys.replace([known("k1", "active")].into_iter());

        for number in 0..1000 {
            metrics
                .keys
                .decrypted(&format!("k{number}-evil"), Decrypted::UnknownKey);
        }

        let text = text(&metrics);
        assert!(
            text.contains("kekring_decrypts_unknown_key_total 1000\n"),
            "{text}"
        );
        assert!(!text.contains("evil"), "{text}");
    }
}
