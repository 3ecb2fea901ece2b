//! Which resources a rule is for, by kube-apiserver's own reading: `secrets`, `things.example.com`, `*.apps`, `*.`
//! (the core group), `*.*`.

/// A resource of a group, or a wildcard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) resource: &'a str,
    pub(super) group: &'a str,
}

/// Everything.
pub(super) const ANY: Rule<'static> = Rule {
    resource: "*",
    group: "*",
};

impl<'a> Rule<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self { resource, group }
    }

    /// Whether everything that `other` is for is under this rule too.
    pub(super) fn covers(self, other: Self) -> bool {
        let whole_group = Rule {
            resource: "*",
            group: other.group,
        };
        self == other || self == whole_group || self == ANY
    }
}

/// Whether one of the rules covers `other`.
pub(super) fn cover(rules: &[String], other: &str) -> bool {
    rules
        .iter()
        .any(|rule| Rule::parse(rule).covers(Rule::parse(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_its_group_and_two_stars_cover_everything() {
        let covers = |one: &str, other: &str| Rule::parse(one).covers(Rule::parse(other));

        assert!(covers("*.*", "secrets") && covers("*.*", "*.apps") && covers("*.*", "*."));
        assert!(covers("*.", "secrets") && !covers("*.", "deployments.apps"));
        assert!(covers("*.apps", "deployments.apps") && !covers("*.apps", "secrets"));
        assert!(covers("secrets", "secrets") && !covers("secrets", "*.") && !covers("*.apps", "*.*"));
    }
}
