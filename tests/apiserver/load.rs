//! Secrets written and read without a break, every operation counted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::client::Api;
use crate::wait::{SOON, wait_for};

/// How many operations show that they go on.
const MANY: usize = 100;
const FEW: usize = 20;

/// One writer and one reader. The password of a Secret is its name. A write that failed is tried again.
pub struct Load {
    name: &'static str,
    many: usize,
    /// After each operation.
    pause: Duration,
    writer: Api,
    reader: Api,
    over: AtomicBool,
    written: AtomicUsize,
    read: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// Raises a flag when dropped: threads that loop until then end also when the trial fails in the middle.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

impl Load {
    /// Secret number n is called `load-<n>`.
    pub fn new(api: Api) -> Self {
        Self::across("load", api.clone(), api)
    }

    /// Writes through one kube-apiserver and reads through another; Secret number n is called `<name>-<n>`.
    pub fn across(name: &'static str, writer: Api, reader: Api) -> Self {
        Self {
            name,
            many: MANY,
            pause: Duration::ZERO,
            writer,
            reader,
            over: AtomicBool::new(false),
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            failures: Mutex::new(Vec::new()),
        }
    }

    /// A few Secrets a second, for a cluster that lives on and on which all of them are written again.
    #[allow(dead_code)] // one suite needs it
    pub fn gentle(name: &'static str, api: &Api) -> Self {
        Self {
            many: FEW,
            pause: Duration::from_millis(100),
            ..Self::across(name, api.clone(), api.clone())
        }
    }

    /// Writes and reads for as long as `scenario` runs.
    pub fn during<T>(&self, scenario: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let _over = Over(&self.over);
            scope.spawn(|| self.write());
            scope.spawn(|| self.read());
            self.go_on();
            scenario()
        })
    }

    /// Waits until many more Secrets have been written and read than now.
    pub fn go_on(&self) {
        let written = self.written() + self.many;
        self.reads_go_on();
        wait_for("further writes", SOON, || {
            (self.written() >= written).then_some(())
        });
    }

    /// Waits until many more Secrets have been read than now, whatever the writes do.
    pub fn reads_go_on(&self) {
        let read = self.reads() + self.many;
        wait_for("further reads", SOON, || (self.reads() >= read).then_some(()));
    }

    /// How many Secrets there are; also the number of the next one.
    pub fn written(&self) -> usize {
        self.written.load(SeqCst)
    }

    pub fn reads(&self) -> usize {
        self.read.load(SeqCst)
    }

    /// What has failed so far.
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// The name of a Secret of this load.
    pub fn secret(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// The Secret that was written last.
    pub fn newest(&self) -> String {
        self.secret(self.written() - 1)
    }

    fn write(&self) {
        while !self.over.load(SeqCst) {
            let name = self.secret(self.written());
            match self.writer.create_secret(&name, &name) {
                Ok(()) => self.written.fetch_add(1, SeqCst),
                Err(why) => self.fail(format!("cannot write {name}: {why}")),
            };
            self.pause();
        }
    }

    /// In turn the newest Secret, and each one from the oldest on.
    fn read(&self) {
        for turn in 0.. {
            if self.over.load(SeqCst) {
                return;
            }
            let written = self.written();
            if written == 0 {
                thread::yield_now();
                continue;
            }
            let number = if turn % 2 == 0 {
                written - 1
            } else {
                turn / 2 % written
            };
            let name = self.secret(number);
            match self.reader.password(&name) {
                Ok(password) if password == name => self.read.fetch_add(1, SeqCst),
                Ok(other) => self.fail(format!("{name} reads as {other}")),
                Err(why) => self.fail(format!("cannot read {name}: {why}")),
            };
            self.pause();
        }
    }

    /// The pace of the load; nothing waits for it.
    #[allow(clippy::disallowed_methods)]
    fn pause(&self) {
        if !self.pause.is_zero() {
            thread::sleep(self.pause);
        }
    }

    fn fail(&self, why: String) -> usize {
        self.failures.lock().unwrap().push(why);
        0
    }
}

/// The name of a Secret of a load that has none of its own.
pub fn secret(number: usize) -> String {
    format!("load-{number}")
}
