//! Power cuts at random instants of a loop of rotations: what a verb acknowledged is there when the power is back.

use std::fs;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::disk::{Disk, Kind, Power};
use crate::support::{KEKRING, Plugin, Raised, from_nowhere, shown};
use crate::witness::{Lot, Site, Witness, in_full};

/// Cuts of one file system in the short form.
const SHORT: u32 = 17;
const FULL: u32 = 1000;
/// A broken writer must be noticed within so many cuts.
const NOTICED: u32 = 25;
/// A ring is made anew once it is that old: only its last generations are at stake.
const OLD: u64 = 150;
/// A cut comes before so many rotations could be made.
const LATEST: u32 = 8;

/// How the writer is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writer {
    Sound,
    /// Its files are not synced, and it believes that they are.
    NoFileSync,
    /// Its directories are not.
    NoDirectorySync,
}

/// A ring on a disk that loses its power again and again.
struct Machine {
    disk: Disk,
    power: Power,
    plugin: Plugin,
    writer: Writer,
    lot: Lot,
    /// The latest instant of a cut.
    latest: Duration,
    /// Rotations that were acknowledged.
    rotations: usize,
}

/// What a rotation said before the power was cut.
#[derive(Clone)]
struct Acknowledged {
    generation: u64,
    active: String,
}

impl Machine {
    fn new(kind: Kind, writer: Writer, lot: Lot) -> Self {
        let disk = Disk::new(kind);
        let plugin = Plugin::unmade("{}");
        plugin.configure(&format!(
            "{{ring: {{store: {{file: {{dir: {}}}}}}}}}",
            disk.at.join("ring").display()
        ));
        let mut machine = Self {
            disk,
            power: Power::new(),
            plugin,
            writer,
            lot,
            latest: Duration::ZERO,
            rotations: 0,
        };
        machine.new_ring();
        // As fast as this machine is now.
        let begun = Instant::now();
        assert!(machine.rotate(writer).status.success());
        machine.latest = begun.elapsed() * LATEST;
        machine
    }

    fn new_ring(&self) {
        let _ = fs::remove_dir_all(self.disk.at.join("ring"));
        let made = self.plugin.verb(&["init", "--no-recovery"]);
        assert!(made.status.success(), "{}", shown(&made));
    }

    fn site(&self) -> Site {
        let mut site = Site::within(&self.plugin.dir);
        site.ring = self.disk.at.join("ring");
        site
    }

    fn rotate(&self, writer: Writer) -> Output {
        let ring = self.disk.at.join("ring");
        let mut command = Command::new("strace");
        from_nowhere(&mut command);
        command.args(["-f", "-o", "/dev/null", "-e", "trace=fsync", "-e"]);
        match writer {
            Writer::Sound => return self.plugin.verb(&["rotate", "-o", "json"]),
            // A rotation without a mirror syncs its generation, the directory, its mark, the directory; then the directory
            // again, where something was removed.
            Writer::NoFileSync => command.arg("inject=fsync:retval=0:when=1+2"),
            Writer::NoDirectorySync => command.arg("inject=fsync:retval=0").arg("-P").arg(ring),
        };
        command.args([KEKRING, "rotate", "-o", "json", "--config"]);
        command.arg(&self.plugin.config).output().unwrap()
    }

    /// Rotates until the power is cut, and says which rotation was the last to be acknowledged.
    #[allow(clippy::disallowed_methods)] // the instant of the cut is what is drawn
    fn cut(&mut self) -> Option<Acknowledged> {
        let instant = Duration::from_micros(self.lot.below(u64::try_from(self.latest.as_micros()).unwrap()));
        let (acknowledged, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let mut power = std::mem::replace(&mut self.power, Power::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let output = self.rotate(self.writer);
                    // A machine without power acknowledges nothing: here the process outlives the cut, and a sync that meets
                    // it may say that all is well.
                    if output.status.success() && !over.load(Ordering::SeqCst) {
                        acknowledged.lock().unwrap().push(read(&output));
                    }
                }
            });
            let at_the_cut = Raised(&over);
            std::thread::sleep(instant);
            drop(at_the_cut);
            power.cut(&self.disk);
        });
        self.power = power;
        let acknowledged = acknowledged.into_inner().unwrap();
        self.rotations += acknowledged.len();
        acknowledged.last().cloned()
    }

    /// One cut, and what is there when the power is back.
    fn cycle(&mut self) -> Result<(), String> {
        let before = Witness::of(&self.site().open().map_err(|why| why.to_string())?);
        let acknowledged = self.cut();
        self.disk.unmount();
        self.disk.mount();
        let site = self.site();
        let halves = site.false_generations();
        if !halves.is_empty() {
            return Err(format!("no generations: {halves:?}"));
        }
        let opened = site.open().map_err(|why| why.to_string())?;
        before.check(&opened)?;
        if let Some(last) = acknowledged {
            if opened.ring.generation < last.generation
                || !opened.ring.keys.iter().any(|key| key.id.as_str() == last.active)
            {
                return Err(format!(
                    "generation {} was acknowledged and is lost",
                    last.generation
                ));
            }
            let marked = opened.mark.as_ref().map_or(0, |mark| mark.generation);
            if marked < last.generation {
                return Err(format!(
                    "the mark of generation {} was acknowledged and is lost",
                    last.generation
                ));
            }
        }
        let kept = Witness::of(&opened);
        let begun = Instant::now();
        let next = self.rotate(Writer::Sound);
        self.latest = (begun.elapsed() * LATEST).max(self.latest / 2);
        if !next.status.success() {
            return Err(format!("it does not rotate: {}", shown(&next)));
        }
        let opened = site.open().map_err(|why| why.to_string())?;
        if opened.ring.generation > OLD {
            self.new_ring();
            return Ok(());
        }
        kept.check(&opened)
    }
}

fn read(output: &Output) -> Acknowledged {
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    Acknowledged {
        generation: said["generation"].as_u64().unwrap(),
        active: said["active"].as_str().unwrap().to_owned(),
    }
}

fn cuts(kind: Kind) {
    let seed = Lot::seed();
    let total = if in_full() { FULL } else { SHORT };
    let mut machine = Machine::new(kind, Writer::Sound, Lot::new(seed, kind.name()));
    let mut violations = Vec::new();
    for cut in 1..=total {
        if let Err(why) = machine.cycle() {
            println!("{}, cut {cut}: {why}", kind.name());
            violations.push(format!("cut {cut}: {why}"));
            machine.new_ring();
        }
    }
    println!(
        "{}: {total} power cuts of {total}, {} rotations acknowledged, {} violations; seed {seed}",
        kind.name(),
        machine.rotations,
        violations.len()
    );
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(
        machine.rotations >= usize::try_from(total / 8).unwrap(),
        "hardly a rotation is cut"
    );
}

pub fn what_was_acknowledged_survives_power_cuts_of_ext4_with_ordered_data() {
    cuts(Kind::Ordered);
}

pub fn what_was_acknowledged_survives_power_cuts_of_ext4_with_data_written_back() {
    cuts(Kind::Writeback);
}

pub fn what_was_acknowledged_survives_power_cuts_of_xfs() {
    cuts(Kind::Xfs);
}

/// The cuts must notice a writer that omits what the order of its calls promises.
fn noticed(kind: Kind, writer: Writer) {
    let seed = Lot::seed();
    let mut machine = Machine::new(kind, writer, Lot::new(seed, kind.name()));
    for cut in 1..=NOTICED {
        if let Err(why) = machine.cycle() {
            println!(
                "{}, {writer:?}: noticed at cut {cut} of {NOTICED}: {why}",
                kind.name()
            );
            return;
        }
    }
    panic!(
        "{}, {writer:?}: not noticed in {NOTICED} cuts; seed {seed}",
        kind.name()
    );
}

pub fn a_writer_that_does_not_sync_its_files_is_noticed() {
    noticed(Kind::Ordered, Writer::NoFileSync);
    noticed(Kind::Writeback, Writer::NoFileSync);
    noticed(Kind::Xfs, Writer::NoFileSync);
}

pub fn a_writer_that_does_not_sync_its_directories_is_noticed() {
    noticed(Kind::Ordered, Writer::NoDirectorySync);
    noticed(Kind::Writeback, Writer::NoDirectorySync);
    noticed(Kind::Xfs, Writer::NoDirectorySync);
}
