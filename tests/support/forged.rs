//! Generations as somebody makes them who can write the file and has no key: the clear part changed, the checksum made to
//! fit.
//!
//! Included by `#[path = "../support/forged.rs"] mod forged;`.

use kekring::crypto::kdf::sha256;
use kekring::format::generation::MAX_SLOTS;
use kekring::proto::ring::{Header, PassphraseSlot, Sealed, Slot, SlotKind, StoredGeneration};
use kekring::store::generation_name;
use prost::Message;

const MAGIC: &[u8] = b"kekring\n";

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

/// What every passphrase slot of ours asks for: KiB, passes, lanes.
pub(crate) const HONEST: (u32, u32, u32) = (64 * 1024, 3, 1);
/// The most that was ever accepted of a slot.
pub(crate) const HIGHEST: (u32, u32, u32) = (1024 * 1024, 16, 4);

/// The name and the bytes of a generation of this number with as many slots as there may be: the first `kept` of `generation`,
/// and passphrase slots that stand in no other. No key opens its body.
pub(crate) fn of_a_stranger(
    generation: &[u8],
    number: u64,
    kept: usize,
    cost: (u32, u32, u32),
) -> (String, Vec<u8>) {
    let bytes = forged(generation, |stored, header| {
        stored.body.as_mut().unwrap().commitment = vec![9; 32];
        header.generation = number;
        header.slots.truncate(kept);
        let made = (kept..MAX_SLOTS).map(|at| slot(&format!("{number}/{at}"), cost));
        header.slots.extend(made);
    });
    (generation_name(number, &sha256(&bytes)), bytes)
}

fn slot(seed: &str, (memory_kib, passes, lanes): (u32, u32, u32)) -> Slot {
    let salt = sha256(seed.as_bytes()).to_vec();
    let key = Sealed {
        salt: salt.clone(),
        nonce: vec![1; 12],
        commitment: vec![2; 32],
        ciphertext: vec![3; 48],
    };
    let sealed = PassphraseSlot {
        memory_kib,
        passes,
        lanes,
        salt: salt.clone(),
        key: Some(key),
    };
    Slot {
        id: salt[..16].to_vec(),
        kind: SlotKind::Passphrase.into(),
        name: "passphrase /etc/kekring/passphrase".into(),
        sealed: sealed.encode_to_vec(),
        ..Slot::default()
    }
}
