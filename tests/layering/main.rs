//! The house plan, held by a test: which module may know which, which words stand where, and how long files and functions
//! are. Comments and `#[cfg(test)]` parts do not count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod source;

use std::io::Write;

use source::{File, sources};

/// Each module, and the modules of this crate that it may name. In the order of `lib.rs`: the way of a request, the way
/// of a change, the edges.
const MAY_KNOW: [(&str, &[&str]); 18] = [
    ("crypto", &[]),
    // The ring and the bytes of a wrapped seed know each other: a key encrypts by wrapping.
    ("keyring", &["crypto", "format"]),
    (
        "server",
        &["custody", "keyring", "member", "reload", "service", "telemetry"],
    ),
    // `server` for what a connection was last told, and nothing else of it.
    (
        "service",
        &[
            "crypto",
            "format",
            "keyring",
            "proto",
            "reload",
            "server",
            "telemetry",
        ],
    ),
    ("custody", &["crypto", "format", "keyring", "root", "store"]),
    // Decides only: it sees neither a store nor a clock, and so a model checker can run it.
    ("nodes", &["crypto", "format", "keyring"]),
    ("format", &["crypto", "keyring", "proto"]),
    // Does what `nodes` decides: reads etcd's store, and writes there and in this node's copy.
    (
        "member",
        &["crypto", "custody", "etcd", "format", "keyring", "nodes", "store"],
    ),
    (
        "reload",
        &[
            "crypto",
            "custody",
            "etcd",
            "keyring",
            "member",
            "nodes",
            "store",
            "telemetry",
        ],
    ),
    // Roots and stores never meet; only custody knows both.
    ("root", &["crypto", "format", "proto"]),
    ("store", &["etcd", "format"]),
    ("cluster", &["crypto", "proto"]),
    // A client of a protocol: what is kept there is nothing to it.
    ("etcd", &["proto"]),
    (
        "cli",
        &[
            "config",
            "crypto",
            "custody",
            // How long a call may take, and which ports it needs.
            "etcd",
            "keyring",
            "member",
            "proto",
            "root",
            "server",
            "service",
            "store",
            "telemetry",
        ],
    ),
    // It says no to what the client of etcd could not use, and to a name that no node can have.
    ("config", &["etcd", "keyring", "root"]),
    ("proto", &[]),
    ("telemetry", &["config", "keyring"]),
    ("main", &[]),
];

/// A word, and the only places that may say it: modules, or single files.
const ONLY_IN: [(&[&str], &[&str], &str); 11] = [
    (
        &["tonic", "hyper", "tower", "http"],
        // What etcd speaks.
        &["server", "service", "proto", "etcd", "cli/probe.rs"],
        "gRPC ends at the service; the clients are `probe` and etcd's",
    ),
    (
        &["tokio", "async", "await"],
        // Its callers block; what is asynchronous stays on its own thread.
        &[
            "server",
            "service",
            "reload",
            "etcd",
            "cli/probe.rs",
            "cli/watch.rs",
        ],
        "below the service everything is a plain function",
    ),
    (&["clap"], &["cli"], "the command line is parsed in one place"),
    (
        &["println!", "print!", "eprintln!", "eprint!", "stdout"],
        // The standard output of systemd-creds.
        &["cli", "root/program.rs"],
        "only verbs speak to people",
    ),
    (
        &["prometheus_client", "tracing_appender", "tracing_subscriber"],
        &["telemetry"],
        "others count and log; how that is shown is decided in one place",
    ),
    (&["SystemTime"], &["telemetry"], "there is one wall clock"),
    (
        &["Instant::now"],
        &[
            "server",
            "service",
            "reload",
            // A pass ends in time, whatever etcd does.
            "member",
            "cli",
            // A call ends in time, whatever the members do.
            "etcd",
            "root/program.rs",
            "store/file/write.rs",
            // A root that hangs holds up no other.
            "custody/calls.rs",
            "custody/unlock.rs",
        ],
        "time is an argument below the edges",
    ),
    (
        &["feature ="],
        &["root/mod.rs", "store/mod.rs"],
        "a backend that is not built in is known in two places",
    ),
    (
        &["serde", "serde_json", "serde_saphyr"],
        &["cli", "config", "root/mod.rs", "server/status_file.rs"],
        "keys and stored bytes have no serde",
    ),
    (
        &["aes_gcm", "Aes256Gcm", "hkdf", "hmac", "sha2", "getrandom"],
        &["crypto"],
        "ciphers are named in one module",
    ),
    (
        &["unsafe", "unsafe_code", "libc"],
        &["crypto/guarded.rs"],
        "memory is mapped in one file",
    ),
];

/// Words that nobody says.
const NEVER: [(&str, &str); 5] = [
    ("process::exit", "destructors wipe keys: return an exit code"),
    ("anyhow", "an error says what to do, by its type"),
    ("todo!", "finish it"),
    ("dbg!", "it was for you alone"),
    ("crate::{", "one `use` a module, so that this test can read it"),
];

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;

#[test]
fn modules_know_only_what_stands_below_them() {
    let mut wrong = Vec::new();

    for file in sources() {
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(module, _)| *module == file.module) else {
            wrong.push(format!(
                "{} is not in the plan: add a line to MAY_KNOW",
                file.path
            ));
            continue;
        };
        for known in file.modules_named() {
            if known != file.module && !allowed.contains(&known.as_str()) {
                wrong.push(format!("{} may not know {known}", file.path));
            }
        }
        if file.climbs_out() {
            wrong.push(format!(
                "{} leaves its module by `super`: say `crate::`",
                file.path
            ));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_stand_where_they_belong() {
    let mut wrong = Vec::new();

    for file in sources() {
        for (words, places, why) in ONLY_IN {
            let allowed = places
                .iter()
                .any(|place| *place == file.module || *place == file.path);
            for word in words.iter().filter(|word| !allowed && file.says(word)) {
                wrong.push(format!("{} says {word:?}: {why}", file.path));
            }
        }
        for (word, why) in NEVER {
            if file.says(word) {
                wrong.push(format!("{} says {word:?}: {why}", file.path));
            }
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_exception_outlives_its_use() {
    let files = sources();
    let mut idle = Vec::new();

    for (words, places, _) in ONLY_IN {
        for place in places.iter().filter(|place| place.ends_with(".rs")) {
            // Features come with the first optional backend.
            let used = files
                .iter()
                .any(|file| file.path == *place && words.iter().any(|word| file.says(word)));
            if !used && words != ["feature ="] {
                idle.push(format!("{place} no longer says any of {words:?}"));
            }
        }
    }
    for (module, allowed) in MAY_KNOW {
        let named: Vec<String> = files
            .iter()
            .filter(|file| file.module == module)
            .flat_map(File::modules_named)
            .collect();
        for known in allowed
            .iter()
            .filter(|known| !named.contains(&(**known).to_owned()))
        {
            idle.push(format!("{module} no longer knows {known}"));
        }
    }

    assert!(idle.is_empty(), "{}", idle.join("\n"));
}

#[test]
fn files_and_functions_stay_short() {
    let files = sources();
    let mut lengths: Vec<(usize, String)> = files
        .iter()
        .map(|file| (file.code_lines(), file.path.clone()))
        .collect();
    let mut functions: Vec<(usize, String)> = files.iter().flat_map(File::functions).collect();
    lengths.sort();
    functions.sort();

    // Past the capture of the test runner: these figures are wanted in every log.
    let mut out = std::io::stdout().lock();
    for (what, measured, aim) in [("files", &lengths, 300), ("functions", &functions, 40)] {
        let over = measured.iter().filter(|(lines, _)| *lines > aim).count();
        let (median, largest) = (&measured[measured.len() / 2], &measured[measured.len() - 1]);
        writeln!(
            out,
            "sizes: {} {what}, median {} lines, {over} over {aim}, largest {} ({})",
            measured.len(),
            median.0,
            largest.0,
            largest.1
        )
        .unwrap();
    }

    let long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > FILE_LINES).collect();
    assert!(long.is_empty(), "files over {FILE_LINES} lines of code: {long:?}");
    let long: Vec<_> = functions
        .iter()
        .filter(|(lines, _)| *lines > FUNCTION_LINES)
        .collect();
    assert!(long.is_empty(), "functions over {FUNCTION_LINES} lines: {long:?}");
}

#[test]
fn reads_code_and_neither_comments_nor_text_nor_tests() {
    let text = "use crate::store; // crate::a\nconst X: &str = \"crate::b // \\\" tokio\";\nconst Q: char = '\"';\n\
        fn one() {\n    two();\n}\n\npub async fn three(\n    x: u8,\n) {\n    four(\n    );\n}\n#[cfg(test)]\nmod tests { use crate::c; }\n";

    let file = File::new("root/file.rs".into(), text);

    assert_eq!(file.modules_named(), ["store"]);
    assert!(file.says("async") && !file.says("tokio") && !file.says("tor"));
    assert_eq!(file.code_lines(), 12);
    let expected = [
        (1, "root/file.rs: one".to_owned()),
        (2, "root/file.rs: three".to_owned()),
    ];
    assert_eq!(file.functions(), expected);
}
