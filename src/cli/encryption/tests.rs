use super::document::Document;
use super::phases::{Change, Phase, Refused, alone, merge};
use super::{endpoint, rules};

const ENDPOINT: &str = "unix:///run/kekring/kms.sock";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Providers as words: `aescbc`, `identity`, the name of a KMS.
fn words(document: &Document) -> Vec<(String, Vec<String>)> {
    let blocks = document.resources.iter();
    blocks
        .map(|block| {
            let providers = block.providers.iter().map(|it| it.called().to_owned());
            (block.resources.join(","), providers.collect())
        })
        .collect()
}

/// A document of blocks such as `secrets: aescbc identity`; other words are the names of other KMS.
fn document(blocks: &[&str]) -> Document {
    let block = |text: &&str| {
        let (resources, providers) = text.split_once(": ").unwrap();
        let providers: Vec<String> = providers.split(' ').map(provider).collect();
        let resources: Vec<String> = resources.split(',').map(|it| format!("'{it}'")).collect();
        format!(
            "{{resources: [{}], providers: [{}]}}",
            resources.join(", "),
            providers.join(", ")
        )
    };
    let blocks: Vec<String> = blocks.iter().map(block).collect();
    let document = Document::parse(&format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{}]}}",
        blocks.join(", ")
    ))
    .unwrap();
    rules::check(&document).unwrap();
    document
}

fn provider(word: &str) -> String {
    match word {
        "identity" => "{identity: {}}".into(),
        "aescbc" | "aesgcm" | "secretbox" => format!("{{{word}: {{keys: [{{name: k, secret: {KEY}}}]}}}}"),
        name => format!("{{kms: {{apiVersion: v2, name: {name}, endpoint: 'unix:///{name}'}}}}"),
    }
}

struct Asked<'a> {
    resources: &'a str,
    name: &'a str,
    to: Option<&'a str>,
}

const SECRETS: Asked<'_> = Asked {
    resources: "secrets",
    name: "kekring",
    to: None,
};

impl Asked<'_> {
    fn of(&self, document: &mut Document, phase: Phase) -> Result<Vec<String>, Refused> {
        let resources: Vec<String> = self.resources.split(',').map(str::to_owned).collect();
        let change = Change {
            phase,
            resources: &resources,
            name: self.name,
            endpoint: ENDPOINT,
            to: self.to,
        };
        let notes = merge(document, &change)?;
        assert_eq!(rules::check(document), Ok(()));
        Ok(notes)
    }
}

/// The providers of the first block after each phase, each on the result of the one before.
fn way(start: &str, to: Option<&str>) -> [String; 3] {
    let mut document = document(&[start]);
    [Phase::Read, Phase::Write, Phase::Exit].map(|phase| {
        let asked = Asked { to, ..SECRETS };
        asked.of(&mut document, phase).unwrap();
        let first = words(&document)[0].1.join(" ");
        asked.of(&mut document, phase).unwrap();
        assert_eq!(first, words(&document)[0].1.join(" "), "twice is once");
        first
    })
}

#[test]
fn the_way_in_and_out_leads_from_and_to_what_wrote_before() {
    assert_eq!(
        way("secrets: identity", None),
        ["identity kekring", "kekring identity", "identity kekring"]
    );
    assert_eq!(
        way("secrets: aescbc identity", None),
        [
            "aescbc kekring identity",
            "kekring aescbc identity",
            "aescbc kekring identity"
        ]
    );
    assert_eq!(
        way("secrets: identity aescbc", None),
        [
            "identity kekring aescbc",
            "kekring aescbc identity",
            "aescbc kekring identity"
        ]
    );
    assert_eq!(
        way("secrets: vault", None),
        ["vault kekring", "kekring vault", "vault kekring"]
    );
    assert_eq!(
        way("secrets: aescbc vault identity", Some("vault"))[2],
        "vault kekring aescbc identity"
    );
    assert_eq!(
        way("secrets: aescbc", Some("identity"))[2],
        "identity kekring aescbc"
    );
}

#[test]
fn of_several_writers_none_is_guessed_and_of_none_there_is_no_exit() {
    let mut two = document(&["secrets: aescbc vault identity"]);
    let mut none = document(&["secrets: aescbc"]);

    assert!(matches!(
        SECRETS.of(&mut none, Phase::Exit),
        Err(Refused::Absent { .. })
    ));
    SECRETS.of(&mut two, Phase::Write).unwrap();
    let ambiguous = SECRETS.of(&mut two, Phase::Exit);

    assert_eq!(
        ambiguous,
        Err(Refused::Ambiguous {
            at: 0,
            candidates: vec!["aescbc".into(), "vault".into()]
        })
    );
    let elsewhere = Asked {
        to: Some("secretbox"),
        ..SECRETS
    };
    assert!(matches!(
        elsewhere.of(&mut two, Phase::Exit),
        Err(Refused::NoSuch { .. })
    ));
}

#[test]
fn what_no_block_is_for_gets_one_of_its_own_and_the_rest_stays() {
    let mut document = document(&["configmaps: aescbc identity"]);

    let notes = SECRETS.of(&mut document, Phase::Write).unwrap();

    assert_eq!(
        words(&document),
        [
            ("configmaps".into(), vec!["aescbc".into(), "identity".into()]),
            ("secrets".into(), vec!["kekring".into(), "identity".into()]),
        ]
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn two_blocks_on_one_socket_have_two_names() {
    let mut document = document(&["configmaps: identity", "secrets: aescbc", "*.apps: identity"]);
    let asked = Asked {
        resources: "secrets,configmaps,things.example.com",
        ..SECRETS
    };

    let notes = asked.of(&mut document, Phase::Read).unwrap();
    asked.of(&mut document, Phase::Write).unwrap();

    let firsts: Vec<_> = words(&document)
        .into_iter()
        .map(|(_, it)| it[0].clone())
        .collect();
    assert_eq!(
        firsts,
        [
            "kekring-configmaps",
            "kekring",
            "identity",
            "kekring-things.example.com"
        ]
    );
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn wildcards_reach_as_far_as_those_of_kube_apiserver() {
    let mut by_all = document(&["events: identity", "*.apps: aescbc", "*.*: secretbox"]);
    let mut by_group = document(&["deployments.apps: aescbc", "secrets: identity"]);

    let notes = SECRETS.of(&mut by_all, Phase::Write).unwrap();
    let group = Asked {
        resources: "*.apps",
        ..SECRETS
    };
    group.of(&mut by_group, Phase::Write).unwrap();

    let firsts = |document: &Document| -> Vec<String> {
        words(document).into_iter().map(|(_, it)| it[0].clone()).collect()
    };
    assert_eq!(firsts(&by_all), ["identity", "aescbc", "kekring"]);
    assert!(notes[0].contains("is also for *.*"), "{notes:?}");
    assert_eq!(
        firsts(&by_group),
        ["kekring-deployments.apps", "identity", "kekring"]
    );
}

#[test]
fn a_name_that_is_somebody_elses_is_left_alone_and_a_socket_that_is_known_keeps_its_name() {
    let mut taken = document(&["secrets: kekring"]);
    let mut known = document(&["secrets: identity"]);
    SECRETS.of(&mut known, Phase::Read).unwrap();

    let refused = SECRETS.of(&mut taken, Phase::Read);
    let renamed = Asked {
        name: "other",
        ..SECRETS
    };
    renamed.of(&mut known, Phase::Write).unwrap();

    assert!(matches!(refused, Err(Refused::NameTaken { .. })));
    assert_eq!(words(&known)[0].1, ["kekring", "identity"]);
}

#[test]
fn no_error_of_reading_says_what_stands_there() {
    let good = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
        - resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: k, secret: c2VjcmV0}]}\n  - identity: {}\n";
    for (from, to) in [
        ("secret: c2VjcmV0", "secret: [c2VjcmV0]"),
        ("secret: c2VjcmV0", "c2VjcmV0: secret"),
        ("{keys: [{name: k, secret: c2VjcmV0}]}", "c2VjcmV0"),
        ("- aescbc", "- c2VjcmV0: {}\n  - aescbc"),
        ("identity: {}", "identity: {c2VjcmV0: 1}"),
        ("  - identity: {}", "  - identity: {}\n c2VjcmV0: : :"),
        ("kind: EncryptionConfiguration", "kind: c2VjcmV0"),
        ("resources:", "kind: c2VjcmV0\nresources:"),
        ("- resources: [secrets]", "- resources: [*c2VjcmV0]"),
    ] {
        let text = good.replace(from, to);
        let why = Document::parse(&text)
            .err()
            .unwrap_or_else(|| panic!("{to:?} is accepted"));
        assert!(!why.contains("c2VjcmV0"), "{why}");
    }

    let short = rules::check(&Document::parse(good).unwrap()).unwrap_err();

    assert!(short.contains("length") && !short.contains("c2VjcmV0"), "{short}");
}

#[test]
fn everything_that_was_read_is_written_again() {
    let text = format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"EncryptionConfig\", \"resources\": [{{\"resources\": [\"*.*\"], \"providers\": [\
        {{\"kms\": {{\"apiVersion\": \"v1\", \"name\": \"0123:yes\", \"cachesize\": -5, \"endpoint\": \"unix:///a\", \"timeout\": \"1m\"}}}}, \
        {{\"kms\": {{\"name\": \"no\", \"endpoint\": \"unix:///b\"}}}}, \
        {{\"aesgcm\": {{\"keys\": [{{\"name\": \"1e3\", \"secret\": \"{KEY}\"}}, {{\"name\": \"true\", \"secret\": \"{KEY}\"}}]}}}}, \
        {{\"secretbox\": {{\"keys\": [{{\"name\": \"~\", \"secret\": \"{KEY}\"}}]}}}}, {{\"identity\": {{}}}}]}}]}}"
    );
    let before: serde_json::Value = serde_json::from_str(&text).unwrap();

    let document = Document::parse(&text).unwrap();
    let written = document.yaml();

    assert_eq!(rules::check(&document), Ok(()));
    let after: serde_json::Value = serde_saphyr::from_str(&written).unwrap();
    assert_eq!(after["resources"], before["resources"], "{written}");
    assert_eq!(after["kind"], "EncryptionConfiguration");
}

#[test]
fn a_document_alone_has_the_providers_in_the_order_of_its_phase() {
    let asked = |phase| {
        words(&alone(&Change {
            phase,
            resources: &["secrets".to_owned()],
            name: "mine",
            endpoint: ENDPOINT,
            to: None,
        }))[0]
            .1
            .join(" ")
    };

    assert_eq!(asked(Phase::Read), "identity mine");
    assert_eq!(asked(Phase::Write), "mine identity");
    assert_eq!(asked(Phase::Exit), "identity mine");
}

#[test]
fn the_socket_is_a_url_that_kube_apiserver_reads_as_that_path() {
    let shown = |path: &str| endpoint(path.as_ref()).ok();

    assert_eq!(shown("/run/kekring/kms.sock").as_deref(), Some(ENDPOINT));
    assert_eq!(shown("/run/a b/ü").as_deref(), Some("unix:///run/a%20b/%C3%BC"));
    for other in ["/@abstract", "/run/100%", "/run/a?b", "/run/a#b"] {
        assert_eq!(shown(other), None);
    }
}
