//! A passphrase, or a recovery code, stretched by Argon2id (RFC 9106).
//!
//! A recovery code is 256 random bits with a checksum in Crockford's base32; its case, dashes and spaces do not matter.
//! The parameters of a slot come from the store, where nobody has authenticated them: what this program never wrote is
//! refused before a byte is allocated.

use std::path::PathBuf;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::{Encoding, Specification};
use prost::Message;
use zeroize::Zeroizing;

use super::file::{open_sealed, read_secret, write_new};
use super::{FileStamp, RootError, RootKey};
use crate::crypto::aead;
use crate::crypto::kdf::{Context, sha256};
use crate::crypto::secret::{Key32, SecretBytes};
use crate::crypto::{RandomnessError, random};
use crate::format;
use crate::format::generation::SlotKind;
use crate::proto::ring as wire;

/// What `seal` uses: 64 MiB, 3 passes, 1 lane (RFC 9106 §4, second recommended option, with one lane). `open` accepts
/// what was ever written and nothing else: this cost alone. Whoever changes it goes on accepting it too.
const COST: Cost = Cost {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 1,
};
/// Shortest passphrase that is taken for a new slot, in bytes.
const MIN_PASSPHRASE: usize = 16;
/// Longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A secret that a person keeps.
pub struct PassphraseRoot {
    source: Source,
}

enum Source {
    File(PathBuf),
    Code(RecoveryCode),
}

impl PassphraseRoot {
    /// The passphrase or recovery code in the file at `path`; one line feed at its end does not count.
    pub fn from_file(path: PathBuf) -> Self {
        Self {
            source: Source::File(path),
        }
    }

    /// A recovery code that was just made or typed.
    pub fn from_code(code: RecoveryCode) -> Self {
        Self {
            source: Source::Code(code),
        }
    }

    fn secret(&self) -> Result<SecretBytes, RootError> {
        let path = match &self.source {
            Source::Code(code) => return Ok(SecretBytes::new(code.0.to_vec())),
            Source::File(path) => path,
        };
        let bytes = read_secret(path)?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if let Some(code) = std::str::from_utf8(line).ok().and_then(RecoveryCode::parse) {
            return Ok(SecretBytes::new(code.0.to_vec()));
        }
        if line.len() < MIN_PASSPHRASE || line.len() > MAX_PASSPHRASE {
            return Err(RootError::Config(format!(
                "{} holds {} bytes; a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE}",
                path.display(),
                line.len()
            )));
        }
        Ok(SecretBytes::new(line.to_vec()))
    }
}

impl RootKey for PassphraseRoot {
    fn kind(&self) -> SlotKind {
        SlotKind::Passphrase
    }

    fn describe(&self) -> String {
        match &self.source {
            Source::File(path) => format!("passphrase {}", path.display()),
            Source::Code(_) => "recovery code".to_owned(),
        }
    }

    fn derives(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<FileStamp> {
        match &self.source {
            Source::File(path) => FileStamp::of(path),
            Source::Code(_) => None,
        }
    }

    fn seal(&self, key: &Key32, context: &Context) -> Result<Vec<u8>, RootError> {
        let unavailable = |why: RandomnessError| RootError::Unavailable(why.to_string());
        let salt: [u8; 32] = random().map_err(unavailable)?;
        let stretched = stretch(&self.secret()?, &salt, COST)?;
        let sealed = aead::seal(&stretched, &bound(context, COST, &salt), key.expose())
            .map_err(|why| RootError::Unavailable(why.to_string()))?;
        Ok(wire::PassphraseSlot {
            memory_kib: COST.memory_kib,
            passes: COST.passes,
            lanes: COST.lanes,
            salt: salt.to_vec(),
            key: Some(sealed.into()),
        }
        .encode_to_vec())
    }

    fn open(&self, sealed: &[u8], context: &Context) -> Result<Key32, RootError> {
        let corrupt = |what: &str| RootError::Corrupt(what.to_owned());
        let slot: wire::PassphraseSlot = format::decode_canonical("passphrase slot", sealed)?;
        let cost = Cost {
            memory_kib: slot.memory_kib,
            passes: slot.passes,
            lanes: slot.lanes,
        };
        check(cost)?;
        let salt: [u8; 32] = slot
            .salt
            .as_slice()
            .try_into()
            .map_err(|_| corrupt("the Argon2 salt is not 32 bytes"))?;
        let message = slot.key.ok_or_else(|| corrupt("the slot holds no key"))?;
        let stretched = stretch(&self.secret()?, &salt, cost)?;
        open_sealed(&stretched, &bound(context, cost, &salt), &message)
    }
}

/// A slot of another cost than we ever wrote was not written by us: a lower one is weak, a higher one takes memory and time
/// from whoever tries it.
fn check(cost: Cost) -> Result<(), RootError> {
    if cost == COST {
        return Ok(());
    }
    Err(RootError::Corrupt(format!(
        "the slot asks for Argon2id with {} KiB, {} passes and {} lanes; accepted are {}, {} and {}",
        cost.memory_kib, cost.passes, cost.lanes, COST.memory_kib, COST.passes, COST.lanes
    )))
}

fn stretch(secret: &SecretBytes, salt: &[u8; 32], cost: Cost) -> Result<Key32, RootError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|why| RootError::Corrupt(format!("Argon2 parameters: {why}")))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret.expose(), salt, key.as_mut_slice())
        .map_err(|why| RootError::Unavailable(format!("Argon2: {why}")))?;
    Ok(Key32::take(&mut key))
}

/// The parameters belong to the context: a slot re-labelled with a lower cost does not open.
fn bound(context: &Context, cost: Cost, salt: &[u8; 32]) -> Context {
    context
        .clone()
        .with(&cost.memory_kib.to_be_bytes())
        .with(&cost.passes.to_be_bytes())
        .with(&cost.lanes.to_be_bytes())
        .with(salt)
}

/// 256 random bits that open a recovery slot.
pub struct RecoveryCode(Zeroizing<[u8; 32]>);

/// Bytes of checksum behind the 32: together 280 bits, which are 56 characters without padding.
const CHECKSUM_LEN: usize = 3;

impl RecoveryCode {
    /// A new code from the kernel's generator.
    pub fn generate() -> Result<Self, RandomnessError> {
        Ok(Self(Zeroizing::new(random()?)))
    }

    /// Reads a code in any case, with or without dashes and spaces, `O` for 0 and `I` or `L` for 1. `None` when it is
    /// none or its checksum is off.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(crockford().decode(text.trim().as_bytes()).ok()?);
        let (code, checksum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
        let code: [u8; 32] = code.try_into().ok()?;
        (sha256(&code).get(..CHECKSUM_LEN)? == checksum).then(|| Self(Zeroizing::new(code)))
    }

    /// The code as people copy it: 14 groups of 4 characters.
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(self.0.to_vec());
        bytes.extend(sha256(self.0.as_slice()).iter().take(CHECKSUM_LEN));
        let plain = Zeroizing::new(crockford().encode(&bytes));
        let mut grouped = Zeroizing::new(String::with_capacity(plain.len() * 5 / 4));
        for (position, character) in plain.chars().enumerate() {
            if position > 0 && position % 4 == 0 {
                grouped.push('-');
            }
            grouped.push(character);
        }
        grouped
    }

    /// Writes the code to a new 0600 file.
    pub fn write_new(&self, path: &std::path::Path) -> Result<(), RootError> {
        let mut line = self.text();
        line.push('\n');
        write_new(path, line.as_bytes(), None)
    }
}

#[allow(clippy::expect_used)]
fn crockford() -> Encoding {
    let mut base32 = Specification::new();
    base32.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    base32.translate.from.push_str("abcdefghjkmnpqrstvwxyzOoIiLl");
    base32.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    base32.ignore.push_str("- ");
    base32
        .encoding()
        .expect("a constant specification, covered by a test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_survives_the_way_people_type_it() {
        let code = RecoveryCode(Zeroizing::new([0; 32]));
        let text = code.text();
        let typed = text.to_lowercase().replace('-', " ").replace('0', "o");

        assert_eq!(text.len(), 56 + 13);
        assert_eq!(RecoveryCode::parse(&text).unwrap().0, code.0);
        assert_eq!(RecoveryCode::parse(&typed).unwrap().0, code.0);
    }

    #[test]
    fn a_mistyped_recovery_code_is_noticed() {
        let text = RecoveryCode::generate().unwrap().text();
        for (position, character) in text.char_indices().filter(|(_, c)| *c != '-') {
            let mut typed = text.to_string();
            let other = if character == '7' { "8" } else { "7" };
            typed.replace_range(position..=position, other);
            assert!(RecoveryCode::parse(&typed).is_none(), "{position}");
        }
        assert!(RecoveryCode::parse(&text[5..]).is_none());
    }

    #[test]
    fn costs_that_were_never_written_are_refused_before_any_work() {
        let cost = |memory_kib, passes, lanes| Cost {
            memory_kib,
            passes,
            lanes,
        };
        for bad in [
            cost(64 * 1024 * 1024, 3, 1),
            cost(u32::MAX, 3, 1),
            cost(8, 3, 1),
            cost(64 * 1024, 1, 1),
            cost(64 * 1024, u32::MAX, 1),
            cost(64 * 1024, 3, 0),
            cost(64 * 1024, 3, 5),
            // Accepted once.
            cost(1024 * 1024, 16, 4),
            cost(96 * 1024, 4, 2),
        ] {
            assert!(matches!(check(bad), Err(RootError::Corrupt(_))));
        }
        // Slots of it exist, whatever becomes of COST.
        assert_eq!(check(cost(64 * 1024, 3, 1)), Ok(()));
        assert_eq!(check(COST), Ok(()));
    }
}
