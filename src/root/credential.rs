//! A root key in a systemd credential: 32 raw bytes, sealed to the TPM or to the host (systemd-creds(1)).
//!
//! In the unit, systemd has opened it already: `$CREDENTIALS_DIRECTORY/NAME`. Outside, as for the verbs that an operator
//! runs, `systemd-creds decrypt` opens the encrypted file. It trusts systemd to hand a credential to its service alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use zeroize::Zeroizing;

use super::file::{MAX_FILE, open_sealed, read_secret_of, root_key, seal_under};
use super::{CredentialConfig, FileStamp, RootError, RootKey, program};
use crate::crypto::kdf::Context;
use crate::crypto::secret::Key32;
use crate::format;
use crate::format::generation::SlotKind;
use crate::proto::ring as wire;

/// Set by systemd for a unit with credentials (systemd.exec(5)).
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// How long `systemd-creds` may take: a TPM that is busy takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A systemd credential as a root.
pub struct CredentialRoot {
    config: CredentialConfig,
    /// Where systemd has put the credentials of this unit.
    directory: Option<PathBuf>,
}

impl CredentialRoot {
    /// The credential, from the directory of the unit that this process runs in, if it does.
    pub fn new(config: CredentialConfig) -> Self {
        Self::of_unit(config, directory())
    }

    /// The credential, from `directory` where there is one.
    pub fn of_unit(config: CredentialConfig, directory: Option<PathBuf>) -> Self {
        Self { config, directory }
    }

    fn key(&self) -> Result<Key32, RootError> {
        let name = &self.config.name;
        let directory = self.directory.as_deref();
        if let Some(path) = directory.and_then(|it| self.config.in_directory(it)) {
            // systemd made it, and may give it to its service by group or ACL.
            return root_key(&path.display().to_string(), &read_secret_of(&path, 0o007)?);
        }
        let encrypted = &self.config.encrypted_file;
        if encrypted.as_os_str().is_empty() {
            return Err(RootError::Unavailable(match &self.directory {
                Some(directory) => format!(
                    "the unit has no credential {name} in {}; add LoadCredentialEncrypted={name}:FILE to it",
                    directory.display()
                ),
                None => "it exists in the unit alone; set its encryptedFile for verbs outside".to_owned(),
            }));
        }
        let key = decrypt(name, encrypted).map_err(|why| match (&self.directory, why) {
            // The service's user can rarely decrypt it: what is wrong is that the unit did not bring it along.
            (Some(_), RootError::Unavailable(why)) => RootError::Unavailable(format!(
                "the unit was started without it; put it back and restart the unit ({why})"
            )),
            (_, why) => why,
        })?;
        root_key(&encrypted.display().to_string(), &key)
    }
}

impl RootKey for CredentialRoot {
    fn kind(&self) -> SlotKind {
        SlotKind::Credential
    }

    fn describe(&self) -> String {
        format!("credential {}", self.config.name)
    }

    fn stamp(&self) -> Option<FileStamp> {
        let directory = self.directory.as_deref();
        let in_unit = directory.and_then(|it| self.config.in_directory(it));
        FileStamp::of(&in_unit.unwrap_or_else(|| self.config.encrypted_file.clone()))
    }

    fn seal(&self, key: &Key32, context: &Context) -> Result<Vec<u8>, RootError> {
        seal_under(&self.key()?, key, context)
    }

    fn open(&self, sealed: &[u8], context: &Context) -> Result<Key32, RootError> {
        let message: wire::Sealed = format::decode_canonical("root slot", sealed)?;
        open_sealed(&self.key()?, context, &message)
    }
}

/// Where systemd has put the credentials of the unit that this process runs in, if it does.
pub(super) fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// What `systemd-creds decrypt` prints. The secret comes through a pipe and touches neither disk nor command line.
fn decrypt(name: &str, encrypted: &Path) -> Result<Zeroizing<Vec<u8>>, RootError> {
    let shown = encrypted.display();
    if matches!(encrypted.try_exists(), Ok(false)) {
        return Err(RootError::Unavailable(format!("{shown} does not exist")));
    }
    let mut command = Command::new("systemd-creds");
    command
        .arg(format!("--name={name}"))
        .arg("decrypt")
        .arg(encrypted)
        .arg("-");
    let failed = |why: &str| RootError::Unavailable(format!("cannot decrypt {shown}: {why}"));
    let left = program::run(&mut command, PATIENCE, MAX_FILE).map_err(|why| failed(&why))?;
    if left.status.success() {
        return Ok(left.output);
    }
    let complaint = last_line(&left.complaint);
    match is_denied(&left.complaint) {
        true => Err(RootError::DeniedByTpm(format!(
            "the TPM does not open {shown}: {}",
            complaint.trim_end_matches('.')
        ))),
        false => Err(failed(&complaint)),
    }
}

/// Whether it is the TPM's policy that refuses (systemd's words and those of the TPM's own library): asking again changes
/// nothing, and counts as an attack where there is a PIN.
fn is_denied(complaint: &[u8]) -> bool {
    let text = String::from_utf8_lossy(complaint).to_lowercase();
    let words = ["policy digest does not match", "policy check failed", "lockout"];
    words.iter().any(|it| text.contains(it))
}

/// What a program says last is why it failed; before that it warns.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    let plain = line.unwrap_or("systemd-creds said nothing").chars();
    plain.filter(|c| !c.is_control()).collect()
}
