//! Keys, derivation and sealing. Knows nothing of gRPC, files, clocks or the other modules.

pub mod aead;
pub mod guarded;
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

/// Stack that [`unseen`] overwrites, in bytes: what sealing and opening use, also in a build without optimisation.
const SCRUBBED: usize = 8 * 1024;

/// Runs a computation with a key and overwrites the stack that it used. Libraries wipe their states where these end; where
/// these were moved from, their bytes are left behind.
fn unseen<T>(compute: impl FnOnce() -> T) -> T {
    let result = called(compute);
    scrub();
    result
}

// In frames of their own, both below the caller's: what the one leaves behind, the other overwrites.
#[inline(never)]
fn called<T>(compute: impl FnOnce() -> T) -> T {
    compute()
}

#[inline(never)]
fn scrub() {
    let mut stack = [0_u8; SCRUBBED];
    std::hint::black_box(&mut stack);
}
