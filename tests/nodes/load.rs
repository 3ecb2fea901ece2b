//! Secrets written and read through every API server without a break, every request counted.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Api;
use crate::lab::{Lab, number};
use crate::over::{AtTheEnd, Over};
use crate::requests::{Trouble, create, get, list, update};
use crate::secret::Secret;
use crate::wait::{SOON, wait_for};
use crate::weather::Weather;

/// Between two requests of one thread: the load that two cores bear beside everything else.
const WRITES: Duration = Duration::from_millis(250);
const READS: Duration = Duration::from_millis(120);
/// How often readiness is looked at; each time kube-apiserver may look at its plugin.
const READINESS: Duration = Duration::from_secs(5);
/// Between two attempts while something is away.
const AGAIN: Duration = Duration::from_millis(200);
/// Of so many writes one makes a new Secret; the others change one.
const CREATES: usize = 4;
/// Of so many reads one is a list of all, in pages.
const LISTS: usize = 12;
/// So many more requests of each kind through each API server show that they go on.
const MANY: usize = 10;

/// A writer and a reader for each API server, and one who asks all whether they are ready.
pub struct Load {
    servers: Vec<Server>,
    secrets: RwLock<Vec<Arc<Secret>>>,
    weather: Arc<Weather>,
    started: Instant,
    failures: Mutex<Vec<String>>,
    over: Over,
}

struct Server {
    name: String,
    api: Api,
    writes: AtomicUsize,
    reads: AtomicUsize,
    lists: AtomicUsize,
    readiness: AtomicUsize,
    /// Attempts that failed while something was away.
    excused: AtomicUsize,
}

impl Load {
    /// Through every API server of a lab.
    pub fn of(lab: &Lab) -> Self {
        Self::through(lab, &(0..lab.nodes.len()).collect::<Vec<_>>())
    }

    /// Through some of them.
    pub fn through(lab: &Lab, nodes: &[usize]) -> Self {
        let server = |it: &usize| Server {
            name: lab.nodes[*it].name.clone(),
            api: lab.nodes[*it].api(),
            writes: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
            readiness: AtomicUsize::new(0),
            excused: AtomicUsize::new(0),
        };
        Self {
            servers: nodes.iter().map(server).collect(),
            secrets: RwLock::default(),
            weather: Arc::clone(&lab.weather),
            started: Instant::now(),
            failures: Mutex::default(),
            over: Over::default(),
        }
    }

    /// Writes and reads for as long as `scenario` runs.
    pub fn during<T>(&self, scenario: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let _end = AtTheEnd(&self.over);
            for it in 0..self.servers.len() {
                scope.spawn(move || self.write(it));
                scope.spawn(move || self.read(it));
            }
            scope.spawn(|| self.ask());
            self.go_on();
            scenario()
        })
    }

    /// Waits until more has been written and read through each API server than now.
    pub fn go_on(&self) {
        for server in &self.servers {
            let (writes, reads) = (
                server.writes.load(SeqCst) + MANY,
                server.reads.load(SeqCst) + MANY,
            );
            wait_for("further requests", 2 * SOON, || {
                let on = server.writes.load(SeqCst) >= writes && server.reads.load(SeqCst) >= reads;
                on.then_some(())
            });
        }
    }

    /// What has failed so far and is not excused.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// Every Secret that was ever written reads through this API server, one by one and in a list; how many these are.
    pub fn reads_through(&self, api: &Api) -> usize {
        let all = self.all();
        for secret in &all {
            if let Err(Trouble::Failed(why) | Trouble::Wrong(why)) = get(api, secret) {
                panic!("{}: {why}", secret.name);
            }
        }
        if let Err(Trouble::Failed(why) | Trouble::Wrong(why)) = list(api, &all) {
            panic!("the list: {why}");
        }
        all.len()
    }

    /// The numbers so far, for the last lines of a trial.
    pub fn print(&self) {
        let sum = |of: fn(&Server) -> &AtomicUsize| -> usize {
            self.servers.iter().map(|it| of(it).load(SeqCst)).sum()
        };
        println!(
            "{} Secrets, {} writes, {} reads, {} lists, {} looks at /readyz in {:.0} s through {} API servers; {} attempts while something was away; {} failures",
            self.all().len(),
            sum(|it| &it.writes),
            sum(|it| &it.reads),
            sum(|it| &it.lists),
            sum(|it| &it.readiness),
            self.started.elapsed().as_secs_f32(),
            self.servers.len(),
            sum(|it| &it.excused),
            self.failures().len()
        );
    }

    fn all(&self) -> Vec<Arc<Secret>> {
        self.secrets.read().unwrap().clone()
    }

    fn write(&self, it: usize) {
        let (server, mut own) = (&self.servers[it], Vec::<Arc<Secret>>::new());
        for turn in 0.. {
            let done = if turn % CREATES == 0 {
                let secret = Arc::new(Secret::new(format!("{}-{}", server.name, number())));
                let made = self.attempt(it, &format!("create {}", secret.name), || {
                    create(&server.api, &secret)
                });
                if made {
                    own.push(Arc::clone(&secret));
                    self.secrets.write().unwrap().push(secret);
                }
                made
            } else if let Some(secret) = own.get(turn % own.len().max(1)) {
                self.insist(it, &format!("update {}", secret.name), || {
                    update(&server.api, secret)
                })
            } else {
                false
            };
            server.writes.fetch_add(done.into(), SeqCst);
            if self.over.pause(WRITES) {
                return;
            }
        }
    }

    /// In turn the newest Secret, and each one from the oldest on, whoever wrote them; and all of them now and then.
    fn read(&self, it: usize) {
        let server = &self.servers[it];
        for turn in 0_usize.. {
            let all = self.all();
            if turn % LISTS == LISTS - 1 {
                let done = self.insist(it, "list", || list(&server.api, &all));
                server.lists.fetch_add(done.into(), SeqCst);
            } else if let Some(newest) = all.last() {
                let secret = if turn % 2 == 0 {
                    newest
                } else {
                    &all[turn / 2 % all.len()]
                };
                let done = self.insist(it, &format!("read {}", secret.name), || get(&server.api, secret));
                server.reads.fetch_add(done.into(), SeqCst);
            }
            if self.over.pause(READS) {
                return;
            }
        }
    }

    fn ask(&self) {
        while !self.over.pause(READINESS) {
            for (it, server) in self.servers.iter().enumerate() {
                let done = self.attempt(it, "readiness", || {
                    let answer = server.api.health("/readyz")?;
                    match answer.status {
                        200 => Ok(()),
                        _ => Err(Trouble::Failed(answer.body)),
                    }
                });
                server.readiness.fetch_add(done.into(), SeqCst);
            }
        }
    }

    /// Tries until it succeeds, as long as something is away that it needs.
    fn insist(&self, server: usize, what: &str, request: impl Fn() -> Result<(), Trouble>) -> bool {
        loop {
            let excused = || self.servers[server].excused.load(SeqCst);
            let before = excused();
            if self.attempt(server, what, &request) {
                return true;
            }
            // Beside this thread two others add to it; then it is tried once more for nothing.
            if excused() == before || self.over.pause(AGAIN) {
                return false;
            }
        }
    }

    /// Tries once.
    fn attempt(&self, server: usize, what: &str, request: impl Fn() -> Result<(), Trouble>) -> bool {
        let since = Instant::now();
        let why = match request() {
            Ok(()) => return true,
            Err(Trouble::Failed(_)) if self.weather.excuses(server, since) => {
                self.servers[server].excused.fetch_add(1, SeqCst);
                return false;
            }
            Err(Trouble::Failed(why) | Trouble::Wrong(why)) => why,
        };
        self.failures.lock().unwrap().push(format!(
            "{:.1} s: {}: cannot {what}: {why} (after {:.1} s)",
            self.started.elapsed().as_secs_f32(),
            self.servers[server].name,
            since.elapsed().as_secs_f32()
        ));
        false
    }
}
