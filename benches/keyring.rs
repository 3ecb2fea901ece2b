//! What sealing, opening and loading cost by themselves, without a socket: `cargo bench --bench keyring`.
//!
//! Another library's AES-256-GCM runs beside seal and open. It shows the machine, not a target: kekring derives a key and
//! a commitment for each message on top. After the measurements stands how Decrypt grows with the number of keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group};
use kekring::crypto::secret::Key32;
use kekring::format::{generation, wrapped_seed};
use kekring::keyring::ring::{Key, KeyState, Ring, UnixTime};
use kekring::keyring::{KeyId, Keyring, RingId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

const RING: RingId = RingId([7; 16]);
const SEED: [u8; 32] = [5; 32];
/// Numbers of keys: a new ring, eight years of monthly rotations, and far beyond.
const SIZES: [u64; 3] = [1, 100, 1_000];
const RING_KEY: [u8; 32] = [9; 32];

fn ring_of(keys: u64) -> Ring {
    let key = |sequence: u64, state| {
        let material = Key32::generate().unwrap();
        let used = (state != KeyState::PreActive).then_some(UnixTime(1));
        Key {
            id: KeyId::derive(RING, sequence, &material),
            material: Arc::new(material),
            state,
            suspended: false,
            suspension: 0,
            changed: 1,
            created: UnixTime(1),
            activated: used,
            deactivated: used.filter(|_| state == KeyState::Deactivated),
            decrypt_only: false,
        }
    };
    let older = (1..keys).map(|sequence| key(sequence, KeyState::Deactivated));
    let newest = [key(keys, KeyState::Active), key(keys + 1, KeyState::PreActive)];
    Ring {
        id: RING,
        generation: 1,
        keys: older.chain(newest).collect(),
        tombstones: Vec::new(),
        proposal: None,
        machine: None,
        development: false,
        members: Vec::new(),
        replaced: Vec::new(),
        removed: Vec::new(),
        retirements: Vec::new(),
        superseding: Vec::new(),
    }
}

fn stored(ring: &Ring) -> Vec<u8> {
    let header = generation::Header {
        ring_id: RING,
        generation: 1,
        parents: Vec::new(),
        writer: [1; 16],
        proposal_id: [1; 16],
        written: UnixTime(1),
        slots: vec![generation::Slot {
            id: [1; 16],
            kind: generation::SlotKind::File.into(),
            name: "bench".into(),
            sealed: vec![0; 100],
            created: UnixTime(1),
            replaces: None,
        }],
    };
    generation::encode(&header, ring, &Key32::take(&mut RING_KEY.clone())).unwrap()
}

/// A ring that serves, the name of its oldest key, and a seed wrapped under it.
fn serving(keys: u64) -> (Keyring, String, Vec<u8>) {
    let ring = ring_of(keys);
    let oldest = &ring.keys[0];
    let wrapped = wrapped_seed::wrap(RING, &oldest.id, &oldest.material, &SEED).unwrap();
    (Keyring::new(&ring), oldest.id.as_str().to_owned(), wrapped)
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    let ring = ring_of(1);
    let key = &ring.keys[0];
    let (keyring, ..) = serving(1);
    let (other, random) = (other_key(), SystemRandom::new());
    group.bench_function("another library's AES-256-GCM", |bencher| {
        bencher.iter(|| {
            let mut nonce = [0; NONCE_LEN];
            random.fill(&mut nonce).unwrap();
            let mut bytes = black_box(SEED).to_vec();
            let nonce = Nonce::assume_unique_for_key(nonce);
            other
                .seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes)
                .unwrap();
            bytes
        });
    });
    group.bench_function("wrapped_seed::wrap", |bencher| {
        bencher.iter(|| wrapped_seed::wrap(RING, &key.id, &key.material, black_box(&SEED)).unwrap());
    });
    group.bench_function("Keyring::encrypt", |bencher| {
        bencher.iter(|| keyring.encrypt(None, black_box(&SEED)).unwrap());
    });
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    let ring = ring_of(1);
    let key = &ring.keys[0];
    let wrapped = wrapped_seed::wrap(RING, &key.id, &key.material, &SEED).unwrap();
    let other = other_key();
    let mut sealed = SEED.to_vec();
    let nonce = || Nonce::assume_unique_for_key([3; NONCE_LEN]);
    other
        .seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
        .unwrap();
    group.bench_function("another library's AES-256-GCM", |bencher| {
        bencher.iter(|| {
            let mut bytes = black_box(&sealed).clone();
            other
                .open_in_place(nonce(), Aad::empty(), &mut bytes)
                .unwrap()
                .len()
        });
    });
    group.bench_function("wrapped_seed::unwrap", |bencher| {
        bencher.iter(|| wrapped_seed::unwrap(RING, &key.id, &key.material, black_box(&wrapped)).unwrap());
    });
    for keys in SIZES {
        let (keyring, id, wrapped) = serving(keys);
        group.bench_function(BenchmarkId::new("Keyring::decrypt, keys", keys), |bencher| {
            bencher.iter(|| keyring.decrypt(black_box(&id), &wrapped).unwrap());
        });
    }
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(20);
    let ring_key = Key32::take(&mut RING_KEY.clone());
    for keys in SIZES {
        let bytes = stored(&ring_of(keys));
        group.bench_function(
            BenchmarkId::new("parse, open, Keyring::new, keys", keys),
            |bencher| {
                bencher.iter(|| {
                    let open = generation::parse(black_box(&bytes)).unwrap().open(&ring_key);
                    Keyring::new(&open.unwrap().ring)
                });
            },
        );
    }
}

fn other_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &RING_KEY).unwrap())
}

/// In turns, so that whatever else the machine does hits every size alike; the median of each.
fn growth() {
    const ROUNDS: usize = 301;
    const EACH: u32 = 100;
    let rings = SIZES.map(serving);
    let mut times = SIZES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((keyring, id, wrapped), times) in rings.iter().zip(&mut times) {
            let started = Instant::now();
            for _ in 0..EACH {
                black_box(keyring.decrypt(black_box(id), wrapped)).unwrap();
            }
            times.push(started.elapsed() / EACH);
        }
    }
    let medians = times.map(|mut times: Vec<Duration>| {
        times.sort();
        times[ROUNDS / 2]
    });
    println!("\nKeyring::decrypt by number of keys, in turns:");
    for (keys, median) in SIZES.iter().zip(medians) {
        let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
        println!("{keys:6} keys {median:?}, ratio {ratio:.2}");
    }
}

criterion_group!(measurements, seal, open, load);

fn main() {
    measurements();
    Criterion::default().configure_from_args().final_summary();
    growth();
}
