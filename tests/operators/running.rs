//! What an operator breaks under a running server.

use std::fs;

use rustix::process::Signal;

use crate::client::Client;
use crate::support::{PATIENCE, Plugin, wait_until};

#[test]
fn a_configuration_that_was_broken_after_the_start_stops_nothing_but_the_next_start() {
    let mut plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    let good = fs::read(&plugin.config).unwrap();
    fs::write(&plugin.config, "socket: {paht: /run/x}\n").unwrap();

    plugin.signal(Signal::HUP);
    wait_until("the reload", PATIENCE, || {
        plugin.log().contains("reading the ring again")
    });

    client.status().unwrap();
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    assert!(plugin.stop().success());
    plugin.spawn();
    assert_eq!(plugin.ended().code(), Some(2));
    assert!(plugin.log().contains("paht"), "{}", plugin.log());
    fs::write(&plugin.config, good).unwrap();
    plugin.serve();
    assert_eq!(Client::connect(&plugin.socket).decrypt(&sealed).unwrap(), [7; 32]);
}

#[test]
fn a_reload_of_a_ring_that_somebody_broke_keeps_the_one_in_memory_and_names_the_cause() {
    for (broken, says) in [("rubbish", "corrupt"), ("", "corrupt")] {
        let mut plugin = Plugin::start();
        let client = Client::connect(&plugin.socket);
        let sealed = client.encrypt(&[7; 32]).unwrap();
        fs::write(plugin.newest(), broken).unwrap();

        plugin.signal(Signal::HUP);
        wait_until("the cause", PATIENCE, || {
            let log = plugin.log();
            log.contains("the ring in memory is kept") && log.contains(says)
        });

        assert_eq!(client.key_id(), sealed.key_id);
        assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
        assert!(plugin.stop().success());
    }
}
