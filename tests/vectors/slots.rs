//! `slot-file.json`, `slot-credential.json` and `slot-passphrase.json`: real files as roots.

use kekring::crypto::secret::Key32;
use kekring::format::generation::slot_context;
use kekring::root::{
    CredentialConfig, CredentialRoot, FileRoot, PassphraseRoot, RecoveryCode, RootError, RootKey,
};

use crate::cases::{Case, cases};

fn open(case: &Case, root: &dyn RootKey) -> Result<Key32, RootError> {
    let slot_id = case.bytes("slot_id").try_into().unwrap();
    let kind = i32::try_from(case.0["kind"].as_i64().unwrap()).unwrap();
    let context = slot_context(case.ring_id(), &slot_id, kind);
    root.open(&case.bytes("sealed"), &context)
}

fn judge(case: &Case, outcome: Result<Key32, RootError>) {
    if let Some(opened) = case.judge(outcome) {
        assert_eq!(
            opened.expose().as_slice(),
            case.bytes("ring_key"),
            "{}",
            case.name()
        );
    }
}

#[test]
fn a_root_file_opens_a_slot_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    for (number, case) in cases("slot-file.json").iter().enumerate() {
        let path = dir.path().join(number.to_string());
        write_private(&path, &case.bytes("root"));

        judge(case, open(case, &FileRoot::new(path)));
    }
}

#[test]
fn a_credential_opens_a_slot_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    for (number, case) in cases("slot-credential.json").iter().enumerate() {
        let name = number.to_string();
        write_private(&dir.path().join(&name), &case.bytes("root"));
        let config = CredentialConfig {
            name,
            encrypted_file: "".into(),
        };

        let root = CredentialRoot::of_unit(config, Some(dir.path().to_owned()));

        judge(case, open(case, &root));
    }
}

#[test]
fn a_passphrase_file_opens_a_slot_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    for (number, case) in cases("slot-passphrase.json").iter().enumerate() {
        let path = dir.path().join(number.to_string());
        write_private(&path, case.0["secret"].as_str().unwrap().as_bytes());

        judge(case, open(case, &PassphraseRoot::from_file(path)));
    }
}

#[test]
fn a_typed_recovery_code_opens_its_slot_in_any_spelling() {
    let cases = cases("slot-passphrase.json");
    let codes: Vec<_> = cases
        .iter()
        .filter(|case| case.name().starts_with("a recovery code") && case.error().is_none())
        .collect();

    assert_eq!(codes.len(), 4);
    for case in codes {
        let code = RecoveryCode::parse(case.0["secret"].as_str().unwrap()).unwrap();
        judge(case, open(case, &PassphraseRoot::from_code(code)));
    }
}

fn write_private(path: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    std::io::Write::write_all(&mut file.unwrap(), bytes).unwrap();
}
