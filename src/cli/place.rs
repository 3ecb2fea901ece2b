//! Which configuration a verb works on, and the ring that it names.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use crate::config::{Config, DEFAULT_PATH};
use crate::crypto::random;
use crate::custody::Custody;
use crate::keyring::RingId;
use crate::store::FileStore;

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

/// The file store that a configuration names.
pub(super) fn file_store(config: &Config) -> FileStore {
    let dir = config.ring.store.local().to_owned();
    let mirror = Some(config.ring.mirror.clone()).filter(|path| !path.as_os_str().is_empty());
    FileStore::new(dir, mirror)
}

/// Store and roots of a configuration.
pub(super) fn custody(config: &Config) -> Result<Custody, Failure> {
    Ok(Custody {
        store: Box::new(file_store(config)),
        roots: config.ring.roots.iter().map(|root| root.build()).collect(),
        machine: std::fs::read_to_string(&config.node.machine_id_file).ok(),
        development: config.development,
        expected: expected(&config.ring.id),
        writer: random()?,
    })
}

fn expected(id: &str) -> Option<RingId> {
    let bytes = data_encoding::HEXLOWER.decode(id.as_bytes()).ok()?;
    Some(RingId(bytes.try_into().ok()?))
}
