//! One encrypted value of etcd, as kube-apiserver writes it (k8s.io/apiserver, `storage/value/encrypt/envelope/kmsv2`).
//!
//! ```text
//! value = "k8s:enc:kms:v2:" ‖ provider name ‖ ":" ‖ EncryptedObject
//! ```
//!
//! Provider name and key id lie in the clear, so no key is needed to tell which key protects an object. Given the seed,
//! the data key is HKDF-Expand(seed, first 32 bytes of the data), and the AAD is the object's key in etcd.

use prost::Message;

use crate::crypto::aead::{self, NONCE_LEN};
use crate::crypto::kdf;
use crate::crypto::secret::{Key32, SecretBytes};
use crate::proto::kms::{EncryptedDekSourceType, EncryptedObject};

const PREFIX: &[u8] = b"k8s:enc:kms:v2:";
/// Length of the HKDF `info` in front of the nonce (`infoSizeExtendedNonceGCM`, aes_extended_nonce.go).
const INFO_LEN: usize = 32;

/// A parsed value.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredObject {
    /// The provider's `name` in the EncryptionConfiguration.
    pub provider: String,
    /// Everything else.
    pub object: EncryptedObject,
}

/// Why a value is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Plain text, or another provider's.
    #[error("not a KMS v2 value")]
    NotKmsV2,
    /// The prefix is right and the rest is not.
    #[error("a damaged KMS v2 value")]
    Malformed,
    /// The seed does not fit, or the value was moved or bent.
    #[error("the value does not decrypt with this seed at this place")]
    Decrypt,
}

/// Parses the raw bytes of an etcd value.
pub fn parse(value: &[u8]) -> Result<StoredObject, ObjectError> {
    let rest = value.strip_prefix(PREFIX).ok_or(ObjectError::NotKmsV2)?;
    let colon = rest
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(ObjectError::Malformed)?;
    let (provider, encoded) = rest.split_at(colon);
    let encoded = encoded.get(1..).ok_or(ObjectError::Malformed)?;
    let provider = std::str::from_utf8(provider).map_err(|_| ObjectError::Malformed)?;
    let object = EncryptedObject::decode(encoded).map_err(|_| ObjectError::Malformed)?;
    if provider.is_empty() || object.encrypted_data.is_empty() || object.encrypted_dek_source.is_empty() {
        return Err(ObjectError::Malformed);
    }
    Ok(StoredObject {
        provider: provider.to_owned(),
        object,
    })
}

impl StoredObject {
    /// Decrypts, given what the plugin's Decrypt returned for `encrypted_dek_source`. `etcd_key` is the object's whole
    /// key in etcd, such as `/registry/secrets/default/name`.
    pub fn decrypt(&self, seed: &SecretBytes, etcd_key: &[u8]) -> Result<SecretBytes, ObjectError> {
        let data = self.object.encrypted_data.as_slice();
        let (key, data) = match EncryptedDekSourceType::try_from(self.object.encrypted_dek_source_type) {
            Ok(EncryptedDekSourceType::HkdfSha256XnonceAesGcmSeed) => {
                let (info, data) = data.split_at_checked(INFO_LEN).ok_or(ObjectError::Malformed)?;
                let key = kdf::expand_seed(seed.expose(), info).ok_or(ObjectError::Decrypt)?;
                (key, data)
            }
            Ok(EncryptedDekSourceType::AesGcmKey) => (
                Key32::from_slice(seed.expose()).ok_or(ObjectError::Decrypt)?,
                data,
            ),
            Err(_) => return Err(ObjectError::Malformed),
        };
        let (nonce, ciphertext) = data
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(ObjectError::Malformed)?;
        aead::open_bare(&key, nonce, etcd_key, ciphertext).map_err(|_| ObjectError::Decrypt)
    }
}
