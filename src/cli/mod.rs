//! The command line: one verb, one file. Exit codes and the form of errors are decided here.

mod backup;
mod completions;
mod config;
mod doctor;
mod encryption;
mod failure;
mod help;
mod init;
mod keys;
mod lessons;
mod node;
mod output;
mod place;
mod probe;
mod progress;
mod recovery;
mod restore;
mod ring;
mod room;
mod root;
mod root_add;
mod root_remove;
mod rotate;
mod serve;
mod status;
mod store;
mod together;
mod wait;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::Failure;

/// A Kubernetes KMS v2 encryption provider that keeps its own ring of keys and rotates them by itself.
#[derive(Parser)]
#[command(name = "kekring", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    place: place::Place,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the plugin
    Serve,
    /// Make a ring, once in the life of a cluster
    Init(init::Init),
    /// Replace the active key by the one prepared for that, and prepare the next
    Rotate(rotate::Rotate),
    /// Show the ring, the running plugin, and what needs attention
    Status(status::Status),
    /// The keys of the ring
    #[command(subcommand)]
    Keys(keys::Keys),
    /// The roots that open the ring
    #[command(subcommand)]
    Root(root::Root),
    /// The nodes that keep the ring together
    #[command(subcommand)]
    Node(node::NodeVerb),
    /// Write a sealed copy of the ring, or verify one
    Backup(backup::BackupVerb),
    /// Take a backup in: it joins what is there
    Restore(restore::Restore),
    /// The ring itself
    #[command(subcommand)]
    Ring(ring::RingVerb),
    /// Where the ring lies
    #[command(subcommand)]
    Store(store::StoreVerb),
    /// Ask a KMS v2 plugin for its Status, as kube-apiserver does
    Probe(probe::Probe),
    /// Look for what bites people, in kekring's setup and in kube-apiserver's
    Doctor(doctor::Doctor),
    /// kekring's configuration, and kube-apiserver's
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Write the manual pages, for packages
    #[command(hide = true)]
    Man(completions::Man),
}

/// The command line of a server's start. Anything else is left to the whole, help and errors too.
#[derive(Parser)]
#[command(name = "kekring")]
struct Start {
    #[command(flatten)]
    place: place::Place,
    #[command(subcommand)]
    verb: StartVerb,
}

#[derive(Subcommand)]
enum StartVerb {
    Serve,
}

/// The command line as data: its verbs, their arguments and help.
pub fn command() -> clap::Command {
    help::taught(Cli::command())
}

/// Runs the verb that the command line names.
pub fn main() -> ExitCode {
    // A start takes less time when the other verbs and the lessons are not built for it.
    if let Ok(Start {
        place,
        verb: StartVerb::Serve,
    }) = Start::try_parse()
    {
        return code(serve::run(&place));
    }
    let parsed = command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream and which code.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    code(run(&cli))
}

fn code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.verb {
        Verb::Serve => serve::run(&cli.place),
        Verb::Init(init) => init.run(&cli.place),
        Verb::Rotate(rotate) => rotate.run(&cli.place),
        Verb::Status(status) => status.run(&cli.place),
        Verb::Keys(keys) => keys.run(&cli.place),
        Verb::Root(root) => root.run(&cli.place),
        Verb::Node(node) => node.run(&cli.place),
        Verb::Backup(backup) => backup.run(&cli.place),
        Verb::Restore(restore) => restore.run(&cli.place),
        Verb::Ring(ring) => ring.run(&cli.place),
        Verb::Store(store) => store.run(&cli.place),
        Verb::Probe(probe) => probe.run(&cli.place),
        Verb::Doctor(doctor) => doctor.run(&cli.place),
        Verb::Config(config) => config.run(&cli.place),
        Verb::Completions(completions) => {
            completions.run();
            Ok(())
        }
        Verb::Man(man) => man.run(),
    }
}
