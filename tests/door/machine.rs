//! What a machine can do to a server: no descriptors, no threads, no randomness, no time, nobody who reads its log.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kekring_kit::Missing;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tonic::Code;

use crate::client::Client;
use crate::honest::Honest;
use crate::support::open_files::open_files;
use crate::support::scrape::Scrape;
use crate::support::strace::Attached;
use crate::support::{KEKRING, Killed, PATIENCE, Plugin, from_nowhere, wait_until};

const TELEMETRY: &str = "{telemetry: {listen: '127.0.0.1:0'}}";

#[test]
fn without_randomness_encrypt_fails_and_decrypt_goes_on() -> Result<(), Missing> {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    let log = plugin.dir.join("strace.log");
    let fault = ["-e", "trace=getrandom", "-e", "inject=getrandom:error=ENOSYS"];
    let injected = Attached::to(&plugin, &log, &fault)?;

    let refused = client.encrypt(&[7; 32]).unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused:?}");
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    assert!(client.status().is_ok());

    drop(injected);
    assert_ne!(client.encrypt(&[7; 32]).unwrap().ciphertext, sealed.ciphertext);
    assert!(!plugin.log().contains("panicked"), "{}", plugin.log());
    let trace = fs::read_to_string(log).unwrap();
    assert!(trace.contains("(INJECTED)"), "{trace}");
    Ok(())
}

#[test]
#[needs(descriptor_counts)]
fn without_descriptors_whoever_is_in_is_served_and_newcomers_are_later() {
    let plugin = Plugin::with(TELEMETRY);
    let honest = Honest::begin(&plugin);
    honest.goes_on();
    let usual = getrlimit(Resource::Nofile);
    let tight = Rlimit {
        current: Some(open_files(plugin.pid())),
        maximum: usual.maximum,
    };

    prlimit(Some(plugin.pid()), Resource::Nofile, tight).unwrap();
    let waiting: Vec<UnixStream> = (0..200).map(|_| crate::raw::plain(&plugin.socket)).collect();
    wait_until("accepts to fail", PATIENCE, || {
        plugin.log().contains("cannot accept a connection")
    });
    for _ in 0..20 {
        honest.goes_on();
    }
    // It is tried again without end, and said once in a while.
    assert!(plugin.log().matches("cannot accept a connection").count() < 5);
    prlimit(Some(plugin.pid()), Resource::Nofile, usual).unwrap();
    drop(waiting);

    Client::connect(&plugin.socket).status().unwrap();
    honest.end();
    assert!(Scrape::of(&plugin.telemetry()).value("kekring_accepts_failed_total", &[]) > 0.5);
}

/// The server that strace runs, which outlives it.
struct Traced<'a>(Killed, &'a Plugin);

impl Traced<'_> {
    fn server(&self) -> Option<Pid> {
        let status = fs::read(self.1.socket.with_file_name("status.json")).ok()?;
        let status: serde_json::Value = serde_json::from_slice(&status).ok()?;
        Pid::from_raw(i32::try_from(status["pid"].as_i64()?).ok()?)
    }
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.server() {
            let _ = kill_process(server, Signal::TERM);
            let _ = self.0.0.wait();
        }
    }
}

#[test]
#[needs(strace)]
fn without_a_thread_to_read_the_ring_on_it_is_read_once_there_is_one() {
    let plugin = Plugin::prepared(TELEMETRY);
    let log = plugin.dir.join("strace.log");
    let mut strace = Command::new("strace");
    // The first thread is the log's; the next three are refused.
    strace
        .args(["-f", "-o"])
        .arg(&log)
        .args(["-e", "trace=clone3", "-e", "inject=clone3:error=EAGAIN:when=2..4"])
        .args([KEKRING, "serve", "--config"]);
    from_nowhere(strace.arg(&plugin.config));
    let stderr = fs::File::create(plugin.dir.join("serve.log")).unwrap();
    let strace = strace.stdout(Stdio::null()).stderr(stderr).spawn();
    let mut strace = Traced(Killed(strace.unwrap()), &plugin);
    wait_until("the socket", PATIENCE, || {
        assert!(strace.0.0.try_wait().unwrap().is_none(), "{}", plugin.log());
        plugin.socket.exists()
    });

    wait_until("the ring to be read", PATIENCE, || {
        plugin.verb(&["probe", "--round-trip"]).status.success()
    });

    assert!(fs::read_to_string(log).unwrap().contains("(INJECTED)"));
    assert!(
        plugin.log().contains("no thread to read the ring on"),
        "{}",
        plugin.log()
    );
    assert!(Scrape::of(&plugin.telemetry()).value("kekring_ready", &[]) > 0.5);
    assert!(plugin.verb(&["rotate"]).status.success());
    let client = Client::connect(&plugin.socket);
    wait_until("the rotation to be taken", PATIENCE, || {
        client.key_id().starts_with("k2-")
    });
}

#[test]
fn a_server_that_was_stopped_by_a_signal_goes_on_where_it_was() {
    let full = std::env::var_os("KEKRING_TESTS").is_some_and(|value| value == "full");
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let (key_id, sealed) = (client.key_id(), client.encrypt(&[7; 32]).unwrap());

    let pauses: &[u64] = if full { &[2, 10] } else { &[2] };
    for seconds in pauses {
        plugin.signal(Signal::STOP);
        let stopped = Instant::now();
        let socket: &Path = &plugin.socket;
        thread::scope(|scope| {
            // Asked meanwhile, it answers afterwards.
            let waiting = scope.spawn(|| Client::connect(socket).key_id());
            wait_until("the pause", PATIENCE, || {
                stopped.elapsed() > Duration::from_secs(*seconds)
            });
            plugin.signal(Signal::CONT);
            assert_eq!(waiting.join().unwrap(), key_id);
        });
        assert_eq!(client.key_id(), key_id);
        assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    }
    eprintln!("pauses: {} of 2", pauses.len());
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up_however_much_fails() {
    let plugin = Plugin::prepared(TELEMETRY);
    let mut command = plugin.command(&["serve"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = Killed(command.spawn().unwrap());
    let address = plugin.telemetry();
    let honest = Honest::begin(&plugin);
    let dropped = || Scrape::of(&address).value("kekring_log_lines_dropped_total", &[]);

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let client = Client::connect(&plugin.socket);
                for _ in 0..2000 {
                    client.encrypt(&[]).unwrap_err();
                }
            });
        }
        honest.goes_on();
    });
    assert!(dropped() > 0.5);
    for _ in 0..20 {
        honest.goes_on();
    }

    let (rounds, slowest) = honest.end();
    eprintln!(
        "log unread: {} lines dropped, {rounds} honest rounds, slowest call {slowest:?}",
        dropped()
    );
    // With its reader gone for good it serves too.
    drop(server.0.stderr.take());
    let client = Client::connect(&plugin.socket);
    for _ in 0..1000 {
        client.encrypt(&[]).unwrap_err();
    }
    client.status().unwrap();
}
