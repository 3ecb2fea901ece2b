//! What lies in the directory and is not what it should be: each its own error, and nothing is changed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use kekring::store::FileStore;
use kekring_kit::Missing;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::bench::Bench;
use crate::forged::{HONEST, of_a_stranger};
use crate::support::immutable::Immutable;
use crate::support::scratch;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Replaces the only generation by what `make` puts at its path, and says how opening fails.
fn with_instead(make: impl FnOnce(&Path)) -> String {
    let bench = Bench::new();
    let path = bench.newest();
    fs::remove_file(&path).unwrap();
    make(&path);
    bench.error()
}

#[test]
fn what_is_no_regular_file_is_refused_by_its_kind() {
    let link = with_instead(|path| symlink("/etc/passwd", path).unwrap());
    let fifo = with_instead(|path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap());
    let socket = with_instead(|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()));
    let directory = with_instead(|path| fs::create_dir(path).unwrap());

    assert!(link.contains("is a symbolic link"), "{link}");
    assert!(fifo.contains("is not a regular file"), "{fifo}");
    assert!(socket.contains("is not a regular file"), "{socket}");
    assert!(
        directory.contains("is not a regular file") || directory.contains("has mode"),
        "{directory}"
    );
}

#[test]
fn a_sparse_giant_is_refused_before_it_is_read() {
    let giant = with_instead(|path| {
        fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
        chmod(path, 0o600);
    });

    assert!(giant.contains("a generation has at most 1048576"), "{giant}");
}

#[test]
fn files_and_directories_that_others_can_use_are_refused() {
    let bench = Bench::new();
    chmod(&bench.newest(), 0o644);
    let file = bench.error();
    chmod(&bench.newest(), 0o600);
    chmod(&bench.path("ring"), 0o755);
    let directory = bench.error();

    assert!(
        file.contains("has mode 0644") && file.contains("chmod 0600"),
        "{file}"
    );
    assert!(
        directory.contains("has mode 0755") && directory.contains("chmod 0700"),
        "{directory}"
    );
    assert_eq!(
        fs::metadata(bench.path("ring")).unwrap().permissions().mode() & 0o777,
        0o755,
        "left as it was"
    );
}

#[test]
fn an_older_generation_serves_decrypt_when_the_newest_is_damaged_and_is_never_written_over() {
    let bench = Bench::new();
    let old = bench.open().ring.active().unwrap().id.clone();
    bench.rotate();
    let damaged = bench.newest();
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[60] ^= 1;
    fs::write(&damaged, &bytes).unwrap();

    let opened = bench.open();
    let refused = bench.try_rotate(&opened).err().unwrap().to_string();

    assert_eq!(opened.ring.generation, 1);
    assert!(opened.keyring().holds(&old));
    assert!(
        opened.keyring().status().is_err(),
        "it has already reported a newer key"
    );
    assert!(
        refused.contains("frozen") && refused.contains("generation 2"),
        "{refused}"
    );
    assert_eq!(fs::read(&damaged).unwrap(), bytes, "left as it is");
    assert_eq!(bench.generations().len(), 2);
}

#[test]
fn a_truncated_or_empty_generation_is_corrupt_at_every_length() {
    let bench = Bench::new();
    let whole = fs::read(bench.newest()).unwrap();

    for length in 0..whole.len() {
        fs::write(bench.newest(), &whole[..length]).unwrap();
        let error = bench.error();
        assert!(error.contains("corrupt: "), "{length}: {error}");
    }
}

#[test]
fn foreign_files_do_not_matter() {
    let bench = Bench::new();
    for name in [
        ".tmp-abc",
        "notes.txt",
        "gen-1.ring",
        "GEN-2-00112233.ring",
        "gen-02-00112233.ring",
        "gen-9-0011223.ring",
    ] {
        fs::write(bench.path("ring").join(name), "x").unwrap();
    }

    let opened = bench.rotate();

    assert_eq!(opened.ring.generation, 2);
    assert!(
        !bench.path("ring/.tmp-abc").exists(),
        "what a dead writer left is removed"
    );
    assert!(bench.path("ring/notes.txt").exists());
}

#[test]
fn only_old_generations_are_removed_and_five_are_kept() {
    let bench = Bench::new();

    for _ in 0..8 {
        bench.rotate();
    }

    let numbers: Vec<u64> = bench
        .generations()
        .iter()
        .map(|path| crate::bench::number(path))
        .collect();
    assert_eq!(numbers, [5, 6, 7, 8, 9]);
    assert_eq!(bench.open().ring.keys.len(), 10, "and no key is lost by that");
}

#[test]
fn a_full_disk_refuses_the_rotation_and_leaves_the_ring_as_it_was() -> Result<(), Missing> {
    let bench = Bench::new();
    let before = bench.generations();
    let opened = bench.open();
    // A directory where the temporary file cannot be made stands for every failed write.
    let immutable = Immutable::new(&bench.path("ring"))?;

    let refused = bench.try_rotate(&opened).err().unwrap().to_string();

    drop(immutable);
    assert!(refused.contains("cannot change the ring"), "{refused}");
    assert_eq!(bench.generations(), before);
    assert_eq!(bench.rotate().ring.generation, 2, "and the next attempt succeeds");
    Ok(())
}

#[test]
fn a_generation_whose_name_is_no_utf_8_is_a_trace_of_a_ring_all_the_same() {
    let dir = scratch();
    let store = FileStore::new(dir.path().to_owned(), None);
    assert!(store.traces().unwrap().is_empty());

    fs::write(dir.path().join(OsStr::from_bytes(b"gen-\xff.ring")), "").unwrap();

    assert_eq!(store.traces().unwrap().len(), 1);
}

#[test]
fn root_slots_that_hold_another_ring_key_than_that_of_the_body_are_tampered_with() {
    let bench = Bench::new();
    let newest = bench.newest();
    let (_, bytes) = of_a_stranger(&fs::read(&newest).unwrap(), 1, 1, HONEST);
    fs::write(&newest, bytes).unwrap();

    let why = bench.error();

    assert!(
        why.contains("its root slots hold another ring key than that of its body"),
        "{why}"
    );
}
