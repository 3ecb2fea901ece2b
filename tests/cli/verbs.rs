//! Verbs that are not run to their end.

use std::process::Stdio;

use crate::support::Plugin;

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let plugin = Plugin::prepared("{}");
    let mut child = plugin
        .command(&["keys", "list"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());

    assert_eq!(child.wait().unwrap().code(), Some(0));
}
