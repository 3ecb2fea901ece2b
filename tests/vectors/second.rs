//! A second implementation, `ring`, under the written layout: what one makes the other opens, byte for byte.

use kekring::crypto::aead;
use kekring::crypto::kdf::{self, Context};
use kekring::crypto::secret::Key32;
use kekring::format::superseded::{self, Superseded};
use kekring::format::wrapped_seed;
use kekring::keyring::ring::digest as destroyed_digest;
use kekring::keyring::{KeyId, RingId, RingKeyId};
use proptest::prelude::*;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// The layout of contexts, written a second time.
fn context(fields: &[&[u8]]) -> Vec<u8> {
    let framed = fields.iter().map(|field| {
        let length = u32::try_from(field.len()).unwrap().to_be_bytes();
        [length.as_slice(), field].concat()
    });
    framed.collect::<Vec<_>>().concat()
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    prk.expand(&[info], Bytes(N)).unwrap().fill(&mut out).unwrap();
    out
}

fn derive<const N: usize>(key: &[u8; 32], salt: &[u8], info: &[u8]) -> [u8; N] {
    expand(&Salt::new(HKDF_SHA256, salt).extract(key), info)
}

/// Message key and commitment, the two halves of 64 bytes.
fn message_key(key: &[u8; 32], context: &[u8], salt: &[u8], nonce: &[u8]) -> ([u8; 32], [u8; 32]) {
    let info = [digest(&SHA256, context).as_ref(), salt, nonce].concat();
    let okm: [u8; 64] = expand(&Prk::new_less_safe(HKDF_SHA256, key), &info);
    (okm[..32].try_into().unwrap(), okm[32..].try_into().unwrap())
}

fn gcm(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap())
}

/// A KEK with its names, and a plaintext.
#[derive(Clone, Debug)]
struct Wrapping {
    ring: [u8; 16],
    sequence: u64,
    key: [u8; 32],
    plaintext: Vec<u8>,
}

impl Wrapping {
    fn any() -> impl Strategy<Value = Self> {
        let plaintext = prop::collection::vec(any::<u8>(), 1..=512);
        (any::<[u8; 16]>(), 1..=u64::MAX, any::<[u8; 32]>(), plaintext).prop_map(
            |(ring, sequence, key, plaintext)| Self {
                ring,
                sequence,
                key,
                plaintext,
            },
        )
    }

    fn fingerprint(&self) -> [u8; 16] {
        let info = context(&[b"kekring/v1/key-id", &self.sequence.to_be_bytes()]);
        derive(&self.key, &self.ring, &info)
    }

    fn name(&self) -> String {
        let digits = data_encoding::HEXLOWER.encode(&self.fingerprint());
        format!("k{}-{digits}", self.sequence)
    }

    fn context(&self) -> Vec<u8> {
        context(&[
            b"kekring/v1/wrapped-seed",
            &[1, 1],
            &self.ring,
            self.name().as_bytes(),
        ])
    }

    fn aad(&self, commitment: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([self.context(), context(&[commitment])].concat())
    }

    fn wrap_with_ring(&self, salt: &[u8; 32], nonce: [u8; 12]) -> Vec<u8> {
        let (key, commitment) = message_key(&self.key, &self.context(), salt, &nonce);
        let mut sealed = self.plaintext.clone();
        gcm(&key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                self.aad(&commitment),
                &mut sealed,
            )
            .unwrap();
        let fingerprint = self.fingerprint();
        [
            &[1, 1],
            fingerprint.as_slice(),
            salt,
            &nonce,
            &commitment,
            &sealed,
        ]
        .concat()
    }

    fn unwrap_with_ring(&self, bytes: &[u8]) -> Vec<u8> {
        let (salt, nonce, commitment) = (&bytes[18..50], &bytes[50..62], &bytes[62..94]);
        let (key, expected) = message_key(&self.key, &self.context(), salt, nonce);
        assert_eq!(commitment, expected);
        let mut sealed = bytes[94..].to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
        let opened = gcm(&key).open_in_place(nonce, self.aad(commitment), &mut sealed);
        opened.unwrap().to_vec()
    }

    fn ours(&self) -> (RingId, Key32, KeyId) {
        let (ring, key) = (RingId(self.ring), Key32::from_slice(&self.key).unwrap());
        let id = KeyId::derive(ring, self.sequence, &key);
        (ring, key, id)
    }
}

proptest! {
    #[test]
    fn the_key_id_is_the_one_that_ring_derives(wrapping in Wrapping::any()) {
        let (_, _, id) = wrapping.ours();

        prop_assert_eq!(id.fingerprint(), &wrapping.fingerprint());
        prop_assert_eq!(id.as_str(), wrapping.name());
    }

    #[test]
    fn ring_opens_what_kekring_wraps(wrapping in Wrapping::any()) {
        let (ring, key, id) = wrapping.ours();

        let bytes = wrapped_seed::wrap(ring, &id, &key, &wrapping.plaintext).unwrap();

        prop_assert_eq!(&bytes[..2], &[1, 1]);
        prop_assert_eq!(&bytes[2..18], &wrapping.fingerprint());
        prop_assert_eq!(wrapping.unwrap_with_ring(&bytes), wrapping.plaintext);
    }

    #[test]
    fn kekring_opens_what_ring_wraps(
        wrapping in Wrapping::any(), salt in any::<[u8; 32]>(), nonce in any::<[u8; 12]>(),
    ) {
        let (ring, key, id) = wrapping.ours();

        let bytes = wrapping.wrap_with_ring(&salt, nonce);

        let opened = wrapped_seed::unwrap(ring, &id, &key, &bytes).unwrap();
        prop_assert_eq!(opened.expose(), wrapping.plaintext);
    }

    #[test]
    fn a_message_bound_to_a_second_context_derives_and_authenticates_alike(
        key in any::<[u8; 32]>(), label in "[a-z/]{1,20}", bound in any::<Vec<u8>>(), plaintext in any::<Vec<u8>>(),
    ) {
        let (ours, second) = (Context::new(&label), Context::new(&label).with(&bound));

        let key32 = Key32::from_slice(&key).unwrap();
        let sealed = aead::seal_bound(&key32, &ours, &second, &plaintext).unwrap();

        let once = context(&[label.as_bytes()]);
        let (message_key, commitment) = message_key(&key, &once, &sealed.salt, &sealed.nonce);
        prop_assert_eq!(commitment, sealed.commitment);
        let aad = Aad::from(context(&[label.as_bytes(), &bound, &sealed.commitment]));
        let mut text = sealed.ciphertext;
        let opened = gcm(&message_key).open_in_place(Nonce::assume_unique_for_key(sealed.nonce), aad, &mut text);
        prop_assert_eq!(opened.unwrap(), plaintext);
    }

    #[test]
    fn a_key_is_derived_and_a_mac_made_as_ring_does(
        key in any::<[u8; 32]>(), salt in any::<[u8; 16]>(), field in any::<Vec<u8>>(),
    ) {
        let ours = Key32::from_slice(&key).unwrap();
        let info = Context::new("label").with(&field);

        let derived = kdf::derive_key(&ours, &salt, &info);
        let mac = kdf::mac(&ours, &field);

        let expected: [u8; 32] = derive(&key, &salt, &context(&[b"label", &field]));
        prop_assert_eq!(derived.expose(), &expected);
        let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        prop_assert!(ring::hmac::verify(&hmac, &field, &mac).is_ok());
    }

    #[test]
    fn the_fingerprint_of_a_ring_key_is_the_one_that_ring_derives(
        key in any::<[u8; 32]>(), ring in any::<[u8; 16]>(),
    ) {
        let ours = RingKeyId::of(RingId(ring), &Key32::from_slice(&key).unwrap());

        let expected: [u8; 16] = derive(&key, &ring, &context(&[b"kekring/v1/ring-key"]));
        prop_assert_eq!(ours.0, expected);
    }

    #[test]
    fn the_digest_of_destroyed_keys_is_the_one_that_ring_makes(
        destroyed in prop::collection::btree_set((1..=u64::MAX, any::<[u8; 16]>()), 0..5),
    ) {
        let ids: Vec<_> = destroyed.iter().map(|(sequence, part)| KeyId::from_parts(*sequence, *part).unwrap()).collect();

        let ours = destroyed_digest(ids.iter());

        let said: Vec<u8> = destroyed.iter().flat_map(|(sequence, part)| [&sequence.to_be_bytes()[..], part].concat()).collect();
        let expected = digest(&SHA256, &said);
        prop_assert_eq!(ours.as_ref().map(|it| it.as_slice()), (!said.is_empty()).then(|| &expected.as_ref()[..16]));
    }

    #[test]
    fn kekring_reads_the_record_of_a_replaced_ring_key_that_ring_authenticates(
        key in any::<[u8; 32]>(), ring in any::<[u8; 16]>(), generation in 1..0x80_u8,
    ) {
        // Version 1, the ring's name, a generation of one byte: fields 1 to 3 in protobuf.
        let said = [&[0x08, 0x01, 0x12, 0x10], ring.as_slice(), &[0x18, generation]].concat();
        let mac_key: [u8; 32] = derive(&key, &ring, &context(&[b"kekring/v1/superseded"]));
        let mac = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &mac_key), &said);
        let bytes = [&said, &[0x7a, 0x20][..], mac.as_ref()].concat();

        let replaced = Key32::from_slice(&key).unwrap();
        let record = Superseded { ring_id: RingId(ring), generation: generation.into() };
        prop_assert_eq!(superseded::decode(&bytes, &replaced), Ok(record));
        prop_assert_eq!(record.encode(&replaced), bytes);
    }

    #[test]
    fn a_seed_expands_as_ring_expands_it(seed in any::<[u8; 32]>(), info in any::<[u8; 32]>()) {
        let expected: [u8; 32] = expand(&Prk::new_less_safe(HKDF_SHA256, &seed), &info);

        let expanded = kdf::expand_seed(&seed, &info).unwrap();
        prop_assert_eq!(expanded.expose(), &expected);
    }
}

#[test]
fn a_seed_shorter_than_a_hash_is_not_expanded() {
    for length in [0, 1, 16, 31] {
        assert!(
            kdf::expand_seed(&vec![7; length], &[0; 32]).is_none(),
            "{length} bytes"
        );
    }
}
