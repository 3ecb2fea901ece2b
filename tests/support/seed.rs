//! The offline way to a seed: the stored ring and its root, without a running plugin.
//!
//! Included by `#[path = "../support/seed.rs"] mod seed;`.

use std::fs;
use std::path::Path;

use kekring::config::{Config, Store};
use kekring::crypto::secret::SecretBytes;
use kekring::custody::Custody;
use kekring::store::FileStore;
use kekring::telemetry::now;

/// Opens a wrapped seed with the ring and the roots of a configuration.
pub fn open_seed(config: &Path, key_id: &str, wrapped: &[u8]) -> SecretBytes {
    let config = Config::load(config).unwrap();
    let Store::File { dir } = config.ring.store;
    let custody = Custody {
        store: Box::new(FileStore::new(dir, None)),
        roots: config.ring.roots.iter().map(|root| root.build()).collect(),
        machine: fs::read_to_string(config.node.machine_id_file).ok(),
        development: false,
        expected: None,
        writer: [0; 16],
    };
    let opened = custody.open(None, now()).unwrap();
    opened.keyring().decrypt(key_id, wrapped).unwrap()
}
