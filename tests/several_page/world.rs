//! Three nodes and an etcd, and the page's blocks.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::etcd::{Etcd, etcdctl};
use crate::node::Node;
use crate::port::free_port;
use crate::support::page::{self, Block};
use crate::support::{PATIENCE, scratch, shown, wait_until};

pub const PAGE: &str = "deploy/etcd/README.md";
/// A node that has ended counts as alive for half a minute more.
const LEASE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(500);

pub struct World {
    // Dropped first.
    pub nodes: Vec<Node>,
    pub etcd: Etcd,
    dir: TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = scratch();
        let (port, peers) = (free_port(), free_port());
        let url = format!("https://127.0.0.1:{port}");
        let mut nodes: Vec<Node> = (1..=3)
            .map(|number| Node::new(dir.path(), number, &url, free_port()))
            .collect();
        let etcd = Etcd::start(
            dir.path(),
            &nodes[0].at("/etc/kubernetes/pki/etcd"),
            (port, peers),
        );
        let program = etcdctl().unwrap().display().to_string();
        nodes[0].program("etcdctl", &format!("exec {program} \"$@\""));
        for (name, value) in etcd.variables() {
            nodes[0].set(name, &value);
        }
        Self { nodes, etcd, dir }
    }

    /// Runs every line of the part's blocks that are for this place, on one node; each must end well.
    pub fn run(&mut self, node: usize, section: &str, place: &str) {
        for block in blocks(section, place) {
            self.block(node, &block);
        }
    }

    /// Runs every line of a block.
    pub fn block(&mut self, node: usize, block: &Block) {
        block.text.lines().for_each(|line| self.must(node, line));
    }

    /// Runs a line, which must end well: at once, or as soon as that for which the page says to wait has come.
    pub fn must(&mut self, node: usize, line: &str) {
        let node = &mut self.nodes[node];
        let patience = match line {
            _ if line.starts_with("kekring node remove ") => LEASE,
            // A server that has just begun takes the ring from etcd.
            _ if line.starts_with("kekring probe ") => PATIENCE,
            _ => Duration::ZERO,
        };
        let (mut last, started) = (node.line(line), Instant::now());
        while !last.status.success() && started.elapsed() < patience {
            std::thread::sleep(POLL);
            last = node.line(line);
        }
        assert!(last.status.success(), "{line} on {}: {}", node.name, shown(&last));
    }

    /// Waits until `kekring status` on a node shows every line of the part's example.
    pub fn shows(&mut self, node: usize, section: &str) {
        let examples = page::blocks(PAGE).into_iter();
        let mut examples = examples.filter(|it| it.section == section && it.language == "text");
        let example = examples.next().expect("an example");
        let lines: Vec<String> = example.text.lines().map(without_numbers).collect();
        let started = Instant::now();
        loop {
            let said = self.nodes[node].status();
            let here: Vec<String> = said.lines().map(without_numbers).collect();
            let missing: Vec<&String> = lines.iter().filter(|line| !here.contains(line)).collect();
            if missing.is_empty() {
                return;
            }
            let late = started.elapsed() > LEASE;
            assert!(!late, "{section}: status does not show {missing:?}: {said}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the status of a node says something.
    pub fn says(&mut self, node: usize, what: &str) {
        wait_until(what, LEASE, || self.nodes[node].status().contains(what));
    }

    /// Copies a file of one node to another.
    pub fn bring(&self, from: (usize, &str), to: (usize, &str)) {
        fs::copy(self.nodes[from.0].at(from.1), self.nodes[to.0].at(to.1)).unwrap();
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// The blocks of one part that are for one place, in their order.
pub fn blocks(section: &str, place: &str) -> Vec<Block> {
    let all = page::blocks(PAGE).into_iter();
    let found: Vec<Block> = all
        .filter(|it| it.section == section && it.language == "sh" && it.place == [place])
        .collect();
    assert!(
        !found.is_empty(),
        "{PAGE} has no block for {place} in {section:?}"
    );
    found
}

/// A line with its numbers, keys and times taken out, and one space between words: what is the same in every run.
fn without_numbers(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        if word.starts_with('k') && word.len() > 30 {
            return "KEY".to_owned();
        }
        let name = word.starts_with("cp-");
        let kept = |it: char| if it.is_ascii_digit() && !name { '0' } else { it };
        let text: String = word.chars().map(kept).collect();
        let mut short = String::new();
        for it in text.chars() {
            if !(it == '0' && short.ends_with('0')) {
                short.push(it);
            }
        }
        short
    });
    words.collect::<Vec<_>>().join(" ")
}
