//! A root in a systemd credential that a TPM has sealed: a TPM in software (swtpm), behind the resource manager that a kernel
//! would be (tpm2-abrmd), and the real systemd-creds.
//!
//! Needs swtpm, tpm2-abrmd, dbus-daemon, tpm2-tools and systemd-creds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod credential;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/mod.rs"]
mod support;
mod tpm;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs, trials};

fn main() -> ExitCode {
    let mut suite = Suite::new("tpm");
    suite.list(trials![needs programs;
        credential::a_credential_that_the_tpm_sealed_opens_the_ring,
        credential::a_tpm_that_measures_something_else_is_asked_once_and_the_recovery_code_leads_out,
    ]);
    suite.run()
}

fn programs() -> Result<(), Missing> {
    needs::root_to("whose credentials they are")?;
    needs::programs(&[
        "swtpm",
        "tpm2-abrmd",
        "dbus-daemon",
        "tpm2_pcrextend",
        "systemd-creds",
    ])
}
