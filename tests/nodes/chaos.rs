//! Processes are killed and frozen at random, and one plugin's clock is an hour off, while Secrets are written and read and
//! keys rotate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use crate::clock;
use crate::keys::{CONVERGED, Keys};
use crate::lab::Lab;
use crate::load::Load;
use crate::lot::{Lot, in_full};
use crate::node::Node;
use crate::rotations::{every_api_server_reads_everything_with_empty_caches, expected};
use crate::wait::{SOON, wait_for};
use crate::weather::What;

const PERIOD: Duration = Duration::from_secs(45);
const HOUR: i64 = 3600;
/// Longest time that something stays away, well within the 3 minutes for which kube-apiserver writes without its plugin.
const LONGEST: u64 = 5000;

/// What happens to one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    KillPlugin(usize),
    /// The same with the plugin whose clock is wrong: it comes back with one that is as wrong the other way.
    TurnClock(usize),
    FreezePlugin(usize),
    KillApiServer(usize),
    FreezeApiServer(usize),
    KillMember(usize),
    FreezeMember(usize),
}

pub fn what_was_acknowledged_reads_through_every_api_server_after_kills_freezes_and_a_wrong_clock() {
    let length = Duration::from_secs(if in_full() { 2 * 3600 } else { 240 });
    let seed = Lot::seed();
    println!("\nagain: KEKRING_SEED={seed} cargo test --test nodes what_was_acknowledged");
    let mut lot = Lot::new(seed, "chaos");
    let mut lab = Lab::start(&format!("{}s", PERIOD.as_secs()));
    let library = clock::library(&lab.setup.dir);
    let (wrong, hour) = (
        usize::try_from(lot.below(3)).unwrap(),
        [HOUR, -HOUR][usize::try_from(lot.below(2)).unwrap()],
    );
    lab.nodes[wrong].plugin.kill();
    mislead(&mut lab, wrong, hour, &library);
    lab.nodes[wrong].wait_until_ready();
    let (load, keys) = (Load::of(&lab), Keys::of(&lab));
    let mut blows: BTreeMap<String, usize> = BTreeMap::new();

    let began = Instant::now();
    load.during(|| {
        keys.during(|| {
            while began.elapsed() < length {
                let fallen = fall(&mut lab, &mut lot, &library);
                for blow in fallen {
                    *blows.entry(format!("{blow:?}")).or_default() += 1;
                }
                load.go_on();
                assert_eq!(load.failures(), [""; 0]);
            }
            wait_for("the plugins to agree", CONVERGED, || keys.agreed());
        });
    });

    println!(
        "{blows:?}\n{} blows; {keys}; {}",
        blows.values().sum::<usize>(),
        lab.weather
    );
    load.print();
    assert_eq!(load.failures(), [""; 0]);
    keys.none_went_back();
    // What an hour ahead or behind would make due is not; what somebody's absence delays is done later.
    let most = *expected(began.elapsed(), PERIOD).end();
    assert!((1..=most).contains(&keys.rotations()), "at most {most} were due");
    for node in &lab.nodes {
        assert!(!node.plugin.log().contains("panicked"), "{}", node.plugin.log());
    }
    every_api_server_reads_everything_with_empty_caches(&mut lab, &load, &keys);
}

/// One blow, or two at once, and everything is mended again.
fn fall(lab: &mut Lab, lot: &mut Lot, library: &Path) -> Vec<Blow> {
    let mut blows = vec![draw(lab, lot)];
    if lot.below(3) == 0 {
        // Two members at once are a quorum that is lost.
        let second = draw(lab, lot);
        if struck(second) != struck(blows[0]) {
            blows.push(second);
        }
    }
    let weather = Arc::clone(&lab.weather);
    for blow in &blows {
        weather.begins(what(*blow));
        strike(lab, *blow);
    }
    let (begun, hold) = (Instant::now(), Duration::from_millis(lot.below(LONGEST)));
    wait_for("the end of it", SOON, || (begun.elapsed() >= hold).then_some(()));
    for blow in &blows {
        mend(lab, *blow, library);
    }
    // Each may need what another had lost.
    lab.cluster.wait_until_ready();
    lab.nodes.iter_mut().for_each(Node::keep_starting_api_server);
    for blow in &blows {
        weather.ends(what(*blow));
    }
    blows
}

fn draw(lab: &Lab, lot: &mut Lot) -> Blow {
    let it = usize::try_from(lot.below(3)).unwrap();
    match lot.below(7) {
        0 => Blow::KillPlugin(it),
        1 => Blow::TurnClock(misled(lab)),
        2 => Blow::FreezePlugin(it),
        3 => Blow::KillApiServer(it),
        4 => Blow::FreezeApiServer(it),
        5 => Blow::KillMember(it),
        _ => Blow::FreezeMember(it),
    }
}

/// The node whose clock is wrong.
fn misled(lab: &Lab) -> usize {
    lab.nodes.iter().position(|node| node.clock.is_some()).unwrap()
}

/// Starts a plugin again, by a clock that is an hour ahead or behind.
fn mislead(lab: &mut Lab, it: usize, seconds: i64, library: &Path) {
    lab.nodes[it].clock = Some((library.to_owned(), seconds));
    lab.nodes[it].serve();
    runs_by_the_clock(&lab.nodes[it], seconds);
}

/// The process.
fn struck(blow: Blow) -> (What, usize) {
    match blow {
        Blow::KillMember(it) | Blow::FreezeMember(it) => (What::Etcd, it),
        other => (what(other), 0),
    }
}

fn what(blow: Blow) -> What {
    match blow {
        Blow::KillPlugin(it) | Blow::TurnClock(it) | Blow::FreezePlugin(it) => What::Plugin(it),
        Blow::KillApiServer(it) | Blow::FreezeApiServer(it) => What::ApiServer(it),
        Blow::KillMember(_) | Blow::FreezeMember(_) => What::Etcd,
    }
}

fn strike(lab: &mut Lab, blow: Blow) {
    match blow {
        Blow::KillPlugin(it) | Blow::TurnClock(it) => lab.nodes[it].plugin.kill(),
        Blow::FreezePlugin(it) => lab.nodes[it].plugin.signal(Signal::STOP),
        Blow::KillApiServer(it) => lab.nodes[it].kill_api_server(),
        Blow::FreezeApiServer(it) => lab.nodes[it].api_server().process().freeze(),
        Blow::KillMember(it) => lab.cluster.kill(it),
        Blow::FreezeMember(it) => lab.cluster.freeze(it),
    }
}

fn mend(lab: &mut Lab, blow: Blow, library: &Path) {
    match blow {
        Blow::KillPlugin(it) => lab.nodes[it].serve(),
        Blow::TurnClock(it) => {
            let (_, seconds) = lab.nodes[it].clock.clone().unwrap();
            mislead(lab, it, -seconds, library);
        }
        Blow::FreezePlugin(it) => lab.nodes[it].plugin.signal(Signal::CONT),
        Blow::KillApiServer(it) => lab.nodes[it].spawn_api_server(),
        Blow::FreezeApiServer(it) => lab.nodes[it].api_server().process().thaw(),
        Blow::KillMember(it) => lab.cluster.run(it),
        Blow::FreezeMember(it) => lab.cluster.thaw(it),
    }
}

/// By what it says itself.
fn runs_by_the_clock(node: &Node, seconds: i64) {
    let file: PathBuf = node.plugin.socket.with_file_name("status.json");
    wait_for("the plugin to say by which clock it runs", SOON, || {
        let status: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let ahead = status["writtenUnix"].as_i64()? - i64::try_from(now).unwrap();
        ((ahead - seconds).abs() < 60).then_some(())
    });
}
