//! kube-apiserver's EncryptionConfiguration (apiserver.config.k8s.io/v1): read strictly, as kube-apiserver does, and
//! written with everything that was read. The keys of other providers pass through and are named nowhere.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::config::yaml;

pub(super) const API_VERSION: &str = "apiserver.config.k8s.io/v1";
pub(super) const KIND: &str = "EncryptionConfiguration";

/// The whole file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::cli) struct Document {
    api_version: String,
    kind: String,
    #[serde(default)]
    pub(super) resources: Vec<Block>,
}

/// Some resources and the providers for them: the first one writes, each reads what it wrote.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    #[serde(default)]
    pub(super) resources: Vec<String>,
    #[serde(default)]
    pub(super) providers: Vec<Provider>,
}

/// Exactly one of its kinds is there.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Provider {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kms: Option<Kms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aescbc: Option<Keys>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aesgcm: Option<Keys>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secretbox: Option<Keys>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Identity>,
}

/// Plain text.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Kms {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_version: Option<String>,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "cachesize")]
    pub(super) cache_size: Option<i32>,
    pub(super) endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    #[serde(default)]
    pub(super) keys: Vec<Key>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) secret: Secret,
}

/// Somebody else's key, as base64. It is written where it was read, and nowhere else.
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl Document {
    pub(super) fn new(resources: Vec<Block>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            resources,
        }
    }

    /// Reads YAML or JSON. The error says where; never what stands there, which may be a key.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("it is empty".into());
        }
        let document: Self = yaml::parse(text).map_err(|why| match why.place {
            Some(place) => format!("{place}: no field or value that an EncryptionConfiguration has there"),
            None => "it is no EncryptionConfiguration".to_owned(),
        })?;
        let known = [(API_VERSION, KIND), ("v1", "EncryptionConfig")];
        if !known.contains(&(&document.api_version, &document.kind)) {
            return Err(format!("it is not of apiVersion {API_VERSION} and kind {KIND}"));
        }
        Ok(Self::new(document.resources))
    }

    /// The same as YAML.
    pub(super) fn yaml(&self) -> String {
        let mut lines = vec![
            format!("apiVersion: {}", yaml::scalar(&self.api_version)),
            format!("kind: {}", yaml::scalar(&self.kind)),
        ];
        list(&mut lines, "resources", &self.resources, |block, lines| {
            list(lines, "resources", &block.resources, |name, lines| {
                lines.push(yaml::scalar(name));
            });
            list(lines, "providers", &block.providers, Provider::lines);
        });
        lines.push(String::new());
        lines.join("\n")
    }

    /// Whether it holds keys, as opposed to saying where they are.
    pub(super) fn holds_secrets(&self) -> bool {
        let mut providers = self.resources.iter().flat_map(|block| &block.providers);
        providers.any(|provider| provider.keys().is_some())
    }
}

impl Provider {
    fn lines(&self, lines: &mut Vec<String>) {
        if self.identity.is_some() {
            lines.push("identity: {}".to_owned());
        }
        if let Some(kms) = &self.kms {
            lines.push("kms:".to_owned());
            let cache_size = kms.cache_size.map(|size| size.to_string());
            for (key, value) in [
                ("apiVersion", kms.api_version.as_deref().map(yaml::scalar)),
                ("name", Some(yaml::scalar(&kms.name))),
                ("cachesize", cache_size),
                ("endpoint", Some(yaml::scalar(&kms.endpoint))),
                ("timeout", kms.timeout.as_deref().map(yaml::scalar)),
            ] {
                lines.extend(value.map(|value| format!("  {key}: {value}")));
            }
        }
        if let Some((kind, keys)) = self.keys() {
            lines.push(format!("{kind}:"));
            let mut below = Vec::new();
            list(&mut below, "keys", keys, |key, lines| {
                lines.push(format!("name: {}", yaml::scalar(&key.name)));
                lines.push(format!("secret: {}", yaml::scalar(key.secret.expose())));
            });
            lines.extend(below.into_iter().map(|line| format!("  {line}")));
        }
    }

    pub(super) fn identity() -> Self {
        Self {
            identity: Some(Identity {}),
            ..Self::default()
        }
    }

    pub(super) fn kms(name: &str, endpoint: &str) -> Self {
        Self {
            kms: Some(Kms {
                // It defaults to v1, which kube-apiserver no longer serves.
                api_version: Some("v2".to_owned()),
                name: name.to_owned(),
                cache_size: None,
                endpoint: endpoint.to_owned(),
                timeout: Some("3s".to_owned()),
            }),
            ..Self::default()
        }
    }

    /// The keys that lie in the file, with their kind.
    pub(super) fn keys(&self) -> Option<(&'static str, &[Key])> {
        let kinds = [
            ("aescbc", &self.aescbc),
            ("aesgcm", &self.aesgcm),
            ("secretbox", &self.secretbox),
        ];
        kinds
            .into_iter()
            .find_map(|(kind, keys)| keys.as_ref().map(|it| (kind, it.keys.as_slice())))
    }

    /// What `--to` calls it: its kind, or its name where it is a KMS.
    pub(super) fn called(&self) -> &str {
        match (&self.kms, self.keys()) {
            (Some(kms), _) => &kms.name,
            (None, Some((kind, _))) => kind,
            (None, None) => "identity",
        }
    }
}

/// A key whose value is a list, as YAML's lines: a dash before the first line of an item, the others below it.
fn list<T>(lines: &mut Vec<String>, key: &str, items: &[T], of_item: impl Fn(&T, &mut Vec<String>)) {
    if items.is_empty() {
        lines.push(format!("{key}: []"));
        return;
    }
    lines.push(format!("{key}:"));
    for item in items {
        let mut below = Vec::new();
        of_item(item, &mut below);
        for (line, text) in below.into_iter().enumerate() {
            lines.push(format!("{} {text}", if line == 0 { '-' } else { ' ' }));
        }
    }
}
