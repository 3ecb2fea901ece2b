//! Bits flipped, bytes cut off, pages gone: of a generation, the mark, the record of a backup, the root.

use std::fs;
use std::path::Path;

use crate::{Ring, full, put, say};

/// Every changed bit in the long form; one of each byte in the short form.
fn flips(whole: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let flip = |bit: usize| {
        let mut bytes = whole.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let all = whole.len() * 8;
    let step = if full() { 1 } else { 9 };
    ((0..all).step_by(step).map(flip).collect(), all)
}

/// Every shorter length; one in three in the short form.
fn cuts(whole: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let step = if full() { 1 } else { 3 };
    let cuts = (0..whole.len()).step_by(step);
    (cuts.map(|length| whole[..length].to_vec()).collect(), whole.len())
}

/// Puts each spoilt form in place of the file, and the whole one back in the end.
fn spoil(path: &Path, mut judge: impl FnMut(&str)) -> usize {
    let whole = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let name = name.split('-').next().unwrap();
    let mut tried = 0;
    for (how, (forms, all)) in [("flipped bits", flips(&whole)), ("truncations", cuts(&whole))] {
        for (at, bytes) in forms.iter().enumerate() {
            fs::write(path, bytes).unwrap();
            judge(&format!("{name}, {how}, number {at}"));
        }
        say(&format!("corrupt: {name}: {} of {all} {how}", forms.len()));
        tried += forms.len();
    }
    fs::write(path, whole).unwrap();
    tried
}

#[test]
fn a_newest_generation_with_any_bit_changed_or_cut_anywhere_is_corrupt_and_an_older_one_serves() {
    let ring = Ring::new();

    let tried = spoil(&ring.bench.newest(), |what| ring.judge_older(what, "corrupt"));

    assert!(tried > 500);
    assert_eq!(ring.judge("mended").unwrap().ring.generation, 3);
}

#[test]
fn a_mark_with_any_bit_changed_or_cut_anywhere_does_not_count_and_says_so() {
    let ring = Ring::new();

    spoil(&ring.dir().join("mark"), |what| {
        let opened = ring.judge(what).unwrap();
        assert!(opened.keyring().status().is_ok(), "{what}");
        let told = opened.warnings.iter().any(|it| it.contains("mark cannot be"));
        assert!(told || opened.frozen.is_some(), "{what}: {:?}", opened.warnings);
    });

    assert!(ring.judge("mended").unwrap().mark.is_some());
}

#[test]
fn a_record_of_a_backup_with_any_bit_changed_or_cut_anywhere_does_not_count() {
    let ring = Ring::new();
    let custody = ring.bench.custody();
    custody.note_backup(&ring.bench.open(), crate::NOW).unwrap();

    spoil(&ring.dir().join("backup"), |what| {
        assert!(ring.judge(what).unwrap().backup.is_none(), "{what}");
    });

    assert!(ring.judge("mended").unwrap().backup.is_some());
}

#[test]
fn a_root_key_with_any_bit_changed_is_a_wrong_root_and_of_any_other_length_none() {
    let ring = Ring::new();

    spoil(&ring.bench.path("root.key"), |what| {
        let why = ring.judge(what).map(drop).unwrap_err();
        let class = if what.contains("flipped") {
            "wrong root"
        } else {
            "not usable"
        };
        assert!(why.contains(class), "{what}: {why}");
    });

    assert_eq!(ring.judge("mended").unwrap().ring.generation, 3);
}

#[test]
fn a_page_of_zeros_or_of_an_older_generation_is_corrupt() {
    let ring = Ring::new();
    let newest = ring.bench.newest();
    let whole = fs::read(&newest).unwrap();
    let older = fs::read(&ring.bench.generations()[1]).unwrap();
    let mut tried = 0;
    for size in [16, 64, 512, 4096] {
        for from in (0..whole.len()).step_by(size) {
            let to = whole.len().min(from + size);
            let zeros = vec![0; to - from];
            let stale: Vec<u8> = (from..to)
                .map(|at| older.get(at).copied().unwrap_or_default())
                .collect();
            for page in [zeros, stale] {
                if whole[from..to] == page {
                    continue;
                }
                let mut bytes = whole.clone();
                bytes[from..to].copy_from_slice(&page);
                fs::write(&newest, bytes).unwrap();
                ring.judge_older(&format!("{size} bytes at {from}"), "corrupt");
                tried += 1;
            }
        }
    }
    put(&newest, &[whole.as_slice(), &[0; 4096]].concat());
    ring.judge_older("a page of zeros after it", "corrupt");

    say(&format!(
        "corrupt: {} pages of zeros and of an older generation",
        tried + 1
    ));
}
