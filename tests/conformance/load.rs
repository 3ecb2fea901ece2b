//! Many at once.

use crate::client::Stored;
use crate::golang::Program;
use crate::lab::{API, Lab, NOTICED, holds, logged, parse};
use crate::support::wait_until;

const SEEDS: usize = 200;

/// As after a restart of kube-apiserver, whose first lists read objects under many seeds. Each start of a kube-apiserver
/// has made a seed; a Decrypt that takes longer than the 3 s of the EncryptionConfiguration fails.
pub fn cold_burst(program: &'static Program) {
    let mut lab = Lab::idle(program);
    let objects: Vec<Stored> = (0..SEEDS)
        .map(|number| {
            lab.load();
            lab.write(&number.to_string())
        })
        .collect();
    let mut seeds: Vec<Vec<u8>> = objects
        .iter()
        .map(|object| parse(object).object.encrypted_dek_source)
        .collect();
    seeds.sort();
    seeds.dedup();
    assert_eq!(seeds.len(), SEEDS);

    lab.load();
    let (results, millis) = lab.client.read_all(API, &objects);

    for (number, result) in results.into_iter().enumerate() {
        // The last start wrote nothing, and the one before it used another seed.
        assert_eq!(result.unwrap(), holds(&number.to_string(), false));
    }
    wait_until("every Decrypt to be logged", NOTICED, || {
        logged(&lab.plugin, "Decrypt done") >= SEEDS
    });
    assert_eq!(logged(&lab.plugin, "Decrypt done"), SEEDS);
    println!("\n{SEEDS} Decrypts at once took {millis} ms");
}
