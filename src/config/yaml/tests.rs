//! What is read, what is refused and where, and the second opinion of another YAML library.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Outer {
    inner: Vec<Inner>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Inner {
    Word,
    Map { number: u32 },
}

#[test]
fn an_error_is_one_line_whatever_it_quotes() {
    let text = "inner: []\n\"na\\nme\\e[31m\": x\n";

    let why = parse::<Outer>(text).unwrap_err().to_string();

    assert!(why.contains(r"na\nme\u{1b}[31m"), "{why}");
    assert!(!why.chars().any(char::is_control), "{why:?}");
}

#[test]
fn reads_what_operators_write() {
    for (text, value) in [
        (
            "inner: [word, map: {number: 7}]",
            json!({"inner": ["word", {"map": {"number": 7}}]}),
        ),
        ("# nothing\n", json!(null)),
        (
            "a: 0600\nb: '0600'\nc: 0x10\nd: true\ne: ~\nf: -1\n",
            json!({"a": 600, "b": "0600", "c": 16, "d": true, "e": null, "f": -1}),
        ),
        (
            "a: &x {b: [1]}\nc: *x\n",
            json!({"a": {"b": [1]}, "c": {"b": [1]}}),
        ),
        (
            "a: |\n  two\n  lines\nb: !!str 5\n",
            json!({"a": "two\nlines\n", "b": "5"}),
        ),
        ("---\na: \"\\u00e9\"\n...\n", json!({"a": "é"})),
    ] {
        assert_eq!(parse::<Value>(text), Ok(value), "{text}");
    }
    let outer = parse("name: 12\ninner:\n- word\n- map:\n    number: 7\n");
    assert_eq!(
        outer,
        Ok(Outer {
            inner: vec![Inner::Word, Inner::Map { number: 7 }],
            name: Some("12".into())
        })
    );
}

#[test]
fn an_error_says_what_belongs_there_and_names_the_innermost_place() {
    for (text, expected) in [
        (
            "inner:\n- map: {number: 1}\n- map: {nomber: 2}\n",
            "line 3 column 9: unknown field `nomber`, expected `number`",
        ),
        (
            "inner:\n- map: {number: much}\n",
            "line 2 column 17: `much` is no whole number",
        ),
        (
            "inner:\n- map: {number: -1}\n",
            "line 2 column 17: invalid value: integer `-1`, expected u32",
        ),
        ("inner:\n- map: {}\n", "line 2 column 8: missing field `number`"),
        (
            "inner:\n- map\n",
            "line 2 column 3: this is a key, and its value is missing",
        ),
        (
            "inner:\n- wurd\n",
            "line 2 column 3: unknown variant `wurd`, expected `word` or `map`",
        ),
        (
            "inner:\n- {word: 1, map: 2}\n",
            "line 2 column 3: exactly one of `word`, `map` belongs here, not `word`, `map`",
        ),
        (
            "inner:\n- {}\n",
            "line 2 column 3: exactly one of `word`, `map` belongs here",
        ),
        ("inner: word\n", "line 1 column 8: a list belongs here"),
        ("inner: []\nname: [x]\n", "line 2 column 7: a text belongs here"),
        ("- 1\n", "line 1 column 1: a map of keys and values belongs here"),
        ("inner: [\n", "line 1 column 8: unclosed bracket '['"),
        (
            "inner: []\ninner: []\n",
            "line 2 column 1: `inner` is there twice",
        ),
        (
            "inner: []\n---\ninner: []\n",
            "line 3 column 1: a second document begins",
        ),
        (
            "inner: []\nname: !secret x\n",
            "line 2 column 15: a tag has no meaning here",
        ),
        ("? [a]\n: b\n", "line 1 column 3: a key is a text"),
        (
            "inner: &x [*x]\n",
            "line 1 column 12: an alias stands inside what it is an alias of",
        ),
        ("", "line 1 column 1: a map of keys and values belongs here"),
    ] {
        assert_eq!(
            parse::<Outer>(text).map_err(|why| why.to_string()),
            Err(expected.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn what_grows_or_nests_without_end_is_refused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        laughs += &format!("a{level}: &a{level} [{below}]\n");
    }
    assert!(
        parse::<Value>(&laughs)
            .unwrap_err()
            .to_string()
            .contains("more than 100000 values")
    );

    for deep in [
        "[".repeat(1_000_000),
        "- ".repeat(1_000_000),
        "{a: ".repeat(100_000),
    ] {
        assert!(parse::<Value>(&deep).is_err());
    }
    let anchored: String = (0..200).map(|level| format!("&a{level} [")).collect();
    let wide = format!("{anchored}{}{}", "x, ".repeat(50_000), "]".repeat(200));
    assert!(
        parse::<Value>(&wide)
            .unwrap_err()
            .to_string()
            .contains("more than 100000 values")
    );
}

/// Anything that a document of ours may hold.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::from),
        "[a-z0-9~.:/*&!'\" -]{0,8}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_another_library_writes_as_json_and_as_yaml(value in tree()) {
        prop_assert_eq!(parse::<Value>(&value.to_string()), Ok(value.clone()));
        prop_assert_eq!(parse::<Value>(&serde_saphyr::to_string(&value).unwrap()), Ok(value));
    }

    #[test]
    fn a_scalar_is_read_as_the_same_text_by_us_and_by_another_library(text in any::<String>(), word in "([0-9]{1,3}[hms]|[a-zA-Z0-9~.:/*&!'\" -]{0,8})") {
        for text in [text, word] {
            let written = format!("- {}\n", scalar(&text));
            prop_assert_eq!(parse::<Vec<Value>>(&written), Ok(vec![Value::from(text.clone())]));
            prop_assert_eq!(serde_saphyr::from_str::<Vec<Value>>(&written).unwrap(), vec![Value::from(text)]);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), marks in "[\\[\\]{}:,&*!|>'\"#%@ \n\t?a-c0-]{0,60}") {
        let _ = parse::<Value>(&text);
        let _ = parse::<Outer>(&marks);
        let _ = parse::<Value>(&marks);
    }
}
