//! Names of tests, as their runners print them, read from the sources. It relies on rustfmt: what opens at an indentation
//! closes at the same one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::root;

/// One suite.
pub(crate) struct Suite {
    pub(crate) tests: BTreeSet<String>,
    /// Golden files, which are cases of one test.
    golden: BTreeSet<String>,
}

impl Suite {
    /// `lib` is the unit tests, `fuzz` the fuzz targets, `bench` what benchmarks test, anything else a directory of
    /// `tests/`.
    pub(crate) fn read(suite: &str) -> Option<Self> {
        let (mut tests, mut golden) = (BTreeSet::new(), BTreeSet::new());
        match suite {
            "lib" => collect(&root().join("src"), "", &mut tests),
            "fuzz" => tests = stems(&root().join("fuzz/fuzz_targets"))?,
            _ => {
                let dir = root().join("tests").join(suite);
                let main = fs::read_to_string(dir.join("main.rs")).ok()?;
                collect(&dir, "", &mut tests);
                tests.extend(trials(&main));
                files(&dir.join("golden"), "", &mut golden);
            }
        }
        Some(Self { tests, golden })
    }

    /// Whether there is a test of this name; `golden FILE` is a golden file.
    pub(crate) fn has(&self, test: &str) -> bool {
        match test.strip_prefix("golden ") {
            Some(file) => self.golden.contains(file),
            None => self.tests.contains(test),
        }
    }
}

/// Each test below `dir`, under the module that its file is.
fn collect(dir: &Path, module: &str, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let below = join(module, &stem);
        if path.is_dir() {
            collect(&path, &below, tests);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let own = match &*stem {
                "main" | "lib" | "mod" => module,
                _ => &below,
            };
            let text = fs::read_to_string(&path).unwrap();
            tests.extend(tests_of(own, &text));
            tests.extend(made_by_macros(own, &text));
        }
    }
}

/// Each `#[test]` of a file that is `module`, in the modules that it opens.
fn tests_of(module: &str, text: &str) -> Vec<String> {
    let (mut found, mut marked) = (Vec::new(), false);
    let mut open: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        if bare.starts_with('}') {
            open.retain(|(at, _)| *at < indent);
        } else if let Some(name) = word_after(bare, "mod ").filter(|_| bare.ends_with('{')) {
            open.push((indent, name));
        } else if bare == "#[test]" || bare == "#[tokio::test]" {
            marked = true;
        } else if let Some(name) = word_after(bare, "fn ").filter(|_| marked) {
            let path = open
                .iter()
                .fold(module.to_owned(), |path, (_, it)| join(&path, it));
            found.push(join(&path, name));
            marked = false;
        }
    }
    found
}

/// Tests that a macro of the same file makes of a list: `name: …` on each line of it.
fn made_by_macros(module: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("macro_rules! ").skip(1) {
        let (name, definition) = part.split_once(' ').unwrap();
        let definition = definition.split("\n}\n").next().unwrap();
        if !(definition.contains("#[test]") && definition.contains("fn $")) {
            continue;
        }
        let call = format!("\n{name}! {{\n");
        let calls = text.split(call.as_str()).skip(1);
        let lines = calls
            .filter_map(|call| call.split("\n}").next())
            .flat_map(str::lines);
        let names = lines.filter_map(|line| line.trim().split_once(": ").map(|(name, _)| name));
        found.extend(names.map(|name| join(module, name)));
    }
    found
}

/// The scenarios of a main of its own: those that its `trials!` lists, and the titles in its `CASES`.
fn trials(main: &str) -> Vec<String> {
    let listed = main
        .split("trials![")
        .skip(1)
        .filter_map(|it| it.split("];").next());
    let scenarios = listed.flat_map(|list| list.lines()).filter_map(|line| {
        let path = line.trim().strip_suffix(',')?;
        Some(path.rsplit_once("::")?.1.to_owned())
    });
    let cases = main
        .split("const CASES")
        .skip(1)
        .filter_map(|it| it.split("];").next());
    let titles = cases.flat_map(|list| list.split('"').skip(1).step_by(2));
    scenarios.chain(titles.map(str::to_owned)).collect()
}

fn word_after<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let line = ["pub ", "async "]
        .iter()
        .fold(line, |line, it| line.strip_prefix(it).unwrap_or(line));
    let rest = line.strip_prefix(keyword)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    rest.get(..end)
}

fn join(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        module => format!("{module}::{name}"),
    }
}

fn stems(dir: &Path) -> Option<BTreeSet<String>> {
    let entries = fs::read_dir(dir).ok()?;
    let stem = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_string_lossy().into_owned();
    Some(entries.map(|entry| stem(entry.unwrap())).collect())
}

/// Every file below `dir`, by its path from there.
fn files(dir: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let name = match below {
            "" => name.into_owned(),
            below => format!("{below}/{name}"),
        };
        match path.is_dir() {
            true => files(&path, &name, found),
            false => drop(found.insert(name)),
        }
    }
}

#[test]
fn finds_tests_in_their_modules_and_scenarios_in_their_lists() {
    let text = "#[test]\n#[ignore]\nfn one() {\n}\nfn two() {}\nmod inner {\n    use x;\n    #[test]\n    fn three() {\n    }\n}\n\
        #[test]\nfn four() {\n}\n";
    let main = "macro_rules! trials {}\nfn main() {\n    trials![\n        &times,\n        Needs: a::five,\n        b::six,\n    ];\n}\n\
        const CASES: [Case; 1] = [(\"seven, or so\", a::b)];\n";

    assert_eq!(tests_of("m", text), ["m::one", "m::inner::three", "m::four"]);
    let sweeps = "macro_rules! sweeps {\n    ($($test:ident: $verb:literal,)*) => {\n        $(#[test] fn $test() {})*\n    };\n}\n\n\
        sweeps! {\n    eight: \"init\",\n    nine: \"rotate\",\n}\n";
    assert_eq!(made_by_macros("m", sweeps), ["m::eight", "m::nine"]);
    assert_eq!(tests_of("", "#[test]\nfn five() {}\n"), ["five"]);
    assert_eq!(trials(main), ["five", "six", "seven, or so"]);
}
