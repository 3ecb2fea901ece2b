//! Project Wycheproof's vectors, through the code that the product runs.

use kekring::crypto::aead;
use kekring::crypto::kdf;
use kekring::crypto::secret::Key32;
use wycheproof::{TestResult, aead as gcm, hkdf};

#[test]
fn aes_256_gcm_opens_every_valid_vector_and_no_other() {
    let set = gcm::TestSet::load(gcm::TestName::AesGcm).unwrap();
    let fitting =
        |group: &&gcm::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    let (mut opened, mut refused) = (0, 0);

    for test in set.test_groups.iter().filter(fitting).flat_map(|it| &it.tests) {
        let key = Key32::from_slice(&test.key).unwrap();
        let nonce = test.nonce.as_slice().try_into().unwrap();
        let message = [test.ct.as_slice(), test.tag.as_slice()].concat();
        let outcome = aead::open_bare(&key, nonce, &test.aad, &message);
        match test.result {
            TestResult::Invalid => {
                assert!(outcome.is_err(), "case {}: {}", test.tc_id, test.comment);
                refused += 1;
            }
            TestResult::Valid | TestResult::Acceptable => {
                assert_eq!(
                    outcome.unwrap().expose(),
                    test.pt.as_slice(),
                    "case {}",
                    test.tc_id
                );
                opened += 1;
            }
        }
    }

    println!("Wycheproof AES-256-GCM: {opened} valid, {refused} invalid");
    assert!(opened > 0 && refused > 0);
}

#[test]
fn hkdf_sha_256_agrees_with_every_vector() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let (mut agreed, mut refused) = (0, 0);

    for test in set.test_groups.iter().flat_map(|it| &it.tests) {
        let mut okm = vec![0; test.size];
        let outcome = kdf::hkdf(&test.ikm, &test.salt, &test.info, &mut okm);
        match test.result {
            TestResult::Invalid => {
                assert_eq!(outcome, None, "case {}: {}", test.tc_id, test.comment);
                refused += 1;
            }
            TestResult::Valid | TestResult::Acceptable => {
                assert_eq!(outcome, Some(()), "case {}", test.tc_id);
                assert_eq!(okm, test.okm.as_slice(), "case {}", test.tc_id);
                agreed += 1;
            }
        }
    }

    println!("Wycheproof HKDF-SHA-256: {agreed} valid, {refused} invalid");
    assert!(agreed > 0 && refused > 0);
}
