//! Rings, stores, views and steps as a state knows them: by numbers, each with what the laws ask about it.

use kekring::keyring::ring::Ring;

/// Most nodes of a model.
pub const NODES: usize = 5;

/// A generation, and what the laws ask about it.
pub struct Entry {
    pub ring: Ring,
    pub parents: Vec<u16>,
    /// The ring key that it is sealed under.
    pub lineage: u16,
    pub format: u8,
    /// Something in it is of somebody's making who has a replaced ring key, or is built on that.
    pub foreign: bool,
    /// Numbers of its keys, as bits.
    pub holds: u128,
    /// Those that have been active.
    pub activated: u128,
    pub active: u8,
    /// Registered nodes, as bits, and which instance of each.
    pub registered: u8,
    pub instances: [u8; NODES],
    /// How many keys have been active.
    pub activations: u8,
    /// A proposal that any node finishes.
    pub proposed: bool,
}

/// An acknowledgement: everything that it says follows from these and the node. A version of 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Said {
    pub version: u16,
    /// The ring key that it is really under, where somebody forged it; 0: that of the version.
    pub hand: u16,
    /// The format that the node reads.
    pub program: u8,
    pub instance: u8,
    pub mark: u8,
    pub shown: u8,
}

/// What the store holds; 0 is "nothing" in each field.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Store {
    pub head: u16,
    pub fork: u8,
    pub said: [Said; NODES],
    /// Ascending.
    pub shown: Vec<u16>,
}

/// What one node sees.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sight {
    pub node: u8,
    pub instance: u8,
    /// The format that its program reads.
    pub program: u8,
    /// No root of it opens a ring key that it does not have already.
    pub blind: bool,
    pub copy: u16,
    pub mark: u8,
    pub store: u32,
    pub due: bool,
    /// Nodes that it does not wait for, as bits.
    pub without: u8,
    /// Nodes that an operator says are gone, as bits.
    pub gone: u8,
    /// How often the store was put back: what a node makes afterwards is made of other randomness.
    pub epoch: u8,
}

/// A [`Step`] as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Move {
    Stay,
    /// Its name is another instance's: an operator must decide.
    Refused,
    /// Its ring key and the head's each name the other replaced: an operator must decide.
    TwoRingKeys,
    Copy,
    /// What is shown becomes the copy.
    Adopt(u16),
    Mark,
    OpenFork {
        instead_of: u8,
    },
    Publish,
    Acknowledge {
        shown: u8,
    },
    /// The version to be written; a join of these that were shown.
    Commit {
        version: u16,
        what: What,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    Register,
    Remove,
    Propose,
    Activate,
    Join,
}
