//! Generations as somebody makes them who can write the file and has no key: the clear part changed, the checksum made to
//! fit.
//!
//! Included by `#[path = "../support/forged.rs"] mod forged;`.

use kekring::crypto::kdf::sha256;
use kekring::proto::ring::{Header, PassphraseSlot, StoredGeneration};
use prost::Message;

const MAGIC: &[u8] = b"KEKRING\n";

/// `generation` with its clear part changed.
pub(crate) fn forged(generation: &[u8], change: impl FnOnce(&mut StoredGeneration, &mut Header)) -> Vec<u8> {
    let message = &generation[MAGIC.len()..generation.len() - 32];
    let mut stored = StoredGeneration::decode(message).unwrap();
    let mut header = Header::decode(&*stored.header).unwrap();
    change(&mut stored, &mut header);
    stored.header = header.encode_to_vec();
    let mut bytes = [MAGIC, &stored.encode_to_vec()].concat();
    bytes.extend(sha256(&bytes));
    bytes
}

/// The same for readers of format version 2 and later.
pub(crate) fn of_a_newer_kekring(generation: &[u8]) -> Vec<u8> {
    forged(generation, |stored, _| {
        stored.version = 2;
        stored.min_reader = 2;
    })
}

/// The same with a first slot, of a passphrase, that asks for 64 GiB of memory.
pub(crate) fn asking_for_64_gib(generation: &[u8]) -> Vec<u8> {
    forged(generation, |_, header| {
        let mut slot = PassphraseSlot::decode(&*header.slots[0].sealed).unwrap();
        slot.memory_kib = 64 * 1024 * 1024;
        header.slots[0].sealed = slot.encode_to_vec();
    })
}
