//! The stored ring of a plugin, opened beside it: to look inside, or to put it into a state that no verb leaves behind.

use std::fs;

use kekring::custody::Custody;
use kekring::root::{PathConfig, RootConfig};
use kekring::store::FileStore;

use crate::support::Plugin;

pub fn custody(plugin: &Plugin) -> Custody {
    let root = RootConfig::File(PathConfig {
        path: plugin.dir.join("root.key"),
    });
    Custody {
        store: Box::new(FileStore::new(plugin.dir.join("ring"), None)),
        roots: vec![root.build()],
        machine: fs::read_to_string("/etc/machine-id").ok(),
        development: false,
        expected: None,
        writer: [1; 16],
    }
}
