//! What a root gets to open: the slot of a file, of a credential, of a passphrase; and a recovery code that was typed.
//! A cost that is accepted takes 64 MiB and more, so nothing is stretched here: the passphrase is refused just before.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use kekring::crypto::kdf::Context;
use kekring::format::generation::slot_context;
use kekring::root::{
    CredentialConfig, CredentialRoot, FileRoot, PassphraseRoot, RecoveryCode, RootError, RootKey,
};

use super::{Case, choice, quiet};

const FILE: &str = include_str!("../../../tests/vectors/slot-file.json");
const CREDENTIAL: &str = include_str!("../../../tests/vectors/slot-credential.json");

/// A root with the one slot that it sealed.
struct Sealed {
    root: Arc<dyn RootKey>,
    context: Context,
    known: Vec<u8>,
    ring_key: Vec<u8>,
    secret: Vec<u8>,
}

struct World {
    file: Sealed,
    credential: Sealed,
    passphrase: PassphraseRoot,
    /// Without names, so that none is left behind.
    _files: [File; 3],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (file, credential) = (Case::named(FILE, "opens"), Case::named(CREDENTIAL, "opens"));
    let files = [
        unnamed(&file.bytes("root")),
        unnamed(&credential.bytes("root")),
        unnamed(b"short"),
    ];
    let descriptors = Path::new("/proc/self/fd");
    let [root, name, short] = [0, 1, 2].map(|at: usize| files[at].as_raw_fd().to_string());
    let config = CredentialConfig {
        name,
        encrypted_file: "".into(),
    };
    World {
        file: Sealed::new(&file, Arc::new(FileRoot::new(descriptors.join(root)))),
        credential: Sealed::new(
            &credential,
            Arc::new(CredentialRoot::of_unit(config, Some(descriptors.to_owned()))),
        ),
        passphrase: PassphraseRoot::from_file(descriptors.join(short)),
        _files: files,
    }
});

impl Sealed {
    fn new(case: &Case, root: Arc<dyn RootKey>) -> Self {
        let kind = i32::try_from(case.0["kind"].as_i64().unwrap()).unwrap();
        Self {
            context: slot_context(case.ring_id(), &case.bytes("slot_id").try_into().unwrap(), kind),
            known: case.bytes("sealed"),
            ring_key: case.bytes("ring_key"),
            secret: case.bytes("root"),
            root,
        }
    }

    /// One slot opens, byte for byte, and as what was sealed.
    fn check(&self, bytes: &[u8]) {
        match self.root.open(bytes, &self.context) {
            Ok(key) => {
                assert_eq!(bytes, self.known, "it opens, and was never sealed by this root");
                assert_eq!(key.expose().as_slice(), self.ring_key);
            }
            Err(why) => {
                assert_ne!(bytes, self.known, "what was sealed does not open: {why}");
                quiet(&why.to_string(), &[&self.secret, &self.ring_key]);
                assert!(
                    matches!(why, RootError::WrongRoot | RootError::Corrupt(_)),
                    "{why:?}"
                );
            }
        }
    }
}

fn unnamed(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    (&file).write_all(bytes).unwrap();
    file
}

pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 4) else {
        return;
    };
    let world = &*WORLD;
    match mode {
        0 => world.file.check(rest),
        1 => world.credential.check(rest),
        2 => match world.passphrase.open(rest, &world.file.context) {
            Ok(_) => panic!("a passphrase of five bytes opens it"),
            Err(why) => assert!(
                matches!(why, RootError::Corrupt(_) | RootError::Config(_)),
                "{why:?}"
            ),
        },
        _ => {
            if let Some(code) = RecoveryCode::parse(&String::from_utf8_lossy(rest)) {
                let text = code.text();
                let again = RecoveryCode::parse(&text).expect("a code that was read is one");
                assert_eq!(*again.text(), *text);
            }
        }
    }
}
