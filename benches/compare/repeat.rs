//! Repetitions: each runs every server once, in another order, as a fresh process in a fresh directory.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::servers::Server;
use crate::support::{from_nowhere, scratch};

/// What one run of one server cost, by step and figure: `loop64.cpu_us`.
pub type Figures = BTreeMap<String, f64>;

/// What every repetition measured: the reference first, then what is compared with it.
pub struct Runs {
    pub names: [&'static str; 2],
    pub repetitions: Vec<[Figures; 2]>,
}

/// How to go about it.
pub struct Plan<'a> {
    pub load: &'a Path,
    pub repetitions: usize,
    pub quick: bool,
}

impl Plan<'_> {
    pub fn run(&self, servers: [&dyn Server; 2]) -> Result<Runs, String> {
        let mut repetitions = Vec::new();
        for number in 1..=self.repetitions {
            let mut figures = [Figures::new(), Figures::new()];
            for at in shuffled() {
                eprintln!("{number}/{} {}", self.repetitions, servers[at].name());
                figures[at] = self
                    .once(servers[at])
                    .map_err(|why| format!("{}: {why}", servers[at].name()))?;
            }
            repetitions.push(figures);
        }
        Ok(Runs {
            names: servers.map(Server::name),
            repetitions,
        })
    }

    fn once(&self, server: &dyn Server) -> Result<Figures, String> {
        let dir = scratch();
        let (socket, words) = server.prepare(dir.path())?;
        let log = dir.path().join("server.log");
        let mut load = Command::new(self.load);
        load.arg("-socket").arg(socket).arg("-log").arg(&log);
        if self.quick {
            load.arg("-quick");
        } else if is_there("strace") {
            load.arg("-syscalls");
        }
        load.arg("--").args(words);
        from_nowhere(&mut load);
        let output = load
            .stderr(Stdio::inherit())
            .output()
            .map_err(|why| format!("cannot run {}: {why}", self.load.display()))?;
        if !output.status.success() {
            let log = fs::read_to_string(log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            return Err(format!("the load {}; last lines first: {last:#?}", output.status));
        }
        let mut figures: Figures = serde_json::from_slice(&output.stdout).map_err(|why| why.to_string())?;
        let program = fs::metadata(server.program()).map_err(|why| why.to_string())?;
        let kib = u32::try_from(program.len() / 1024).unwrap_or(u32::MAX);
        figures.insert("binary.kib".into(), kib.into());
        Ok(figures)
    }
}

fn shuffled() -> [usize; 2] {
    match RandomState::new().build_hasher().finish() % 2 {
        0 => [0, 1],
        _ => [1, 0],
    }
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
