//! Backups of a stored ring: out, in, and what each lacks.

use std::fs;

use kekring::custody::Relation;
use kekring::store::Backup;

use crate::bench::{Bench, NOW};

/// Backs up what is stored now.
fn back_up(bench: &Bench, name: &str) -> Backup {
    let opened = bench.open();
    Backup::write(&bench.path(name), &opened.head.bytes).unwrap();
    bench.custody().note_backup(&opened, NOW).unwrap();
    Backup::read(&bench.path(name)).unwrap()
}

#[test]
fn a_backup_opens_with_the_root_alone_and_holds_every_key() {
    let bench = Bench::new();
    bench.rotate();
    let backup = back_up(&bench, "backup");
    let ring = bench.open().ring;
    fs::remove_dir_all(bench.path("ring")).unwrap();

    let copy = bench.custody().open_backup(&backup, None, NOW).unwrap();

    assert_eq!(Relation::of(&copy, &copy), Relation::Same);
    assert_eq!(copy.ring.keys.len(), ring.keys.len());
    assert!(ring.keys.iter().all(|key| copy.keyring().holds(&key.id)));
}

#[test]
fn a_backup_never_touches_a_file_that_is_there() {
    let bench = Bench::new();
    fs::write(bench.path("backup"), "precious").unwrap();

    let refused = Backup::write(&bench.path("backup"), b"other").unwrap_err();

    assert!(refused.to_string().contains("exists already"), "{refused}");
    assert_eq!(fs::read(bench.path("backup")).unwrap(), b"precious");
    assert!(Backup::write(&bench.path("absent/backup"), b"x").is_err());
    assert!(Backup::read(&bench.path("")).is_err(), "a directory is no backup");
}

#[test]
fn the_record_says_which_key_the_last_backup_lacks() {
    let bench = Bench::new();
    let none = bench.open().backup_warning().unwrap();
    back_up(&bench, "backup");
    let fresh = bench.open().backup_warning();
    bench.rotate();
    let next = bench.open().backup_warning().unwrap();
    bench.rotate();
    let active = bench.open().backup_warning().unwrap();

    assert!(none.contains("no backup"), "{none}");
    assert_eq!(fresh, None);
    assert!(
        next.contains("lacks key k3-") && next.contains("the next one"),
        "{next}"
    );
    assert!(
        active.contains("lacks key k3-") && active.contains("which is in use, and 1 newer"),
        "{active}"
    );
}

#[test]
fn a_record_that_somebody_else_wrote_does_not_count() {
    let bench = Bench::new();
    back_up(&bench, "backup");
    let path = bench.path("ring/backup");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();

    assert!(bench.open().backup.is_none());
}

#[test]
fn a_backup_put_back_into_a_lost_store_is_the_ring_again() {
    let bench = Bench::new();
    bench.rotate();
    let backup = back_up(&bench, "backup");
    fs::remove_file(bench.newest()).unwrap();
    fs::remove_file(&bench.generations()[0]).unwrap();
    assert!(bench.error().contains("it is gone"));

    bench.custody().put_backup(&backup).unwrap();

    let opened = bench.open();
    assert_eq!(opened.ring.generation, 2);
    assert!(opened.frozen.is_none(), "{:?}", opened.warnings);
}

#[test]
fn a_backup_replaces_a_damaged_copy_of_itself_and_no_sound_one() {
    let bench = Bench::new();
    bench.rotate();
    let backup = back_up(&bench, "backup");
    assert!(
        bench.custody().put_backup(&backup).is_err(),
        "it is there and sound"
    );
    fs::write(bench.newest(), "rubbish").unwrap();
    assert!(bench.open().frozen.is_some());

    bench.custody().put_backup(&backup).unwrap();

    let opened = bench.open();
    assert!(opened.frozen.is_none(), "{:?}", opened.warnings);
    assert_eq!(opened.ring.generation, 2);
}

#[test]
fn a_damaged_backup_says_so_and_is_not_opened() {
    let bench = Bench::new();
    back_up(&bench, "backup");
    let mut bytes = fs::read(bench.path("backup")).unwrap();
    bytes[200] ^= 1;
    fs::remove_file(bench.path("backup")).unwrap();
    fs::write(bench.path("backup"), bytes).unwrap();

    let backup = Backup::read(&bench.path("backup")).unwrap();
    let refused = bench
        .custody()
        .open_backup(&backup, None, NOW)
        .map(drop)
        .unwrap_err();

    assert!(refused.to_string().contains("checksum"), "{refused}");
}

#[test]
fn a_throw_away_ring_needs_no_backup() {
    let mut opened = Bench::new().open();
    assert!(opened.backup_warning().is_some());

    opened.ring.development = true;

    assert_eq!(opened.backup_warning(), None);
}
