//! Whatever stands in the files that it reads, the doctor ends, in time, with one of its exit codes.

use std::fs;
use std::time::{Duration, Instant};

use proptest::prelude::any;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use crate::world::{Node, manifest};

/// What stands instead of a piece of a good file.
const PIECES: [&str; 14] = [
    "[",
    "]",
    "{}",
    ": ",
    "\n",
    "- ",
    "&a ",
    "*a",
    "!!str ",
    "\"",
    "null",
    "\u{1b}[31m",
    "\0",
    "unix:///%zz%",
];
/// A doctor takes a second or two, on a busy machine more.
const LONGEST: Duration = Duration::from_secs(120);
const CASES: u32 = 40;

#[test]
fn no_file_makes_it_panic_hang_or_end_otherwise() {
    let node = Node::good();
    let good = [
        fs::read_to_string(&node.files.encryption).unwrap(),
        manifest(&node.plugin.dir),
        fs::read_to_string(&node.plugin.config).unwrap(),
    ];
    let places = [&node.files.encryption, &node.files.manifest, &node.plugin.config];
    let edit = (0..3_usize, any::<Index>(), 0..12_usize, 0..PIECES.len());
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    });

    let outcome = runner.run(&proptest::collection::vec(edit, 1..4), |edits| {
        let mut texts = good.clone();
        for (which, at, length, piece) in edits {
            replace(&mut texts[which], at, length, PIECES[piece]);
        }
        for (place, text) in places.iter().zip(&texts) {
            fs::write(place, text).unwrap();
        }
        let mut doctor = node.plugin.command(&["doctor"]);
        doctor.arg("--manifest");
        doctor
            .arg(&node.files.manifest)
            .arg("--encryption-config")
            .arg(&node.files.encryption)
            .arg("--compare")
            .arg(&node.files.encryption);
        let started = Instant::now();
        let output = doctor.output().unwrap();
        let said = crate::support::shown(&output);
        assert!(matches!(output.status.code(), Some(0..=2)), "{said}\n{texts:?}");
        assert!(
            !said.contains("panicked") && !said.contains('\x1b') && !said.contains('\0'),
            "{said}"
        );
        assert!(said.contains(" ok\n"), "no closing line: {said}");
        assert!(started.elapsed() < LONGEST, "{said}");
        Ok(())
    });

    outcome.unwrap();
}

/// Puts a piece in the place of some bytes.
fn replace(text: &mut String, at: Index, length: usize, piece: &str) {
    let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    if boundaries.is_empty() {
        return;
    }
    let start = boundaries[at.index(boundaries.len())];
    let end = boundaries.into_iter().find(|it| *it >= start + length);
    text.replace_range(start..end.unwrap_or(text.len()), piece);
}
