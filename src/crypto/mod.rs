//! Keys, derivation and sealing. Knows nothing of gRPC, files, clocks or the other modules.

pub mod aead;
pub mod kdf;
pub mod secret;

/// The kernel gave no randomness, so nothing was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's random number generator failed: {0}")]
pub struct RandomnessError(#[from] getrandom::Error);

/// `N` bytes from the kernel's generator (`getrandom(2)`); no generator of our own stands in between.
pub fn random<const N: usize>() -> Result<[u8; N], RandomnessError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
