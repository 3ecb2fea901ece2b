//! After a change of the ring: waiting until the server that runs here uses it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::failure::Failure;
use super::output::Form;
use super::progress::Progress;
use super::together::{Together, behind};
use crate::config::{Config, Store, duration};
use crate::crypto::secret::Key32;
use crate::member::Want;
use crate::server::status_file;
use crate::telemetry::now;

/// How often a running server is asked whether it has taken the new generation.
const POLL: Duration = Duration::from_millis(100);

/// `--timeout`, where a running server is to follow.
#[derive(Args, Clone, Copy)]
pub(super) struct Wait {
    /// How long to wait for the running server
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m")]
    pub(super) timeout: Duration,
}

impl Wait {
    /// Waits until a server that runs here has taken the generation; names it if it has not. A server that is not there
    /// takes it when it starts.
    ///
    /// Where several nodes keep the ring, until each of them has acknowledged it. `held` is a ring key that a configured root
    /// has given: without it, one is asked.
    pub(super) fn for_server(
        &self,
        config: &Config,
        generation: u64,
        held: Option<&Arc<Key32>>,
        form: Form,
    ) -> Vec<String> {
        match Together::of(config, held) {
            Ok(None) => self.for_this_server(config, generation, form),
            Ok(Some(mut together)) => self
                .for_nodes(&mut together, generation, form)
                .unwrap_or_else(|why| vec![why.message().to_owned()]),
            Err(why) => vec![why.message().to_owned()],
        }
    }

    fn for_nodes(
        &self,
        together: &mut Together,
        generation: u64,
        form: Form,
    ) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + self.timeout;
        let what = (form, "the change is durable");
        together.until(&Want::nothing(), deadline, what, |_, standing| {
            behind(standing, generation, &[])
        })
    }

    fn for_this_server(&self, config: &Config, generation: u64, form: Form) -> Vec<String> {
        let path = status_file::path(&config.socket.path);
        let deadline = Instant::now() + self.timeout;
        let mut shown = None;
        loop {
            let Some(server) = status_file::read(&path).filter(|it| it.is_running(now())) else {
                return Vec::new();
            };
            if server.generation >= generation {
                return Vec::new();
            }
            if Instant::now() >= deadline {
                return vec![format!(
                    "node {} (process {}, generation {})",
                    server.node, server.pid, server.generation
                )];
            }
            shown.get_or_insert_with(|| {
                Progress::begin(
                    form,
                    format!(
                        "waiting for node {} (process {}) to use generation {generation}",
                        server.node, server.pid
                    ),
                )
            });
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(POLL);
        }
    }
}

/// Done, or not finished yet.
pub(super) fn none_waits(config: &Config, waiting: &[String]) -> Result<(), Failure> {
    if waiting.is_empty() {
        return Ok(());
    }
    Err(Failure::unfinished(
        format!(
            "the change is durable, and still waits for {}",
            waiting.join(", ")
        ),
        match config.ring.store {
            Store::File { .. } => {
                "see the log of `kekring serve`; it takes the new generation as soon as it can read it"
            }
            Store::Etcd(_) => {
                "bring the node back, and it goes on by itself; `kekring rotate --without NODE` leaves it out for once, `kekring node remove NODE` when it is gone for good"
            }
        },
    ))
}
