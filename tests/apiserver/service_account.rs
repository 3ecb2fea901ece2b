//! The key pair that signs tokens.

use std::fs;
use std::path::Path;

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

/// What stands before the point of a P-256 key in a SubjectPublicKeyInfo (RFC 5480).
const P256_PUBLIC_KEY_HEADER: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// kube-apiserver does not start without a key pair that signs tokens, though nobody asks for one here.
pub fn write_keys(dir: &Path) {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
    let public = [&P256_PUBLIC_KEY_HEADER, pair.public_key().as_ref()].concat();
    let pem = |kind: &str, bytes: &[u8]| {
        format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            BASE64.encode(bytes)
        )
    };
    fs::write(
        dir.join("service-account.key"),
        pem("PRIVATE KEY", private.as_ref()),
    )
    .unwrap();
    fs::write(dir.join("service-account.pub"), pem("PUBLIC KEY", &public)).unwrap();
}
