//! What kube-apiserver checks before it takes an EncryptionConfiguration (k8s.io/apiserver 1.36,
//! `ValidateEncryptionConfiguration` and the masking of wildcards), said before it is asked.

use std::collections::BTreeSet;

use super::document::{Block, Document, Key, Kms, Provider};
use super::resources::{ANY, Rule, cover};

/// Resources without objects in etcd that could be encrypted.
const NOT_STORED: [&str; 3] = [
    "apiserveripinfo",
    "serviceipallocations",
    "servicenodeportallocations",
];

/// The first rule that is broken, with its place.
pub(super) fn check(document: &Document) -> Result<(), String> {
    if document.resources.is_empty() {
        return Err("resources: at least one is required".into());
    }
    let mut names = BTreeSet::new();
    for (at, block) in document.resources.iter().enumerate() {
        let wrong = |why: String| format!("resources[{at}].{why}");
        check_resources(&block.resources).map_err(|why| wrong(format!("resources: {why}")))?;
        let earlier = document.resources.iter().take(at);
        check_masked(earlier, block).map_err(|why| wrong(format!("resources: {why}")))?;
        if block.providers.is_empty() {
            return Err(wrong("providers: at least one is required".into()));
        }
        for (number, provider) in block.providers.iter().enumerate() {
            check_provider(provider, &mut names)
                .map_err(|why| wrong(format!("providers[{number}]: {why}")))?;
        }
    }
    Ok(())
}

/// One list of resources by itself.
pub(super) fn check_resources(resources: &[String]) -> Result<(), String> {
    if resources.is_empty() {
        return Err("at least one is required".into());
    }
    for resource in resources {
        check_resource(resource).map_err(|why| format!("{resource:?} {why}"))?;
    }
    for (at, one) in resources.iter().enumerate() {
        for other in resources.iter().skip(at + 1) {
            if one == other {
                return Err(format!("{one:?} is there twice"));
            }
            let (a, b) = (Rule::parse(one), Rule::parse(other));
            if a.covers(b) || b.covers(a) {
                return Err(format!("{one:?} and {other:?} overlap in one list"));
            }
        }
    }
    Ok(())
}

fn check_resource(resource: &str) -> Result<(), &'static str> {
    let rule = Rule::parse(resource);
    let plain = |c: char| c.is_ascii_graphic() && !":,/'\"".contains(c);
    match resource {
        "" => return Err("is no resource"),
        "*" => return Err("is ambiguous: `*.` is the core group, `*.*` is everything"),
        _ if !resource.chars().all(plain) => return Err("is no name of a resource"),
        _ if resource.chars().any(char::is_uppercase) => return Err("has capital letters"),
        _ if NOT_STORED.contains(&resource) => return Err("cannot be encrypted: it has no REST API"),
        _ => {}
    }
    match rule.group {
        "events.k8s.io" => Err("is stored as `events`: say that"),
        "extensions" => Err("is of a group that is gone"),
        "*" if rule != ANY => Err("names one resource in all groups, which is not supported"),
        _ => Ok(()),
    }
}

/// A rule that an earlier block's wildcard hides would never be used.
fn check_masked<'a>(mut earlier: impl Iterator<Item = &'a Block>, block: &Block) -> Result<(), String> {
    let wildcards = |list: &[String]| -> Vec<String> {
        let wild = list.iter().filter(|rule| Rule::parse(rule).resource == "*");
        wild.cloned().collect()
    };
    earlier.try_for_each(|before| {
        let wild = wildcards(&before.resources);
        match block.resources.iter().find(|rule| cover(&wild, rule)) {
            Some(masked) => Err(format!("{masked:?} is masked by an earlier wildcard")),
            None => Ok(()),
        }
    })
}

fn check_provider<'a>(provider: &'a Provider, names: &mut BTreeSet<&'a str>) -> Result<(), String> {
    let kinds = [
        provider.kms.is_some(),
        provider.aescbc.is_some(),
        provider.aesgcm.is_some(),
        provider.secretbox.is_some(),
        provider.identity.is_some(),
    ];
    match kinds.iter().filter(|it| **it).count() {
        0 => return Err("it is none of kms, aescbc, aesgcm, secretbox, identity".into()),
        1 => {}
        _ => return Err("it is more than one kind: each needs a list entry of its own".into()),
    }
    if let Some(kms) = &provider.kms {
        check_kms(kms)?;
        if !names.insert(&kms.name) {
            return Err(format!("a second KMS provider is named {:?}", kms.name));
        }
    }
    if let Some((kind, keys)) = provider.keys() {
        if keys.is_empty() {
            return Err("at least one key is required".into());
        }
        let lengths: &[usize] = if kind == "secretbox" { &[32] } else { &[16, 24, 32] };
        keys.iter().try_for_each(|key| check_key(key, lengths))?;
    }
    Ok(())
}

fn check_key(key: &Key, lengths: &[usize]) -> Result<(), String> {
    if key.name.is_empty() {
        return Err("a key has no name".into());
    }
    match data_encoding::BASE64
        .decode(key.secret.expose().as_bytes())
        .map(zeroize::Zeroizing::new)
    {
        Ok(secret) if lengths.contains(&secret.len()) => Ok(()),
        Ok(_) => Err(format!("a secret has another length than {lengths:?} bytes")),
        Err(_) => Err("a secret is not base64".into()),
    }
}

fn check_kms(kms: &Kms) -> Result<(), String> {
    let version = kms.api_version.as_deref().unwrap_or("v1");
    if version != "v1" && version != "v2" {
        return Err("its apiVersion is neither v1 nor v2".into());
    }
    check_name(&kms.name, version)?;
    if !kms.endpoint.starts_with("unix://") {
        return Err("its endpoint is not unix://".into());
    }
    if version == "v2" && kms.cache_size.is_some() {
        return Err("cachesize is not supported in v2".into());
    }
    if kms.cache_size == Some(0) {
        return Err("cachesize is 0".into());
    }
    match &kms.timeout {
        Some(timeout) if !is_positive_duration(timeout) => Err("its timeout is no positive duration".into()),
        _ => Ok(()),
    }
}

/// The name is a part of every stored value, ended by a colon.
pub(super) fn check_name(name: &str, version: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a KMS provider has no name".into());
    }
    if version != "v1" && name.contains(':') {
        return Err(format!("the name {name:?} of a KMS provider has a colon"));
    }
    Ok(())
}

fn is_positive_duration(text: &str) -> bool {
    go_duration(text).is_some_and(|seconds| seconds > 0.0)
}

/// Go's durations, in seconds: `3s`, `1m30s`, `500ms`, `1.5h`. One below nothing is none.
pub(super) fn go_duration(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let (unit, length) = UNITS
            .iter()
            .filter(|(unit, _)| tail.starts_with(unit))
            .max_by_key(|(unit, _)| unit.len())?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = tail.strip_prefix(unit)?;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go_and_more_than_nothing() {
        for good in ["3s", "1m30s", "500ms", "1.5h", "+1ns"] {
            assert!(is_positive_duration(good), "{good}");
        }
        for bad in ["", "0s", "-1s", "3", "s", "3 s", "1d", "soon"] {
            assert!(!is_positive_duration(bad), "{bad}");
        }
    }

    #[test]
    fn resources_are_named_as_kube_apiserver_wants_them() {
        let check = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|it| (*it).to_owned()).collect();
            check_resources(&list)
        };

        for good in [
            &["secrets"][..],
            &["*.*"],
            &["*.", "*.apps"],
            &["secrets", "things.example.com"],
        ] {
            assert_eq!(check(good), Ok(()), "{good:?}");
        }
        for bad in [
            &[][..],
            &[""],
            &["*"],
            &["Secrets"],
            &["secrets", "secrets"],
            &["secrets", "*."],
            &["deployments.apps", "*.apps"],
            &["*.apps", "*.*"],
            &["deployments.*"],
            &["events.events.k8s.io"],
            &["ingresses.extensions"],
            &["apiserveripinfo"],
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
