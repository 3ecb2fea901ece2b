//! The stored ring of a plugin, opened beside it: to look inside, or to put it into a state that no verb leaves behind.

use std::fs;

use kekring::crypto::secret::Key32;
use kekring::custody::Custody;
use kekring::format::wrapped_seed;
use kekring::keyring::lifecycle;
use kekring::keyring::ring::{Key, Ring, UnixTime};
use kekring::proto::kms::EncryptResponse;
use kekring::root::{PathConfig, RootConfig};
use kekring::store::FileStore;

use crate::support::Plugin;

pub fn custody(plugin: &Plugin) -> Custody {
    let root = RootConfig::File(PathConfig {
        path: plugin.dir.join("root.key"),
    });
    Custody {
        calls: Default::default(),
        store: Box::new(FileStore::new(plugin.dir.join("ring"), None)),
        roots: vec![root.build()],
        machine: fs::read_to_string("/etc/machine-id").ok(),
        shared: false,
        development: false,
        expected: None,
        writer: [1; 16],
    }
}

/// Rotates as another process would; the ring that is now stored.
pub fn commit_rotation(custody: &Custody) -> Ring {
    let opened = custody.open(None, UnixTime(1)).unwrap();
    let next = lifecycle::activate(&opened.ring, Key32::generate().unwrap(), UnixTime(1)).unwrap();
    custody.commit(&opened, next, UnixTime(1)).unwrap().ring
}

/// What `Encrypt` of 32 times 7 would answer under any key of a ring.
pub fn sealed_under(ring: &Ring, key: &Key) -> EncryptResponse {
    EncryptResponse {
        ciphertext: wrapped_seed::wrap(ring.id, &key.id, &key.material, &[7; 32]).unwrap(),
        key_id: key.id.to_string(),
        ..Default::default()
    }
}
