//! Rings that earlier programs made, one directory of `tests/rings` for each format version: they open, rotate and are restored,
//! for ever.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use kekring::custody::{Custody, Opened, Share};
use kekring::format::generation::VERSION;
use kekring::keyring::lifecycle;
use kekring::root::{PassphraseRoot, RecoveryCode, RootKey};
use kekring::store::{Backup, FileStore};

use crate::bench::{Bench, NOW, file_root, generations, key, passphrase_root, put};

/// Of the repository, wherever the tests run.
fn rings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rings")
}

/// A copy of a kept ring, with the modes that git does not keep.
struct Kept {
    bench: Bench,
    source: PathBuf,
}

impl Kept {
    fn all() -> Vec<Self> {
        let mut sources: Vec<PathBuf> = fs::read_dir(rings())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        sources.sort();
        sources.into_iter().map(Self::of).collect()
    }

    fn of(source: PathBuf) -> Self {
        let bench = Bench::new();
        fs::remove_dir_all(bench.path("ring")).unwrap();
        bench.store().create_directories().unwrap();
        for entry in fs::read_dir(source.join("ring")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            put(&bench.path("ring").join(name), &fs::read(&path).unwrap());
        }
        for name in ["root.key", "second.key", "code", "backup.ring"] {
            put(&bench.path(name), &fs::read(source.join(name)).unwrap());
        }
        Self { bench, source }
    }

    fn custody(&self, roots: &[&str]) -> Custody {
        let root = |name: &&str| match *name {
            "code" => passphrase_root(&self.bench.path(name)),
            name => file_root(&self.bench.path(name)),
        };
        self.bench.custody_with(roots.iter().map(root).collect())
    }

    /// Every seed that the program of its time sealed opens.
    fn reads_its_seeds(&self, opened: &Opened) {
        let text = fs::read_to_string(self.source.join("seeds")).unwrap();
        let keyring = opened.keyring();
        let mut read = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, sealed, plain] = words.as_slice() else {
                panic!("{line}");
            };
            let sealed = HEXLOWER.decode(sealed.as_bytes()).unwrap();
            let found = keyring.decrypt(id, &sealed);
            let found = found.unwrap_or_else(|why| panic!("{}: {id}: {why}", self.source.display()));
            assert_eq!(HEXLOWER.encode(found.expose()), *plain);
            read += 1;
        }
        assert!(read >= 4, "{}", self.source.display());
    }
}

#[test]
fn a_ring_of_each_format_version_opens_by_each_root_and_rotates() {
    let kept = Kept::all();
    assert!(!kept.is_empty());
    for ring in kept {
        for root in ["second.key", "code"] {
            let opened = ring.custody(&[root]).open(None, NOW).unwrap();
            assert!(
                opened.frozen.is_none() && opened.refusing.is_none(),
                "{:?}",
                opened.warnings
            );
            assert!(opened.mark.is_some(), "{:?}", opened.warnings);
            ring.reads_its_seeds(&opened);
        }
        let custody = ring.custody(&["second.key"]);
        let opened = custody.open(None, NOW).unwrap();
        let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
        custody.rotate(&opened, next, Share::Rotation, NOW).unwrap();
        let after = custody.open(None, NOW).unwrap();
        assert_eq!(after.ring.generation, opened.ring.generation + 1);
        ring.reads_its_seeds(&after);
        assert!(
            ring.custody(&["root.key"]).open(None, NOW).is_err(),
            "a removed root stays so"
        );
    }
}

#[test]
fn a_backup_of_each_format_version_is_restored() {
    for ring in Kept::all() {
        let fresh = ring.bench.path("fresh");
        let store = FileStore::new(fresh, None);
        store.create_directories().unwrap();
        let custody = Custody {
            calls: Default::default(),
            store: Box::new(store),
            ..ring.custody(&["code"])
        };
        let backup = Backup::read(&ring.bench.path("backup.ring")).unwrap();
        let copy = custody.open_backup(&backup, None, NOW).unwrap();

        custody.restore(None, &copy, &backup, NOW).unwrap();

        let opened = custody.open(None, NOW).unwrap();
        assert!(opened.keyring().status().is_ok());
        ring.reads_its_seeds(&opened);
    }
}

#[test]
#[allow(clippy::too_many_lines)] // one story
#[ignore = "makes the ring of a format version; by hand, when one is new"]
fn make() {
    let dir = rings().join(VERSION.to_string());
    assert!(!dir.exists(), "what is kept is never made anew");
    let bench = Bench::new();
    let second = bench.path("second.key");
    put(&second, key().expose());
    let code = RecoveryCode::generate().unwrap();
    code.write_new(&bench.path("code")).unwrap();
    let recovery: std::sync::Arc<dyn RootKey> = std::sync::Arc::new(PassphraseRoot::from_code(code));
    let opened = bench
        .custody()
        .add_slots(&bench.open(), &[file_root(&second), recovery], NOW)
        .unwrap();
    let old = opened.head.bytes.clone();
    let mut seeds = seed(&opened);
    let opened = bench.rotate();
    seeds += &seed(&opened);
    let first = opened.ring.keys[0].id.clone();
    let custody = bench.custody_with(vec![
        file_root(&bench.path("root.key")),
        file_root(&second),
        passphrase_root(&bench.path("code")),
    ]);
    let roots: Vec<&dyn RootKey> = custody.roots.iter().map(AsRef::as_ref).collect();
    let gone = [opened.head.header.slots[0].id];
    let opened = custody.remove_slots(&bench.open(), &gone, &roots, NOW).unwrap().0;
    // A key that was suspended and resumed, and a history from before the removal, taken in to decrypt.
    for suspended in [true, false] {
        let opened = custody.open(None, NOW).unwrap();
        let next = lifecycle::suspend(&opened.ring, &first, suspended).unwrap();
        custody.commit(&opened, next, NOW).unwrap();
    }
    drop(opened);
    let elsewhere = FileStore::new(bench.path("elsewhere"), None);
    elsewhere.create_directories().unwrap();
    let there = Custody {
        calls: Default::default(),
        store: Box::new(elsewhere),
        ..bench.custody()
    };
    fs::write(bench.path("old"), &old).unwrap();
    there
        .put_backup(&Backup::read(&bench.path("old")).unwrap())
        .unwrap();
    let mut longer = there.open(None, NOW).unwrap();
    for _ in 0..2 {
        let next = lifecycle::activate(&longer.ring, key(), NOW).unwrap();
        longer = there.commit(&longer, next, NOW).unwrap();
    }
    seeds += &seed(&longer);
    let path = generations(&bench.path("elsewhere")).pop().unwrap();
    let backup = Backup::read(&path).unwrap();
    let copy = there.open_backup(&backup, None, NOW).unwrap();
    let here = custody.open(None, NOW).unwrap();
    custody.restore(Some(&here), &copy, &backup, NOW).unwrap();
    let opened = custody.open(None, NOW).unwrap();
    let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    let opened = custody.commit(&opened, next, NOW).unwrap();
    seeds += &seed(&opened);
    custody.note_backup(&opened, NOW).unwrap();

    fs::create_dir_all(dir.join("ring")).unwrap();
    for entry in fs::read_dir(bench.path("ring")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "lock" {
            fs::copy(&path, dir.join("ring").join(path.file_name().unwrap())).unwrap();
        }
    }
    for name in ["root.key", "second.key", "code"] {
        fs::copy(bench.path(name), dir.join(name)).unwrap();
    }
    fs::write(dir.join("backup.ring"), &opened.head.bytes).unwrap();
    fs::write(dir.join("seeds"), seeds).unwrap();
}

/// A line with a seed that a ring has sealed under its active key.
fn seed(opened: &Opened) -> String {
    let plain: [u8; 32] = kekring::crypto::random().unwrap();
    let (sealed, id) = opened.keyring().encrypt(None, &plain).unwrap();
    format!("{id} {} {}\n", HEXLOWER.encode(&sealed), HEXLOWER.encode(&plain))
}
