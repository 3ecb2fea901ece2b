//! A wire between the client and etcd that breaks when it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What becomes of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// From the marker on, etcd hears everything and nobody hears etcd.
    LoseAnswers,
    /// etcd has heard the marker, and then the wire is cut.
    CutAfter,
    /// The wire is cut before etcd hears the marker.
    CutBefore,
    /// Nobody hears etcd, from now on.
    Silent,
    /// The same, for the connections that there are.
    SilentOld,
    /// Nothing passes in either direction, from now on.
    #[allow(dead_code)] // one suite needs it
    Parted,
}

pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    fault: Mutex<Fault>,
    marker: &'static [u8],
    seen: AtomicUsize,
    lost: Mutex<bool>,
    /// Connections with a lower number are silent.
    first: AtomicUsize,
    count: AtomicUsize,
    kept: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// In front of `url`; the fault happens with the bytes `marker`.
    pub fn start(url: &str, marker: &'static [u8]) -> Self {
        Self::start_at("127.0.0.1", url, marker)
    }

    /// The same, listening on another address.
    pub fn start_at(address: &str, url: &str, marker: &'static [u8]) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let behind = url.rsplit('/').next().unwrap().to_owned();
        let state = Arc::new(State {
            fault: Mutex::new(Fault::None),
            marker,
            seen: AtomicUsize::new(0),
            lost: Mutex::new(false),
            first: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            kept: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        // Ends with the process; each connection with its ends.
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let Ok(server) = TcpStream::connect(&behind) else {
                    continue;
                };
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                thread::spawn(move || up.ask(from, to));
                down.count.store(number + 1, Ordering::SeqCst);
                thread::spawn(move || down.answer(number, server, client));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, fault: Fault) {
        *self.state.lost.lock().unwrap() = matches!(fault, Fault::Silent | Fault::Parted);
        if fault == Fault::SilentOld {
            let count = self.state.count.load(Ordering::SeqCst);
            self.state.first.store(count, Ordering::SeqCst);
        }
        *self.state.fault.lock().unwrap() = fault;
    }

    /// How often the marker was on its way to etcd.
    pub fn seen(&self) -> usize {
        self.state.seen.load(Ordering::SeqCst)
    }
}

impl State {
    fn ask(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let marked = bytes[..count]
                .windows(self.marker.len())
                .any(|it| it == self.marker);
            let fault = *self.fault.lock().unwrap();
            if fault == Fault::Parted {
                continue;
            }
            if marked {
                self.seen.fetch_add(1, Ordering::SeqCst);
                if fault == Fault::LoseAnswers {
                    *self.lost.lock().unwrap() = true;
                }
                if fault == Fault::CutBefore {
                    break;
                }
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
            if marked && fault == Fault::CutAfter {
                let _ = from.shutdown(Shutdown::Both);
                // etcd gives up what it does for a connection that is gone.
                self.kept.lock().unwrap().push(to);
                return;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Write);
    }

    fn answer(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let lost = *self.lost.lock().unwrap() || number < self.first.load(Ordering::SeqCst);
            if !lost && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
