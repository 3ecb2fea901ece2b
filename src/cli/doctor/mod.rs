//! `kekring doctor`: the machine, our configuration, the ring, the server, kube-apiserver's configuration and manifest
//! against what bites people. Nothing is written, nobody is asked, and what cannot be looked at is said.
//!
//! *Why areas, and not one check in one file?* Each area looks first and judges then, and what one finds another needs: the
//! manifest's mounts say which socket of the node an endpoint is.

mod compare;
mod configuration;
mod encryption;
mod finding;
mod machine;
mod manifest;
mod nodes;
mod order;
mod providers;
mod read;
mod ring;
mod server;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::place::Place;
use crate::config::Config;
use encryption::Configuration;
use finding::{Findings, text};
use manifest::Manifest;

/// Where kubeadm has it.
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// Exit code 0 also with warnings, 1 when something fails, with --strict when something warns too.
#[derive(Args)]
pub(super) struct Doctor {
    /// kube-apiserver's manifest, a static Pod [default: /etc/kubernetes/manifests/kube-apiserver.yaml, where it is]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The EncryptionConfiguration [default: the one that the manifest names, as a file of this node]
    #[arg(long, value_name = "FILE")]
    encryption_config: Option<PathBuf>,
    /// A copy of another control-plane node's EncryptionConfiguration; may be given again for a third node
    #[arg(long, value_name = "FILE")]
    compare: Vec<PathBuf>,
    /// Exit with 1 for a warning too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: Output,
}

impl Doctor {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let mut findings = Findings::of(place);
        let config = place.config();
        match &config {
            Ok(config) => findings.ok(
                "configuration/valid",
                origin(place),
                format!("node {}", config.node_name()),
            ),
            Err(why) => findings.failure("configuration/valid", origin(place), why.message(), why.hint()),
        }
        let valid = config.as_ref().ok();
        let (manifest, configuration) = self.api_server(valid, &mut findings);
        self.ours(
            place,
            valid,
            manifest.as_ref(),
            configuration.as_ref(),
            &mut findings,
        );
        for other in &self.compare {
            compare::look(configuration.as_ref(), other, &mut findings);
        }
        let report = findings.report();
        self.output.print(&report, text);
        // What else was found is shown; that this verb could not do all of its work comes first.
        config?;
        const HINT: &str = "each finding has its remedy below it; deploy/doctor.md says more of each";
        match (report.failures, report.warnings) {
            (0, 0) => Ok(()),
            (0, _) if !self.strict => Ok(()),
            (0, _) => Err(Failure::failed(
                "the doctor found warnings, and --strict lets none pass",
                HINT,
            )),
            (failures, _) => Err(Failure::failed(
                format!("the doctor found failures: {failures}"),
                HINT,
            )),
        }
    }

    /// The ring and the server of a configuration that could be read.
    fn ours(
        &self,
        place: &Place,
        config: Option<&Config>,
        manifest: Option<&Manifest>,
        configuration: Option<&Configuration>,
        findings: &mut Findings,
    ) {
        let Some(config) = config else {
            machine::look(None, None, findings);
            const REMEDY: &str = "mend the configuration, or name it with --config FILE";
            findings.skipped("ring/opens", "ring", "no configuration says where it is", REMEDY);
            findings.skipped(
                "server/answers",
                "socket",
                "no configuration says where it is",
                REMEDY,
            );
            return;
        };
        let server = server::status(config);
        configuration::look(place, config, server.as_ref(), findings);
        let opened = ring::open(config, findings);
        machine::look(Some(config), opened.as_ref(), findings);
        machine::swap(server.as_ref(), findings);
        ring::strays(config, findings);
        if let Some(opened) = &opened {
            ring::look(config, opened, findings);
        }
        nodes::certificate(config, findings);
        nodes::look(config, opened.as_ref(), findings);
        let members = manifest.map_or(1, Manifest::etcd_members);
        ring::several(config, members, self.compare.len(), findings);
        let asked = configuration.is_some_and(Configuration::asks_us);
        server::look(config, server.as_ref(), opened.as_ref(), asked, findings);
        if let Some(manifest) = manifest {
            manifest.check_user(config, server.as_ref(), findings);
        }
    }

    fn api_server(
        &self,
        config: Option<&Config>,
        findings: &mut Findings,
    ) -> (Option<Manifest>, Option<Configuration>) {
        let manifest = match (&self.manifest, Path::new(MANIFEST)) {
            (Some(path), _) => manifest::look(path, findings),
            (None, usual) if usual.exists() => manifest::look(usual, findings),
            (None, usual) => {
                let remedy =
                    "give --manifest FILE; where it is no static Pod, look at its flags and probes yourself";
                findings.skipped(
                    "manifest/readable",
                    usual.display(),
                    "there is no manifest of kube-apiserver",
                    remedy,
                );
                None
            }
        };
        let named = manifest.as_ref().and_then(|manifest| {
            manifest.check(findings);
            encryption::file(manifest, findings)
        });
        let Some(path) = self.encryption_config.as_ref().or(named.as_ref()) else {
            findings.skipped(
                "encryption/readable",
                "EncryptionConfiguration",
                "nothing says where it is",
                "give --encryption-config FILE",
            );
            return (manifest, None);
        };
        let socket = config.map(|config| config.socket.path.as_path());
        let configuration = encryption::look(path, manifest.as_ref(), socket, findings);
        (manifest, configuration)
    }
}

fn origin(place: &Place) -> String {
    match &place.dev {
        Some(dir) => format!("--dev {}", dir.display()),
        None => place.config_path().display().to_string(),
    }
}
