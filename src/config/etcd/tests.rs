//! Each mistake by its key; what variables say is what a file says; what passes is what the client takes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Store};

fn parsed(etcd: &Value, variables: &[(&str, &str)]) -> Result<Config, String> {
    let text = json!({
        "apiVersion": "kekring/v1alpha1",
        "kind": "Configuration",
        "node": {"name": "cp-1"},
        "ring": {"store": {"etcd": etcd}, "roots": [{"file": {"path": "/etc/kekring/root.key"}}]},
    });
    let variables = variables.iter().map(|(name, text)| (name.into(), text.into()));
    Config::parse(&text.to_string(), variables)
}

fn store(config: Config) -> EtcdStore {
    match config.ring.store {
        Store::Etcd(etcd) => etcd,
        Store::File { .. } => panic!("a ring on etcd"),
    }
}

/// Everything set.
fn whole() -> Value {
    json!({
        "endpoints": ["https://10.0.0.1:2379", "https://etcd-1.example"],
        "prefix": "/kekring/a",
        "tls": {"ca": "/etc/ca.pem", "cert": "/etc/node.pem", "key": "/etc/node.key"},
        "user": {"name": "kekring", "passwordFile": "/etc/password"},
        "localCopy": "/var/lib/copy",
    })
}

/// `whole` with a value at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut etcd = whole();
    *etcd.pointer_mut(pointer).unwrap() = value;
    etcd
}

#[test]
fn the_client_is_given_what_the_file_says() {
    let etcd = store(parsed(&whole(), &[]).unwrap());

    let client = etcd.client().unwrap();

    let shown: Vec<String> = client.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["https://10.0.0.1:2379", "https://etcd-1.example:2379"]);
    let identity = Identity {
        cert: "/etc/node.pem".into(),
        key: "/etc/node.key".into(),
    };
    let tls = TlsFiles {
        ca: "/etc/ca.pem".into(),
        identity: Some(identity),
    };
    assert_eq!(client.tls, Some(tls));
    let user = User {
        name: "kekring".into(),
        password_file: "/etc/password".into(),
    };
    assert_eq!(client.user, Some(user));
    let files = ["/etc/ca.pem", "/etc/node.pem", "/etc/node.key", "/etc/password"];
    assert_eq!(etcd.files(), files.map(Path::new));
}

#[test]
fn an_endpoint_on_loopback_is_enough() {
    let etcd = store(parsed(&json!({"endpoints": ["http://localhost:2379"]}), &[]).unwrap());

    let client = etcd.client().unwrap();

    assert_eq!((client.tls, client.user), (None, None));
    assert_eq!(etcd.prefix, "/kekring");
    assert_eq!(etcd.local_copy, Path::new("/var/lib/kekring"));
    assert!(etcd.files().is_empty());
}

/// Each is refused, and names its key.
fn refused(mistakes: Vec<(Value, &str)>) {
    for (etcd, says) in mistakes {
        let refused = parsed(&etcd, &[]).unwrap_err();

        assert!(
            refused.starts_with(&format!("ring.store.etcd.{says}")),
            "{refused}, and not {says}"
        );
    }
}

#[test]
fn a_mistake_in_endpoints_or_prefix_names_the_key_and_what_to_do() {
    let endpoints = |list: Value| with("/endpoints", list);
    let prefix = |text: &str| with("/prefix", json!(text));
    let many: Vec<String> = (1..=17).map(|it| format!("https://10.0.0.{it}")).collect();
    let no_url = "endpoints: cannot use the etcd endpoint \"10.0.0.1:2379\": write https://";
    let plain = "endpoints: cannot use the etcd endpoint \"http://10.0.0.1\": plain http is for loopback";
    refused(vec![
        (json!({}), "endpoints is empty: list etcd's members"),
        (endpoints(json!([])), "endpoints is empty: list etcd's members"),
        (endpoints(json!(many)), "endpoints has 17 entries, at most 16"),
        (endpoints(json!(["10.0.0.1:2379"])), no_url),
        (endpoints(json!(["http://10.0.0.1"])), plain),
        (
            endpoints(json!(["https://a", "https://a:2379/"])),
            "endpoints names https://a:2379 twice",
        ),
        (prefix("kekring"), "prefix is \"kekring\": it must begin with '/'"),
        (prefix(""), "prefix is \"\": it must begin with '/'"),
        (prefix("/"), "prefix is \"/\": it must not end with '/'"),
        (
            prefix("/kekring/"),
            "prefix is \"/kekring/\": it must not end with '/'",
        ),
        (
            prefix("/kek ring"),
            "prefix is \"/kek ring\": use printable ASCII",
        ),
        (prefix("/kék"), "prefix is \"/kék\": use printable ASCII"),
        (
            prefix(&format!("/{}", "k".repeat(200))),
            "prefix is 201 bytes, at most 200",
        ),
    ]);
}

#[test]
fn a_mistake_in_files_or_user_names_the_key_and_what_to_do() {
    let tls = |key: &str, path: &str| with(&format!("/tls/{key}"), json!(path));
    let local = |key: &str| json!({"endpoints": ["http://127.0.0.1"], "tls": {key: "/a"}});
    let no_ca = "tls.ca is missing: name the file of the authority that signed the certificate of https://10.0.0.1:2379";
    refused(vec![
        (tls("ca", ""), no_ca),
        (with("/tls", json!(null)), no_ca),
        (
            tls("ca", "ca.pem"),
            "tls.ca is \"ca.pem\", expected an absolute path",
        ),
        (
            tls("cert", "pem"),
            "tls.cert is \"pem\", expected an absolute path",
        ),
        (tls("key", "key"), "tls.key is \"key\", expected an absolute path"),
        (tls("cert", ""), "tls.key is set without tls.cert: name both"),
        (tls("key", ""), "tls.cert is set without tls.key: name both"),
        (
            local("ca"),
            "tls.ca is set, and no endpoint uses it: write https://",
        ),
        (
            local("key"),
            "tls.key is set, and no endpoint uses it: write https://",
        ),
        (
            with("/user/name", json!("")),
            "user.name is empty: name etcd's user",
        ),
        (
            with("/user/passwordFile", json!("p")),
            "user.passwordFile is \"p\", expected an absolute path",
        ),
        (
            with("/localCopy", json!("")),
            "localCopy is \"\", expected an absolute path",
        ),
        (
            with("/localCopy", json!("copy")),
            "localCopy is \"copy\", expected an absolute path",
        ),
    ]);
}

#[test]
fn a_password_in_an_endpoint_is_not_repeated() {
    let refused = parsed(&with("/endpoints", json!(["https://root:hunter2@10.0.0.1"])), &[]).unwrap_err();

    assert!(refused.contains("ring.store.etcd.endpoints: "), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
}

#[test]
fn a_node_of_several_has_a_name_that_a_node_can_have() {
    let named = |name: &str| parsed(&whole(), &[("KEKRING_NODE_NAME", name)]);

    for good in ["cp-1", "CP-1.Example", "1"] {
        let config = named(good).unwrap();
        assert_eq!(config.member_name().unwrap().as_str(), good.to_lowercase());
    }
    for bad in ["cp_1", "-cp", "cp..example", "cp."] {
        let refused = named(bad).unwrap_err();
        assert!(
            refused.starts_with(&format!("node.name is {bad:?}, not a node name: "))
                && refused.contains("a node.name of its own"),
            "{refused}"
        );
    }
}

#[test]
fn the_copy_and_the_mirror_are_two_directories() {
    let refused = parsed(&whole(), &[("KEKRING_RING_MIRROR", "/var/lib/copy/")]).unwrap_err();

    assert!(
        refused.starts_with("ring.mirror is ring.store.etcd.localCopy: "),
        "{refused}"
    );
}

#[test]
fn a_variable_never_makes_a_second_store() {
    let dir = ("KEKRING_RING_STORE_FILE_DIR", "/var/lib/kekring");
    let endpoints = ("KEKRING_RING_STORE_ETCD_ENDPOINTS", "[https://10.0.0.1]");

    let over_etcd = parsed(&whole(), &[dir]).unwrap_err();
    let nothing_said = "{apiVersion: kekring/v1alpha1, kind: Configuration, ring: {roots: []}}";
    let two = Config::parse(
        nothing_said,
        [dir, endpoints]
            .map(|(name, text)| (name.into(), text.into()))
            .into_iter(),
    )
    .unwrap_err();

    for refused in [&over_etcd, &two] {
        assert!(
            refused.starts_with(
                "KEKRING_RING_STORE_FILE_DIR sets ring.store.file, and ring.store.etcd is set too: "
            ),
            "{refused}"
        );
        assert!(refused.contains("exactly one store"), "{refused}");
    }
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-z0-9. -]{1,8}){1,3}"
}

/// What an operator may configure.
fn configured() -> impl Strategy<Value = Value> {
    let hosts = prop::collection::btree_set("[a-z]{1,8}(\\.[a-z]{2,5})?", 1..=MAX_ENDPOINTS);
    let identity = prop::option::of((path(), path()));
    let user = prop::option::of(("[ -~]{1,20}", path()));
    (
        hosts,
        1..u16::MAX,
        "(/[!-~]{0,20}[!-.0-~]){1,3}",
        path(),
        identity,
        user,
        path(),
    )
        .prop_map(|(hosts, port, prefix, ca, identity, user, copy)| {
            let endpoints: Vec<String> = hosts
                .iter()
                .map(|host| format!("https://{host}:{port}"))
                .collect();
            let mut etcd =
                json!({"endpoints": endpoints, "prefix": prefix, "tls": {"ca": ca}, "localCopy": copy});
            if let Some((cert, key)) = identity {
                etcd["tls"] = json!({"ca": ca, "cert": cert, "key": key});
            }
            if let Some((name, file)) = user {
                etcd["user"] = json!({"name": name, "passwordFile": file});
            }
            etcd
        })
}

proptest! {
    #[test]
    fn what_variables_say_is_what_a_file_says(etcd in configured()) {
        let from_file = parsed(&etcd, &[]).unwrap();
        let mut variables = vec![];
        for (name, pointer) in [
            ("ENDPOINTS", "/endpoints"),
            ("PREFIX", "/prefix"),
            ("TLS_CA", "/tls/ca"),
            ("TLS_CERT", "/tls/cert"),
            ("TLS_KEY", "/tls/key"),
            ("USER_NAME", "/user/name"),
            ("USER_PASSWORD_FILE", "/user/passwordFile"),
            ("LOCAL_COPY", "/localCopy"),
        ] {
            if let Some(value) = etcd.pointer(pointer) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                variables.push((format!("KEKRING_RING_STORE_ETCD_{name}"), text));
            }
        }
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();

        let from_variables = parsed(&json!({}), &variables);
        let over_a_file = parsed(&etcd, &variables);

        prop_assert_eq!(from_variables.as_ref(), Ok(&from_file));
        prop_assert_eq!(over_a_file, Ok(from_file));
    }

    #[test]
    fn what_passes_is_what_the_client_takes(
        etcd in configured(),
        changed in 0..8_u8,
        endpoint in "https?://(127\\.0\\.0\\.1|localhost|etcd|10\\.0\\.0\\.1|\\[::1\\])(:[0-9]{1,5})?[/@]?|[a-z0-9.:@/-]{0,12}",
        prefix in "/?[!-~]{0,3}[ -~é]?",
        file in "(/?[a-z]{1,3})?",
    ) {
        let mut etcd = etcd;
        for (bit, pointer, value) in [
            (1, "/endpoints", json!([endpoint])),
            (2, "/prefix", json!(prefix)),
            (4, "/tls", json!({"ca": "/ca", "cert": file, "key": "/key"})),
        ] {
            if changed & bit != 0 {
                *etcd.pointer_mut(pointer).unwrap() = value;
            }
        }

        match parsed(&etcd, &[]) {
            Err(why) => prop_assert!(why.contains("ring.store.etcd.") && !why.contains('\n'), "{}", why),
            Ok(config) => {
                let etcd = store(config);
                let client = etcd.client().unwrap();
                let secured = client.endpoints.iter().any(Endpoint::is_secured);
                prop_assert_eq!(secured, client.tls.is_some());
                prop_assert!(etcd.prefix.starts_with('/') && !etcd.prefix.ends_with('/'));
                etcd::Client::new(client).unwrap();
            }
        }
    }
}
