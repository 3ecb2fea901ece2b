//! Decoders under random and spoilt input: they refuse, they never panic, and no single bit goes unnoticed.

use kekring::cluster::object;
use kekring::crypto::kdf::sha256;
use kekring::crypto::secret::{Key32, SecretBytes};
use kekring::format::FormatError;
use kekring::format::generation::{self, slot_context};
use kekring::format::node::Acknowledgement;
use kekring::format::superseded::Superseded;
use kekring::format::{backup, mark, node, superseded, wrapped_seed};
use kekring::keyring::ring::UnixTime;
use kekring::keyring::{KeyId, RingId};
use kekring::root::{FileRoot, PassphraseRoot, RecoveryCode, RootKey};
use proptest::prelude::*;

use crate::cases::{Case, cases, hex, json, key_id};
use crate::mutation::{Mutation, flips, spoil};

const CHECKSUM: usize = 32;

fn case(file: &str, name: &str) -> Case {
    cases(file).into_iter().find(|case| case.name() == name).unwrap()
}

fn open_generation(bytes: &[u8], ring_key: &Key32) -> Result<(), FormatError> {
    generation::parse(bytes)?.open(ring_key).map(drop)
}

/// The same bytes with a checksum that fits, as an attacker would write them.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len().saturating_sub(CHECKSUM));
    let checksum = sha256(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

#[test]
fn no_changed_bit_and_no_truncation_of_a_wrapped_seed_goes_unnoticed() {
    let case = case("wrapped-seed.json", "32 bytes");
    let (ring, id, key) = (case.ring_id(), key_id(&case.0["key_id"]), case.key("key"));
    let good = case.bytes("bytes");

    assert!(wrapped_seed::unwrap(ring, &id, &key, &good).is_ok());
    for (bit, bytes) in flips(&good) {
        assert!(
            wrapped_seed::unwrap(ring, &id, &key, &bytes).is_err(),
            "bit {bit}"
        );
    }
    for length in 0..good.len() {
        assert!(
            wrapped_seed::unwrap(ring, &id, &key, &good[..length]).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn no_changed_bit_and_no_truncation_of_a_generation_goes_unnoticed() {
    let case = case("generation.json", "generation 2");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

    assert_eq!(open_generation(&good, &ring_key), Ok(()));
    for (bit, bytes) in flips(&good) {
        let refused = open_generation(&bytes, &ring_key);
        assert!(
            matches!(refused, Err(FormatError::Corrupt(_))),
            "bit {bit}: {refused:?}"
        );
    }
    for length in 0..good.len() {
        let refused = open_generation(&good[..length], &ring_key);
        assert!(
            matches!(refused, Err(FormatError::Corrupt(_))),
            "{length} bytes: {refused:?}"
        );
    }
}

#[test]
fn no_changed_bit_of_a_generation_goes_unnoticed_with_the_checksum_made_to_fit() {
    let case = case("generation.json", "generation 2");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));
    let (mut corrupt, mut wrong_key, mut tampered, mut newer) = (0, 0, 0, 0);

    for (bit, bytes) in flips(&good).take((good.len() - CHECKSUM) * 8) {
        match open_generation(&with_checksum(bytes), &ring_key) {
            Err(FormatError::Corrupt(_)) => corrupt += 1,
            Err(FormatError::WrongKey) => wrong_key += 1,
            Err(FormatError::Tampered(_)) => tampered += 1,
            Err(FormatError::Newer(_)) => newer += 1,
            Err(FormatError::Unreleased) => panic!("bit {bit} makes it one from before the first release"),
            Ok(()) => panic!("bit {bit} goes unnoticed"),
        }
    }

    println!("{corrupt} corrupt, {wrong_key} wrong key, {tampered} tampered, {newer} newer");
    // Salt, nonce and commitment are what a commitment covers: 76 bytes.
    assert!(corrupt > 0 && wrong_key == 76 * 8 && tampered > 0);
}

#[test]
fn no_changed_bit_of_a_mark_goes_unnoticed() {
    let case = case("mark.json", "suspended and destroyed keys");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

    for (bit, bytes) in flips(&good) {
        assert!(mark::decode(&bytes, &ring_key).is_err(), "bit {bit}");
    }
}

#[test]
fn no_changed_bit_and_no_truncation_of_an_acknowledgement_goes_unnoticed() {
    let case = case("acknowledgement.json", "all of it");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

    assert!(node::decode(&good, &ring_key).is_ok());
    for (bit, bytes) in flips(&good) {
        assert!(node::decode(&bytes, &ring_key).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        let refused = node::decode(&good[..length], &ring_key);
        assert!(refused.is_err(), "{length} bytes");
    }
}

#[test]
fn no_changed_bit_and_no_truncation_of_the_record_of_a_replaced_ring_key_goes_unnoticed() {
    let case = case("superseded.json", "a record");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

    assert!(superseded::decode(&good, &ring_key).is_ok());
    for (bit, bytes) in flips(&good) {
        assert!(superseded::decode(&bytes, &ring_key).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        let refused = superseded::decode(&good[..length], &ring_key);
        assert!(refused.is_err(), "{length} bytes");
    }
}

#[test]
fn no_changed_bit_of_the_record_of_a_backup_goes_unnoticed() {
    let case = case("backup.json", "a record");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

    for (bit, bytes) in flips(&good) {
        assert!(backup::decode(&bytes, &ring_key).is_err(), "bit {bit}");
    }
}

/// Every decoder that takes bytes from a disk, a store, etcd, a socket or a person, set up once.
struct Decoders {
    seed: Case,
    ring_key: Key32,
    root: FileRoot,
    _dir: tempfile::TempDir,
}

impl Decoders {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        kekring::root::create_key_file(&path, None).unwrap();
        Self {
            seed: case("wrapped-seed.json", "32 bytes"),
            ring_key: case("generation.json", "generation 2").key("ring_key"),
            root: FileRoot::new(path),
            _dir: dir,
        }
    }

    /// Gives the bytes to each of them. The results do not matter here.
    fn decode(&self, bytes: &[u8]) {
        let (ring, id) = (self.seed.ring_id(), key_id(&self.seed.0["key_id"]));
        let _ = wrapped_seed::unwrap(ring, &id, &self.seed.key("key"), bytes);
        let _ = open_generation(bytes, &self.ring_key);
        let _ = open_generation(&with_checksum(bytes.to_vec()), &self.ring_key);
        let framed = [b"kekring\n", bytes, &[0; CHECKSUM]].concat();
        let _ = open_generation(&with_checksum(framed), &self.ring_key);
        let _ = mark::decode(bytes, &self.ring_key);
        let _ = mark::of_another_ring(bytes, ring, &self.ring_key);
        let _ = backup::decode(bytes, &self.ring_key);
        let _ = node::decode(bytes, &self.ring_key);
        let _ = superseded::decode(bytes, &self.ring_key);
        let _ = superseded::name(bytes);
        let seed = SecretBytes::new(vec![1; 32]);
        let named = [b"k8s:enc:kms:v2:name:", bytes].concat();
        let unnamed = [b"k8s:enc:kms:v2:", bytes].concat();
        for value in [bytes, &named, &unnamed] {
            if let Ok(stored) = object::parse(value) {
                let _ = stored.decrypt(&seed, b"/registry/secrets/default/name");
            }
        }
        let text = String::from_utf8_lossy(bytes);
        let _ = text.parse::<KeyId>();
        let _ = RecoveryCode::parse(&text);
        let _ = self.root.open(bytes, &slot_context(ring, &[1; 16], 1));
        // A code that was never given to this slot, so that a slot which happens to be sound costs one derivation.
        let code = PassphraseRoot::from_code(RecoveryCode::generate().unwrap());
        let _ = code.open(bytes, &slot_context(ring, &[1; 16], 2));
    }
}

/// One good input of each sort.
fn good_inputs() -> Vec<Vec<u8>> {
    let mut inputs = vec![
        case("wrapped-seed.json", "32 bytes").bytes("bytes"),
        case("generation.json", "two slots").bytes("bytes"),
        case("generation.json", "a proposal, automatic").bytes("bytes"),
        case("mark.json", "suspended and destroyed keys").bytes("bytes"),
        case("backup.json", "a record").bytes("bytes"),
        case("acknowledgement.json", "all of it").bytes("bytes"),
        case("superseded.json", "a record").bytes("bytes"),
        case("generation.json", "all of it").bytes("bytes"),
        case("generation.json", "nodes, one of them removed").bytes("bytes"),
        case("slot-file.json", "opens").bytes("sealed"),
        case("slot-passphrase.json", "a salt of 31 bytes").bytes("sealed"),
        hex(&json("apiserver-kmsv2-seed.json")["stored_value_hex"]),
    ];
    let id = case("wrapped-seed.json", "32 bytes").0["key_id"].take();
    inputs.push(id.as_str().unwrap().as_bytes().to_vec());
    inputs.push(RecoveryCode::generate().unwrap().text().as_bytes().to_vec());
    inputs
}

#[test]
fn no_decoder_panics_on_random_bytes() {
    let decoders = Decoders::new();
    proptest!(ProptestConfig::with_cases(2_000), |(bytes in prop::collection::vec(any::<u8>(), 0..1_200))| {
        decoders.decode(&bytes);
    });
}

#[test]
fn no_decoder_panics_on_spoilt_good_input() {
    let (decoders, inputs) = (Decoders::new(), good_inputs());
    let input = prop::sample::select(inputs);
    proptest!(ProptestConfig::with_cases(4_000), |(good in input, mutations in Mutation::some())| {
        decoders.decode(&spoil(&good, &mutations));
    });
}

#[test]
fn a_spoilt_generation_opens_only_as_what_was_sealed() {
    let case = case("generation.json", "generation 2");
    let (good, ring_key) = (case.bytes("bytes"), case.key("ring_key"));
    let sealed = generation::parse(&good).unwrap();
    proptest!(ProptestConfig::with_cases(4_000), |(mutations in Mutation::some())| {
        let bytes = with_checksum(spoil(&good, &mutations));
        if let Ok(stored) = generation::parse(&bytes) && let Ok(open) = stored.open(&ring_key) {
            prop_assert_eq!(&stored.header, &sealed.header);
            prop_assert!(bytes == good || !open.writable);
        }
    });
}

prop_compose! {
    /// Whatever a node can say.
    fn acknowledgement()(
        ring in any::<[u8; 16]>(), name in "[a-z0-9]{1,20}(-[a-z0-9]{1,20}){0,2}(\\.[a-z0-9]{1,9}){0,2}",
        instance in any::<[u8; 16]>(), generation in 1..=u64::MAX, hash in any::<[u8; 32]>(), held in 1..=u64::MAX,
        reported in prop::option::of(1..=u64::MAX), shown in any::<Option<[u8; 16]>>(), format in 1..=u32::MAX,
        time in any::<u64>(), watched in prop::collection::btree_map(1..=u64::MAX, any::<u64>(), 0..4),
        purged in any::<Option<[u8; 16]>>(),
    ) -> Acknowledgement {
        let ring_id = RingId(ring);
        let id = |sequence| KeyId::derive(ring_id, sequence, &Key32::take(&mut [1; 32]));
        Acknowledgement {
            ring_id, name: name.parse().unwrap(), instance, generation, hash, held: id(held),
            reported: reported.map(id), shown, format, time: UnixTime(time),
            watched: watched.into_iter().map(|(sequence, decrypts)| (id(sequence), decrypts)).collect(), purged,
        }
    }
}

proptest! {
    #[test]
    fn an_acknowledgement_is_read_as_it_was_written_and_under_its_own_key_alone(
        said in acknowledgement(), key in any::<[u8; 32]>(), other in any::<[u8; 32]>(),
    ) {
        let ring_key = Key32::from_slice(&key).unwrap();

        let bytes = said.encode(&ring_key);

        prop_assert_eq!(node::decode(&bytes, &ring_key), Ok(said));
        let refused = node::decode(&bytes, &Key32::from_slice(&other).unwrap());
        prop_assert!(key == other || matches!(refused, Err(FormatError::Tampered(_))));
    }

    #[test]
    fn the_record_of_a_replaced_ring_key_is_read_as_it_was_written_and_under_that_key_alone(
        ring in any::<[u8; 16]>(), generation in 1..=u64::MAX, key in any::<[u8; 32]>(), other in any::<[u8; 32]>(),
    ) {
        let replaced = Key32::from_slice(&key).unwrap();
        let record = Superseded { ring_id: RingId(ring), generation };

        let bytes = record.encode(&replaced);

        prop_assert_eq!(superseded::decode(&bytes, &replaced), Ok(record));
        prop_assert!(bytes.len() <= superseded::MAX_LEN);
        let refused = superseded::decode(&bytes, &Key32::from_slice(&other).unwrap());
        prop_assert!(key == other || matches!(refused, Err(FormatError::Tampered(_))));
    }

    #[test]
    fn a_key_id_that_parses_is_spelled_one_way(text in "k[0+]{0,2}[0-9]{1,20}-[0-9a-f]{31}[0-9a-fA-F]{1,2}") {
        if let Ok(id) = text.parse::<KeyId>() {
            let digits = data_encoding::HEXLOWER.encode(id.fingerprint());
            prop_assert_eq!(format!("k{}-{digits}", id.sequence()), text);
        }
    }

    #[test]
    fn a_recovery_code_with_any_one_character_changed_is_refused(at in 0..56_usize, other in "[0-9A-HJKMNP-TV-Z]") {
        let code = RecoveryCode::generate().unwrap().text().replace('-', "");
        let mut typed = code.clone();
        typed.replace_range(at..=at, &other);

        prop_assert_eq!(RecoveryCode::parse(&typed).is_some(), typed == code);
    }
}
