//! Every outcome of every verb, each as a file in `tests/cli/golden`. `UPDATE_GOLDEN=1` writes what is seen into them.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use kekring_kit::{Missing, Suite};
use rustix::process::{Pid, Signal, kill_process};

use crate::normal::Names;
use crate::session::{Run, Session};
use crate::support::{Killed, PATIENCE, in_repository, kekring, wait_until};
use crate::world::{SETUPS, World};

/// How wide help is, whoever asks.
const WIDTH: &str = "100";

/// Each file is a trial: `golden rotate/done.txt`.
pub fn add_to(suite: &mut Suite) {
    for path in files() {
        suite.trial(format!("golden {}", name(&path)), move || {
            let difference = check(&path)?;
            assert!(
                difference.is_none(),
                "it differs; look, then `UPDATE_GOLDEN=1 cargo test --test cli`\n{}",
                difference.unwrap_or_default()
            );
            Ok(())
        });
    }
}

#[test]
fn every_verb_has_its_outcomes_and_every_file_its_verb() {
    let verbs = verbs();
    let mut wrong = Vec::new();

    for path in files() {
        let dir = name(path.parent().unwrap());
        if !verbs.iter().any(|(verb, _)| verb.join("/") == dir) {
            wrong.push(format!("{}: there is no verb {dir:?}", name(&path)));
        }
    }
    for (verb, leaf) in &verbs {
        let outcomes = files()
            .iter()
            .filter(|it| name(it.parent().unwrap()) == verb.join("/"))
            .count();
        let needed = if *leaf { 2 } else { 1 };
        if outcomes < needed {
            wrong.push(format!("kekring {}: no golden file but its help", verb.join(" ")));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_help_of_every_verb_is_a_golden_file() {
    for (verb, _) in verbs() {
        let path = root().join(verb.join("/")).join("help.txt");
        if updating() && !path.exists() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let command = format!("{} --help", verb.join(" "));
            fs::write(
                &path,
                format!("given: nothing\n$ kekring {}\nexit: 0\n", command.trim()),
            )
            .unwrap();
            check(&path).unwrap();
        }

        let session = Session::read(&path).unwrap_or_else(|why| panic!("{}: {why}", name(&path)));

        let asked = [&verb[..], &["--help".to_owned()]].concat();
        assert_eq!(session.runs[0].words(), asked, "{}", name(&path));
    }
}

/// What a verb can say and no golden file shows, and why.
/// Several nodes need an etcd: tests/ring_on_etcd shows what they say.
const ON_ETCD: &str = "needs an etcd: see tests/ring_on_etcd";

const SHOWN_ELSEWHERE: [(&str, &str); 19] = [
    ("cannot do this here: node ", ON_ETCD),
    ("the ring is not changed: a newer kekring", ON_ETCD),
    ("the ring is on etcd, and is not proven there", ON_ETCD),
    ("cannot move the ring to etcd: there is ", ON_ETCD),
    ("cannot move the ring to files while", ON_ETCD),
    ("cannot move the ring to files: this node's", ON_ETCD),
    ("cannot move the ring to files: ", ON_ETCD),
    (": it is alive, and would register", ON_ETCD),
    (
        ": a record in etcd says that it lives, and no server keeps it: it has no lease",
        ON_ETCD,
    ),
    (" is not removed yet: the nodes' histories", ON_ETCD),
    ("nothing was changed: the nodes' histories", ON_ETCD),
    ("the key is active, and is not used yet by ", ON_ETCD),
    ("cannot make a ring: somebody else has made one", ON_ETCD),
    (
        "the slot is removed, and older generations",
        "a file that cannot be removed although its directory can be written",
    ),
    (
        "cannot write the configuration as YAML",
        "no document of ours is refused",
    ),
    (
        "cannot back up: no file was named",
        "the parser asks for it first",
    ),
    (
        "cannot go on: the recovery code was not typed back",
        "needs a terminal: see terminal.rs",
    ),
    ("cannot watch: ", "the kernel gives no signal handler"),
    (
        "cannot serve under hardening: require",
        "the kernel refuses: see tests/memory",
    ),
];

#[test]
fn every_failure_that_a_verb_can_name_is_in_a_golden_file() {
    let texts: Vec<String> = files().iter().map(|it| fs::read_to_string(it).unwrap()).collect();
    let golden = |said: &str| texts.iter().any(|text| text.contains(said));
    let mut wrong = Vec::new();

    let failures = failures();

    for said in &failures {
        let excuse = SHOWN_ELSEWHERE.iter().find(|(start, _)| said.starts_with(start));
        match (golden(said), excuse) {
            (false, None) => wrong.push(format!("no golden file says {said:?}")),
            (true, Some((_, why))) => wrong.push(format!("a golden file does say {said:?}: {why}?")),
            _ => {}
        }
    }
    assert!(failures.len() > 30, "{failures:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The longest fixed part of each message that the source of a verb gives a `Failure`.
fn failures() -> Vec<String> {
    let (mut found, mut places) = (Vec::new(), vec![in_repository("src/cli")]);
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(place).unwrap();
        for kind in ["failed", "usage", "refused", "unfinished"] {
            for call in text.split(&format!("Failure::{kind}(")).skip(1) {
                // A message that is not written there is made elsewhere.
                let call: String = call.trim_start().chars().take(400).collect();
                let literal = call.strip_prefix("format!(").unwrap_or(&call).trim_start();
                let Some(literal) = literal.strip_prefix('"') else {
                    continue;
                };
                let literal = literal.replace("\\\"", "\u{1}");
                let message = literal.split('"').next().unwrap();
                let fixed = message.split(['{', '}']).step_by(2).max_by_key(|part| part.len());
                found.push(fixed.unwrap().replace('\u{1}', "\""));
            }
        }
    }
    found
}

#[test]
fn every_setup_is_used() {
    let given: Vec<String> = files()
        .iter()
        .filter_map(|path| Session::read(path).ok())
        .flat_map(|session| session.given)
        .collect();

    let unused: Vec<_> = SETUPS
        .iter()
        .map(|(name, _, _)| *name)
        .filter(|name| !given.iter().any(|it| it == name))
        .collect();

    assert!(unused.is_empty(), "no golden file is given {unused:?}");
}

/// Runs a session and says what is other than in its file.
fn check(path: &Path) -> Result<Option<String>, Missing> {
    let old = match Session::read(path) {
        Ok(session) => session,
        Err(why) => return Ok(Some(why)),
    };
    let new = run(&old)?;
    let text = fs::read_to_string(path).unwrap();
    if text == new.text() {
        return Ok(None);
    }
    if updating() {
        fs::write(path, new.text()).unwrap();
        return Ok(None);
    }
    Ok(Some(difference(&text, &new.text())))
}

/// The session with the outcomes that are seen.
fn run(session: &Session) -> Result<Session, Missing> {
    let mut world = World::new(&session.config);
    let mut names = Names::new(&world.places());
    let named = ["<KEY ", "<SLOT "]
        .iter()
        .any(|name| session.runs.iter().any(|run| run.command.contains(name)));
    for step in &session.given {
        world.give(step)?;
        if named && world.configured {
            names.normal(&world.keys());
            names.normal(&world.slots());
        }
    }
    let mut runs = Vec::new();
    for run in &session.runs {
        runs.push(outcome(run, session, &world, &mut names));
    }
    Ok(Session {
        remarks: session.remarks.clone(),
        given: session.given.clone(),
        config: session.config.clone(),
        variables: session.variables.clone(),
        runs,
    })
}

fn outcome(run: &Run, session: &Session, world: &World, names: &mut Names) -> Run {
    let newest = || {
        world
            .plugin
            .newest()
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    let filled = |word: &String| match word.as_str() {
        "<NEWEST>" => newest(),
        word => names.filled(word),
    };
    let words: Vec<String> = run.words().iter().map(filled).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let elsewhere = ["--config", "--dev", "--help", "--version"]
        .iter()
        .any(|it| words.contains(it));
    let mut command = match world.configured && !elsewhere {
        true => world.plugin.command(&words),
        false => kekring(&words),
    };
    command.current_dir(&world.plugin.dir).env("COLUMNS", WIDTH);
    if words.contains(&"--dev") {
        command.env("KEKRING_NODE_NAME", "node-under-test");
    }
    for variable in &session.variables {
        let (name, value) = variable.split_once('=').expect("env: NAME=value");
        command.env(name, names.filled(value));
    }
    if let Some(user) = world.user {
        command.uid(user).gid(user);
    }
    let output = ended(&mut command, &run.until);
    let lines = |bytes: &[u8], names: &mut Names| -> Vec<String> {
        let text = names.normal(&String::from_utf8_lossy(bytes));
        text.lines().map(str::to_owned).collect()
    };
    let mut stdout = lines(&output.stdout, names);
    stdout.truncate(run.first.unwrap_or(usize::MAX));
    Run {
        exit: output.status.code().unwrap_or(-1),
        stdout,
        stderr: run.stderr.as_ref().map(|_| lines(&output.stderr, names)),
        ..run.clone()
    }
}

/// Runs a command to its end; one with an `until` gets SIGTERM once it has written that.
fn ended(command: &mut Command, until: &str) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let stdout = Written::by(child.0.stdout.take().unwrap());
    let stderr = Written::by(child.0.stderr.take().unwrap());
    let (mut status, mut told) = (None, until.is_empty());
    wait_until("the command to end", PATIENCE, || {
        if !told && String::from_utf8_lossy(&stdout.bytes()).contains(until) {
            kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
            told = true;
        }
        status = child.0.try_wait().unwrap();
        status.is_some()
    });
    Output {
        status: status.unwrap(),
        stdout: stdout.all(),
        stderr: stderr.all(),
    }
}

/// What comes through a pipe.
struct Written {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Written {
    fn by(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                written.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn all(self) -> Vec<u8> {
        self.reader.join().unwrap();
        self.bytes.lock().unwrap().clone()
    }
}

/// Every verb as its words, the program itself as none; and whether it has none below it.
fn verbs() -> Vec<(Vec<String>, bool)> {
    let mut verbs = Vec::new();
    let mut open = vec![(Vec::new(), kekring::cli::command())];
    while let Some((words, command)) = open.pop() {
        let below: Vec<_> = command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
            .collect();
        for verb in &below {
            let words = [&words[..], &[verb.get_name().to_owned()]].concat();
            open.push((words, (*verb).clone()));
        }
        verbs.push((words, below.is_empty()));
    }
    verbs
}

fn root() -> PathBuf {
    in_repository("tests/cli/golden")
}

/// Every golden file, sorted.
fn files() -> Vec<PathBuf> {
    let (mut found, mut places) = (Vec::new(), vec![root()]);
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
        } else if place != root().join("README.md") {
            found.push(place);
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// The lines of both, those of one alone marked: `-` the file's, `+` what was seen.
fn difference(file: &str, seen: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (file.lines().collect(), seen.lines().collect());
    // The length of the longest common sequence of what follows.
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = match a[i] == b[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(format!("  {}", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", a[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", b[j]));
            j += 1;
        }
    }
    lines.join("\n")
}

#[test]
fn a_difference_marks_the_lines_of_one_side() {
    assert_eq!(difference("a\nb\nc", "a\nx\nc\nd"), "  a\n- b\n+ x\n  c\n+ d");
}
