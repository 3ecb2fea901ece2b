//! A client that the plugin cannot serve.

use crate::client::Client;
use crate::golang::Program;
use crate::support::{PATIENCE, Plugin, wait_until};

type Case = (&'static str, fn(&'static Program));

pub const CASE: Case = (
    "a client from before Kubernetes 1.32 is refused by HTTP/2, and the log names the cause",
    named,
);

fn named(program: &'static Program) {
    let plugin = Plugin::start();
    let mut client = Client::start(program);

    let refused = client.old_client(&plugin.socket).unwrap_err();
    client.status(&plugin.socket).unwrap();

    assert!(refused.text.contains("PROTOCOL_ERROR"), "{refused:?}");
    wait_until("the cause to be logged", PATIENCE, || {
        plugin.log().contains("Kubernetes before 1.32")
    });
    let log = plugin.log();
    assert_eq!(log.matches("Kubernetes before 1.32").count(), 1, "{log}");
}
