//! kube-apiserver's own client code on the machine's socket, without a pause.

use std::path::Path;

use crate::client::Client;
use crate::golang::Program;

/// The client of the newest kube-apiserver that is supported.
pub static PROGRAM: Program = Program::new("kms-client-v0.37", "tests/conformance/client", "go.mod", "");

/// Connections, each of which is in a call at any time.
const WORKERS: usize = 8;
/// What each of them does before the load counts as one, in Status, Encrypt and Decrypt.
const ROUNDS: u64 = 25;

pub struct Load(Client);

impl Load {
    /// Each worker keeps a connection, as kube-apiserver does.
    pub fn on(socket: &Path) -> Self {
        let mut client = Client::start(&PROGRAM);
        client.hammer(socket, WORKERS);
        let mut load = Self(client);
        load.goes_on();
        load
    }

    /// Every worker does some rounds more, and none has failed so far.
    #[track_caller]
    pub fn goes_on(&mut self) {
        self.0.wait_for_rounds(ROUNDS);
    }

    /// How many rounds there were; none failed, and Encrypt used the key that Status had named.
    #[track_caller]
    pub fn end(mut self) -> u64 {
        let blows = self.0.halt();
        assert_eq!(blows.failures, [""; 0]);
        assert_eq!(blows.mismatches, [""; 0]);
        blows.rounds
    }
}
