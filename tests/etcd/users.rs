//! Users with passwords and roles.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use kekring::etcd::{Client, EtcdError, Op, Range, User};
use serde_json::json;

use crate::cluster::{Cluster, LONG, client, key, prefix};
use crate::keys::{always, put};

/// An etcd whose user `kekring` may do everything below `/kekring/`, and nothing else; and root's token.
fn with_users() -> (Cluster, String, PathBuf) {
    let cluster = Cluster::plain_with(&["--bcrypt-cost=4"]);
    let end = BASE64.encode(b"/kekring0");
    for (path, request) in [
        ("auth/user/add", json!({"name": "root", "password": "of-root"})),
        ("auth/role/add", json!({"name": "root"})),
        ("auth/user/grant", json!({"user": "root", "role": "root"})),
        ("auth/user/add", json!({"name": "kekring", "password": "hunter2"})),
        ("auth/role/add", json!({"name": "ring"})),
        (
            "auth/role/grant",
            json!({"name": "ring", "perm": {
                "permType": "READWRITE", "key": BASE64.encode(b"/kekring/"), "range_end": end}}),
        ),
        ("auth/user/grant", json!({"user": "kekring", "role": "ring"})),
        ("auth/enable", json!({})),
    ] {
        cluster.gateway(path, None, &request);
    }
    let root = cluster.gateway(
        "auth/authenticate",
        None,
        &json!({"name": "root", "password": "of-root"}),
    );
    let token = root["token"].as_str().unwrap().to_owned();
    let path = cluster.dir().join("password");
    write(&path, "hunter2\n");
    (cluster, token, path)
}

fn write(path: &Path, password: &str) {
    fs::write(path, password).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn user(cluster: &Cluster, name: &str, password_file: &Path) -> Client {
    let user = User {
        name: name.into(),
        password_file: password_file.to_owned(),
    };
    client(&[cluster.url(0)], None, Some(user))
}

pub fn a_user_reads_its_own_prefix_and_nothing_else() {
    let (cluster, root, password) = with_users();
    let kekring = user(&cluster, "kekring", &password);
    let denied = |error: EtcdError, says: &str| {
        let text = error.to_string();
        assert!(matches!(error, EtcdError::Denied(_)), "{error:?}");
        assert!(text.contains(says) && text.contains(cluster.url(0)), "{text}");
        assert!(!text.contains("hunter"), "{text}");
    };

    assert!(
        kekring
            .txn(always(put("/kekring/a", "1")), LONG)
            .unwrap()
            .succeeded
    );
    assert_eq!(
        kekring
            .range(&Range::of(prefix("/kekring/")), LONG)
            .unwrap()
            .count,
        1
    );
    denied(
        kekring.range(&Range::of(prefix("/registry/")), LONG).unwrap_err(),
        "etcdctl role grant-permission",
    );
    denied(
        kekring
            .txn(always(Op::Delete(key("/registry/a"))), LONG)
            .unwrap_err(),
        "etcdctl role grant-permission",
    );
    let (_, said) = kekring.status(LONG).remove(0);
    denied(said.unwrap_err(), "role root alone");
    assert!(kekring.range(&Range::of(prefix("/kekring/")), LONG).is_ok());

    // Nobody, somebody else, and a wrong password.
    denied(
        cluster
            .client()
            .range(&Range::of(key("/kekring/a")), LONG)
            .unwrap_err(),
        "etcd wants a user",
    );
    let stranger = user(&cluster, "stranger", &password);
    denied(
        stranger.range(&Range::of(key("/kekring/a")), LONG).unwrap_err(),
        "does not take user \"stranger\"",
    );
    write(&password, "hunter3");
    let wrong = user(&cluster, "kekring", &password);
    denied(
        wrong.range(&Range::of(key("/kekring/a")), LONG).unwrap_err(),
        "does not take user \"kekring\"",
    );

    // A password for an etcd that wants none.
    cluster.gateway("auth/disable", Some(&root), &json!({}));
    assert!(wrong.range(&Range::of(key("/kekring/a")), LONG).is_ok());
    assert!(wrong.range(&Range::of(key("/registry/a")), LONG).is_ok());
    // And wants one again.
    cluster.gateway("auth/enable", None, &json!({}));
    write(&password, "hunter2");
    assert!(wrong.range(&Range::of(key("/kekring/a")), LONG).is_ok());
}

pub fn a_new_password_is_taken_from_its_file() {
    let (cluster, root, password) = with_users();
    let kekring = user(&cluster, "kekring", &password);
    let read = || kekring.range(&Range::of(key("/kekring/a")), LONG);
    read().unwrap();

    // etcd forgets every token of the user.
    cluster.gateway(
        "auth/user/changepw",
        Some(&root),
        &json!({"name": "kekring", "password": "hunter3"}),
    );
    let denied = read().unwrap_err();
    assert!(matches!(denied, EtcdError::Denied(_)), "{denied}");
    write(&password, "hunter3");
    read().unwrap();
    assert!(
        kekring
            .txn(always(put("/kekring/a", "1")), LONG)
            .unwrap()
            .succeeded
    );

    // A change with a token that etcd has forgotten is made once all the same.
    cluster.gateway(
        "auth/user/changepw",
        Some(&root),
        &json!({"name": "kekring", "password": "hunter4"}),
    );
    write(&password, "hunter4");
    assert!(
        kekring
            .txn(always(put("/kekring/a", "2")), LONG)
            .unwrap()
            .succeeded
    );
    assert_eq!(read().unwrap().kvs[0].version, 2);
}
