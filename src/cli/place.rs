//! Which configuration a verb works on, and the ring that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use crate::config::{Config, DEFAULT_PATH, Store};
use crate::crypto::random;
use crate::custody::Custody;
use crate::keyring::RingId;
use crate::member::Member;
use crate::store::{EtcdStore, FileStore, RingStore};

/// `--config` or `--dev`.
#[derive(Args)]
pub(super) struct Place {
    /// The configuration [default: /etc/kekring/config.yaml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "dev",
        help_heading = "Which ring"
    )]
    pub(super) config: Option<PathBuf>,
    /// Everything in DIR instead: a throw-away ring, root and socket, for a first look and for tests
    #[arg(long, global = true, value_name = "DIR", help_heading = "Which ring")]
    pub(super) dev: Option<PathBuf>,
}

impl Place {
    /// The absolute path of `--dev`.
    pub(super) fn development(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(dir) = &self.dev else {
            return Ok(None);
        };
        let absolute = std::path::absolute(dir).map_err(|why| {
            Failure::usage(
                format!("cannot use --dev {}: {why}", dir.display()),
                "name a directory",
            )
        })?;
        Ok(Some(absolute))
    }

    /// Reads and checks the configuration.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        match self.development()? {
            Some(dir) => Ok(Config::development(&dir)?),
            None => Ok(Config::load(self.config_path())?),
        }
    }

    /// The configuration's file.
    pub(super) fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }
}

/// The directory that a configuration names: of the ring, or of this node's copy.
pub(super) fn file_store(config: &Config) -> FileStore {
    let dir = config.ring.store.local().to_owned();
    let mirror = Some(config.ring.mirror.clone()).filter(|path| !path.as_os_str().is_empty());
    FileStore::new(dir, mirror)
}

/// The ring on etcd, where the configuration has it there.
pub(super) fn etcd_store(config: &Config) -> Result<Option<EtcdStore>, Failure> {
    let Store::Etcd(etcd) = &config.ring.store else {
        return Ok(None);
    };
    let unusable = |why: String| Failure::usage(why, "mend ring.store.etcd; `kekring config check` tries it");
    let client = etcd.client().map_err(|why| unusable(why.to_string()))?;
    let id = expected(&config.ring.id).map(|id| id.0);
    let store = EtcdStore::new(client, &etcd.prefix, id, file_store(config))?;
    Ok(Some(store))
}

/// This node as one of several, where the configuration has it so.
pub(super) fn member(config: &Config) -> Result<Option<Member>, Failure> {
    let Some(store) = etcd_store(config)? else {
        return Ok(None);
    };
    let name = config
        .member_name()
        .map_err(|why| Failure::usage(why, "`kekring config check` tries the configuration"))?;
    Ok(Some(Member::new(Arc::new(store), name)))
}

/// The ring of a configuration, wherever it lies, and its roots.
pub(super) fn custody(config: &Config) -> Result<Custody, Failure> {
    let store: Box<dyn RingStore> = match etcd_store(config)? {
        Some(store) => Box::new(store),
        None => Box::new(file_store(config)),
    };
    around(store, config)
}

/// What `serve` opens: the ring of one node, or this node's copy of it.
pub(super) fn own_custody(config: &Config) -> Result<Custody, Failure> {
    around(Box::new(file_store(config)), config)
}

fn around(store: Box<dyn RingStore>, config: &Config) -> Result<Custody, Failure> {
    Ok(Custody {
        calls: Arc::default(),
        store,
        roots: config.ring.roots.iter().map(|root| root.build()).collect(),
        machine: std::fs::read_to_string(&config.node.machine_id_file).ok(),
        shared: matches!(config.ring.store, Store::Etcd(_)),
        development: config.development,
        expected: expected(&config.ring.id),
        writer: random()?,
    })
}

fn expected(id: &str) -> Option<RingId> {
    let bytes = data_encoding::HEXLOWER.decode(id.as_bytes()).ok()?;
    Some(RingId(bytes.try_into().ok()?))
}
