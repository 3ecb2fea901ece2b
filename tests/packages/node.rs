//! A node of the page: a machine with the packages at hand, and the commands of `deploy/release/README.md`.

use std::fs;

use crate::machine::Machine;
use crate::made::{self, NEW, OLD};
use crate::support::page;

pub const PAGE: &str = "deploy/release/README.md";

/// The blocks of a part of the page that are for a place.
#[track_caller]
pub fn blocks(title: &str, place: &str) -> Vec<String> {
    let blocks = page::blocks(PAGE).into_iter();
    let found: Vec<String> = blocks
        .filter(|block| block.section == title && block.place.iter().any(|word| word == place))
        .map(|block| block.text)
        .collect();
    assert!(!found.is_empty(), "{PAGE} has nothing in {title:?} for {place}");
    found
}

/// Types a block, and returns all that is said.
#[track_caller]
pub fn types(machine: &Machine, block: &str) -> String {
    // Debian's rpm wants to be told that it is meant, and knows nothing of what Debian has installed.
    let block = block.replace("\nrpm ", "\nrpm --force-debian --nodeps ");
    let block = match block.strip_prefix("rpm ") {
        Some(rest) => format!("rpm --force-debian --nodeps {rest}"),
        None => block,
    };
    machine.must(&format!("exec 2>&1\n{block}"))
}

/// A fresh system with both versions in `/src`, under the names that the page has for them.
pub fn fresh() -> Machine {
    let machine = Machine::boot();
    fs::create_dir_all(machine.path("/src")).unwrap();
    for (dir, version) in [(made::old(), OLD), (made::new(), NEW)] {
        for (end, name) in [
            (".deb", format!("kekring_{version}_amd64.deb")),
            (".rpm", format!("kekring-{version}-1.x86_64.rpm")),
            (".tar.gz", format!("kekring-{version}-x86_64-linux-musl.tar.gz")),
        ] {
            fs::copy(made::file(dir, end), machine.path("/src").join(name)).unwrap();
        }
    }
    machine
}

/// Installed by the page, and serving.
pub fn serving(place: &str) -> Machine {
    let machine = fresh();
    for block in blocks("Install", place) {
        types(&machine, &block);
    }
    machine
}

/// What stands in the ring's directory, at its roots and in the places that are named, with every right, time and byte.
pub fn kept(machine: &Machine, more: &str) -> String {
    let places = format!("/var/lib/kekring /etc/credstore.encrypted {more}");
    machine.must(&format!(
        "find {places} -printf '%y %m %U:%G %T@ %p\\n' | sort\nfind {places} -type f -exec sha256sum {{}} + | sort"
    ))
}
