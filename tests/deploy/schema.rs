//! `kekring config schema` says of a configuration what kekring itself says, as far as a schema can.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Plugin, configuration_keys, kekring, shown};
use crate::{samples, whole_of};

/// What varies, must be given, or is there or not.
const WITHOUT_DEFAULT: [&str; 8] = [
    "socket.allowUsers",
    "ring.store.etcd.endpoints",
    "ring.store.etcd.tls.ca",
    "ring.store.etcd.tls.cert",
    "ring.store.etcd.tls.key",
    "ring.store.etcd.user.name",
    "ring.store.etcd.user.passwordFile",
    "ring.roots",
];

fn schema() -> Value {
    let output = kekring(&["config", "schema"]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_sample_keeps_to_the_schema() {
    let schema = schema();

    for sample in samples() {
        let text = fs::read_to_string(&sample).unwrap();
        assert!(keeps(&schema, &schema, &yaml(&text)), "{}", sample.display());
    }
}

#[test]
fn the_schema_has_every_key_with_its_default() {
    let schema = schema();

    let mut keys: Vec<String> = configuration_keys().into_iter().map(|(_, key)| key).collect();
    keys.sort();

    let mut all = [&["apiVersion".into(), "kind".into()][..], &keys].concat();
    all.sort();
    assert_eq!(leaves(&schema, ""), all);
    for key in &keys {
        let (mut place, mut path) = (&schema, String::new());
        for step in key.split('.') {
            place = &place["properties"][step];
            path = format!("{path}/{step}");
        }
        if !WITHOUT_DEFAULT.contains(&key.as_str()) {
            let shown = whole_of(key).pointer(&path).unwrap().clone();
            assert_eq!(place["default"], shown, "{key}");
        }
    }
}

#[test]
fn the_schema_has_every_kind_of_root() {
    let plugin = Plugin::unmade("{ring: {roots: [{unknown: {}}]}}");
    let output = plugin.verb(&["config", "check"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let (_, kinds) = told
        .lines()
        .next()
        .unwrap()
        .split_once("expected one of ")
        .unwrap();
    let mut kinds: Vec<&str> = kinds.split(", ").map(|kind| kind.trim_matches('`')).collect();
    kinds.sort_unstable();

    let schema = schema();
    let named: Vec<&String> = schema["$defs"]["root"]["properties"]
        .as_object()
        .unwrap()
        .keys()
        .collect();

    assert_eq!(named, kinds);
}

#[test]
fn what_the_schema_refuses_is_refused_by_kekring_too() {
    let schema = schema();
    let plugin = Plugin::unmade("{}");
    for mistake in [
        "{unknwon: 1}",
        "{kind: Pod}",
        "{node: {unknwon: 1}}",
        "{node: {name: a b}}",
        "{socket: {unknwon: 1}}",
        "{socket: {mode: \"0666\"}}",
        "{socket: {path: relative}}",
        "{socket: {allowUsers: [root]}}",
        "{socket: {allowGroups: [-1]}}",
        "{ring: {unknwon: 1}}",
        "{ring: {id: xyz}}",
        "{ring: {mirror: relative}}",
        "{ring: {roots: []}}",
        "{ring: {roots: [{file: {path: /a, unknwon: 1}}]}}",
        "{ring: {roots: [{file: {}}]}}",
        "{ring: {roots: [{file: {path: /a}, passphrase: {path: /b}}]}}",
        "{ring: {roots: [{credential: {name: a/b}}]}}",
        "{ring: {store: {file: {dir: relative}}}}",
        "{ring: {store: {file: {unknwon: 1}}}}",
        "{ring: {store: {s3: {}}}}",
        "{ring: {store: {file: null}}}",
        "{ring: {store: {etcd: {endpoints: [https://a]}}}}",
        "{rotation: {unknwon: 1}}",
        "{telemetry: {unknwon: 1}}",
        "{telemetry: {log: {level: loud}}}",
    ] {
        assert_eq!(taken(&schema, &plugin, mistake), (false, false), "{mistake}");
    }
    assert_eq!(taken(&schema, &plugin, "{}"), (true, true));
}

#[test]
fn what_the_schema_says_of_a_ring_on_etcd_kekring_says_too() {
    let schema = schema();
    let plugin = Plugin::unmade("{}");
    let secured = "endpoints: [https://a], tls: {ca: /a}";
    let long = format!("{secured}, prefix: /{}", "k".repeat(200));
    let longest = format!("{secured}, prefix: /{}", "k".repeat(199));
    let many: Vec<String> = (0..17).map(|it| format!("http://127.0.0.{it}")).collect();
    let many = format!("endpoints: [{}]", many.join(", "));
    for (etcd, good) in [
        (secured, true),
        ("endpoints: [HTTP://localhost, http://127.0.0.1:1]", true),
        (&longest, true),
        (&long, false),
        (&many, false),
        ("", false),
        ("endpoints: []", false),
        ("endpoints: https://a", false),
        ("endpoints: [a]", false),
        ("endpoints: [http://localhost, http://localhost]", false),
        (&format!("{secured}, unknwon: 1"), false),
        (&format!("{secured}, prefix: k"), false),
        (&format!("{secured}, prefix: /k/"), false),
        (&format!("{secured}, prefix: /"), false),
        (&format!("{secured}, prefix: /a b"), false),
        (&format!("{secured}, prefix: /a/b"), true),
        (&format!("{secured}, localCopy: copy"), false),
        (&format!("{secured}, user: {{name: a, passwordFile: /a}}"), true),
        (&format!("{secured}, user: {{name: a}}"), false),
        (
            &format!("{secured}, user: {{name: \"\", passwordFile: /a}}"),
            false,
        ),
        (&format!("{secured}, user: {{name: a, passwordFile: a}}"), false),
        ("endpoints: [https://a], tls: {ca: a}", false),
        ("endpoints: [https://a], tls: {ca: /a, cert: /b, key: /c}", true),
        (
            "endpoints: [https://a], tls: {ca: /a, cert: \"\", key: \"\"}",
            true,
        ),
        ("endpoints: [https://a], tls: {ca: /a, cert: b, key: /c}", false),
        ("endpoints: [https://a], tls: {ca: /a, unknwon: 1}", false),
    ] {
        let tweak = format!("{{ring: {{store: {{file: null, etcd: {{{etcd}}}}}}}}}");
        assert_eq!(taken(&schema, &plugin, &tweak), (good, good), "{etcd}");
    }
}

/// Whether the schema takes a configuration with that tweak, and whether kekring does.
fn taken(schema: &Value, plugin: &Plugin, tweak: &str) -> (bool, bool) {
    plugin.configure(tweak);
    let text = fs::read_to_string(&plugin.config).unwrap();
    let output = plugin.verb(&["config", "check"]);
    assert!(
        matches!(output.status.code(), Some(0 | 2)),
        "{tweak}: {}",
        shown(&output)
    );
    (keeps(schema, schema, &yaml(&text)), output.status.success())
}

/// Every key below `schema` that has none below it.
fn leaves(schema: &Value, path: &str) -> Vec<String> {
    let Some(properties) = schema["properties"].as_object() else {
        return vec![path.to_owned()];
    };
    let below = |(name, schema): (&String, &Value)| {
        let dot = if path.is_empty() { "" } else { "." };
        leaves(schema, &format!("{path}{dot}{name}"))
    };
    let mut all: Vec<String> = properties.iter().flat_map(below).collect();
    all.sort();
    all
}

/// Whether `value` keeps to the schema: as much of JSON Schema as ours uses, and a panic at anything more.
fn keeps(root: &Value, schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().unwrap();
    keywords.iter().all(|(keyword, wanted)| match (keyword.as_str(), value) {
        ("$schema" | "$defs" | "title" | "description" | "default", _) => true,
        ("$ref", _) => {
            let place = wanted.as_str().unwrap().trim_start_matches('#');
            keeps(root, root.pointer(place).unwrap(), value)
        }
        ("type", _) => match wanted.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("type {other}: teach it to this test"),
        },
        ("const", _) => value == wanted,
        ("enum", _) => wanted.as_array().unwrap().contains(value),
        ("pattern", Value::String(text)) => fits(wanted.as_str().unwrap(), text),
        ("minLength", Value::String(text)) => text.len() >= number(wanted),
        ("maxLength", Value::String(text)) => text.len() <= number(wanted),
        ("oneOf", _) => {
            let ways = wanted.as_array().unwrap().iter();
            ways.filter(|way| keeps(root, way, value)).count() == 1
        }
        ("minimum", Value::Number(it)) => it.as_i64() >= wanted.as_i64(),
        ("maximum", Value::Number(it)) => it.as_i64() <= wanted.as_i64(),
        ("minItems", Value::Array(items)) => items.len() >= number(wanted),
        ("maxItems", Value::Array(items)) => items.len() <= number(wanted),
        ("uniqueItems", Value::Array(items)) => {
            let mut rest = items.iter();
            std::iter::from_fn(|| rest.next().map(|it| rest.as_slice().contains(it))).all(|twice| !twice)
        }
        ("items", Value::Array(items)) => items.iter().all(|it| keeps(root, wanted, it)),
        ("minProperties", Value::Object(map)) => map.len() >= number(wanted),
        ("maxProperties", Value::Object(map)) => map.len() <= number(wanted),
        ("required", Value::Object(map)) => {
            let mut names = wanted.as_array().unwrap().iter();
            names.all(|name| map.contains_key(name.as_str().unwrap()))
        }
        ("additionalProperties", Value::Object(map)) => {
            assert_eq!(*wanted, json!(false));
            map.keys().all(|key| schema["properties"].get(key).is_some())
        }
        ("properties", Value::Object(map)) => map.iter().all(|(key, value)| {
            let known = wanted.get(key);
            known.is_none_or(|schema| keeps(root, schema, value))
        }),
        // A keyword for another type than that of the value, which `type` refuses.
        (other, _) => {
            let known = "pattern minLength maxLength minimum maximum minItems maxItems uniqueItems items minProperties maxProperties required \
                additionalProperties properties";
            assert!(known.contains(other), "keyword {other}: teach it to this test");
            true
        }
    })
}

fn number(limit: &Value) -> usize {
    usize::try_from(limit.as_u64().unwrap()).unwrap()
}

/// The patterns of our schema.
fn fits(pattern: &str, text: &str) -> bool {
    let plain = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    match pattern {
        "^/" => text.starts_with('/'),
        "^(/.*)?$" => text.is_empty() || text.starts_with('/'),
        "^([0-9a-f]{32})?$" => {
            text.is_empty() || text.len() == 32 && data_encoding::HEXLOWER.decode(text.as_bytes()).is_ok()
        }
        "^[Hh][Tt][Tt][Pp][Ss]?://" => {
            let text = text.to_lowercase();
            text.starts_with("http://") || text.starts_with("https://")
        }
        "^/[!-~]*[!-.0-~]$" => {
            text.len() > 1
                && text.starts_with('/')
                && !text.ends_with('/')
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        }
        "^[A-Za-z0-9._-]{0,253}$" => text.len() <= 253 && plain(text),
        "^[A-Za-z0-9._-]{1,255}$" => (1..=255).contains(&text.len()) && plain(text),
        _ => panic!("pattern {pattern}: teach it to this test"),
    }
}
