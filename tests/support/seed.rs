//! The offline way to a seed: the stored ring and its root, without a running plugin.
//!
//! Included by `#[path = "../support/seed.rs"] mod seed;`.

use std::fs;
use std::path::Path;

use kekring::config::Config;
use kekring::crypto::secret::SecretBytes;
use kekring::custody::{Custody, Opened};
use kekring::store::FileStore;
use kekring::telemetry::now;

/// Opens a wrapped seed with the ring and the roots of a configuration.
pub fn open_seed(config: &Path, key_id: &str, wrapped: &[u8]) -> SecretBytes {
    opened(config).keyring().decrypt(key_id, wrapped).unwrap()
}

/// The ring key and every key of the ring, each under a name.
#[allow(dead_code)] // not every suite looks for them
pub fn keys(config: &Path) -> Vec<(String, Vec<u8>)> {
    let opened = opened(config);
    let mut keys = vec![("the ring key".to_owned(), opened.ring_key.expose().to_vec())];
    for key in &opened.ring.keys {
        keys.push((key.id.to_string(), key.material.expose().to_vec()));
    }
    keys
}

fn opened(config: &Path) -> Opened {
    let config = Config::load(config).unwrap();
    let dir = config.ring.store.local().to_owned();
    let custody = Custody {
        calls: Default::default(),
        store: Box::new(FileStore::new(dir, None)),
        roots: config.ring.roots.iter().map(|root| root.build()).collect(),
        machine: fs::read_to_string(config.node.machine_id_file).ok(),
        shared: false,
        development: false,
        expected: None,
        writer: [0; 16],
    };
    custody.open(None, now()).unwrap()
}
