//! Asking the roots for the ring key of a generation.

use std::sync::Arc;

use super::slots::opens;
use crate::crypto::secret::Key32;
use crate::format::generation::{Header, Slot};
use crate::root::{RootError, RootKey};

/// The roots of one opening, and what they have said so far. Slots outlive rotations: the same one stands in many
/// generations and is tried once, since a key derivation takes a good part of a second.
pub(super) struct Asking<'a> {
    roots: &'a [Box<dyn RootKey>],
    /// By place in `roots`: in trouble itself, so that asking it again does not help.
    away: Vec<bool>,
    /// By place in `roots`: what it could not open.
    refused: Vec<Vec<Slot>>,
    tried: Vec<(String, RootError)>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(roots: &'a [Box<dyn RootKey>]) -> Self {
        Self {
            roots,
            away: vec![false; roots.len()],
            refused: vec![Vec::new(); roots.len()],
            tried: Vec::new(),
        }
    }

    /// What each root said that did not open a slot.
    pub(super) fn tried(&self) -> Vec<(String, RootError)> {
        self.tried.clone()
    }

    /// Asks the roots in their order, each for the slots of its kind.
    pub(super) fn ring_key(&mut self, header: &Header) -> Option<Arc<Key32>> {
        let places = self.away.iter_mut().zip(&mut self.refused);
        for (root, (away, refused)) in self.roots.iter().zip(places) {
            let kind = i32::from(root.kind());
            for slot in header.slots.iter().filter(|slot| slot.kind == kind) {
                if *away || refused.contains(slot) {
                    continue;
                }
                match opens(root.as_ref(), header, slot) {
                    Ok(key) => return Some(Arc::new(key)),
                    Err(why) => {
                        // Some are this slot's fault, and the next one may be sound; the others are the root's.
                        *away = !matches!(why, RootError::WrongRoot | RootError::Corrupt(_));
                        refused.push(slot.clone());
                        note(&mut self.tried, root.describe(), why);
                    }
                }
            }
        }
        None
    }
}

fn note(tried: &mut Vec<(String, RootError)>, root: String, why: RootError) {
    if !tried.iter().any(|known| known.0 == root && known.1 == why) {
        tried.push((root, why));
    }
}
