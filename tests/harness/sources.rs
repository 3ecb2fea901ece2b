//! rustc knows `#[test]` in suites of libtest alone: elsewhere it would drop the function without a word.

use std::fs;
use std::path::{Path, PathBuf};

/// Mains of `Cargo.toml` that are not libtest's.
fn mains() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let targets = manifest.split("\n[[test]]\n").skip(1);
    let targets = targets.map(|target| target.split("\n\n").next().unwrap());
    let own = targets.filter(|target| target.contains("harness = false"));
    let path = |target: &str| {
        let line = target.lines().find_map(|line| line.strip_prefix("path = "));
        root.join(line.unwrap().trim_matches('"'))
    };
    own.map(path).collect()
}

fn has_tests(dir: &Path) -> bool {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut sources = files.filter(|path| path.extension().is_some_and(|it| it == "rs"));
    sources.any(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().any(|line| line.trim_start().starts_with("#[test]"))
    })
}

#[test]
fn no_test_is_compiled_away() {
    let mains = mains();
    assert!(mains.len() > 20, "{mains:?}");

    for main in mains {
        let ours = fs::read_to_string(&main)
            .unwrap()
            .contains("#[macro_use]\nextern crate kekring_kit;");
        let dir = main.parent().unwrap();
        assert!(
            ours || !has_tests(dir),
            "{}: nobody runs its #[test]s",
            main.display()
        );
    }
}
