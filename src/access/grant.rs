//! What a peer may do: rights, each on all topics or on those with certain prefixes.

use super::right::{Right, Rights};

/// Rights on the topics that begin with one of the prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The rights.
    pub rights: Rights,
    /// The prefixes; empty for all topics.
    pub prefixes: Vec<String>,
}

impl Rule {
    fn covers(&self, topic: &[u8]) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.prefixes.is_empty() || prefixes.any(|prefix| topic.starts_with(prefix.as_bytes()))
    }
}

/// Rules of which each allows what it says. The default allows nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grant {
    /// The rights on all topics: one comparison decides most requests.
    everywhere: Rights,
    /// The rights on some topic or other.
    somewhere: Rights,
    /// The rules with prefixes.
    limited: Box<[Rule]>,
}

impl Grant {
    /// Creates a grant of these rules.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut grant = Self::default();
        let mut limited = Vec::new();
        for rule in rules {
            grant.somewhere = grant.somewhere.union(rule.rights);
            if rule.prefixes.is_empty() {
                grant.everywhere = grant.everywhere.union(rule.rights);
            } else {
                limited.push(rule);
            }
        }
        grant.limited = limited.into();
        grant
    }

    /// Returns whether an operation that needs `right` is allowed on `topic`.
    #[inline]
    #[must_use]
    pub fn allows(&self, right: Right, topic: &[u8]) -> bool {
        self.everywhere.contains(right) || self.allows_by_prefix(right, topic)
    }

    fn allows_by_prefix(&self, right: Right, topic: &[u8]) -> bool {
        let mut rules = self.limited.iter();
        rules.any(|rule| rule.rights.contains(right) && rule.covers(topic))
    }

    /// Returns whether `right` is granted on all topics.
    #[must_use]
    pub fn allows_everywhere(&self, right: Right) -> bool {
        self.everywhere.contains(right)
    }

    /// Returns whether `right` is granted on some topic.
    #[must_use]
    pub fn allows_somewhere(&self, right: Right) -> bool {
        self.somewhere.contains(right)
    }

    /// Returns whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.somewhere.is_empty()
    }

    /// Returns a grant of all that either grant allows.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            everywhere: self.everywhere.union(other.everywhere),
            somewhere: self.somewhere.union(other.somewhere),
            limited: self.limited.iter().chain(&other.limited).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rights: &str, prefixes: &[&str]) -> Rule {
        Rule {
            rights: rights.parse().unwrap(),
            prefixes: prefixes.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn each_rule_allows_its_rights_on_its_prefixes() {
        let grant = Grant::new([rule("read", &[]), rule("count,reset", &["a/", "b/"])]);
        let allowed = [
            (Right::Read, "c", true),
            (Right::Count, "a/1", true),
            (Right::Count, "b/", true),
            (Right::Count, "a", false),
            (Right::Count, "xa/", false),
            (Right::Reset, "b/x", true),
            (Right::Advance, "a/1", false),
        ];
        for (right, topic, expected) in allowed {
            assert_eq!(
                grant.allows(right, topic.as_bytes()),
                expected,
                "{right:?} {topic}"
            );
        }
        assert!(grant.allows_somewhere(Right::Count) && !grant.allows_everywhere(Right::Count));
        assert!(grant.allows_everywhere(Right::Read));
    }

    #[test]
    fn a_union_allows_what_either_allows() {
        let one = Grant::new([rule("count", &["a/"])]);
        let both = one.union(&Grant::new([rule("reset", &[])]));
        assert!(both.allows(Right::Count, b"a/") && both.allows(Right::Reset, b"b"));
        assert!(!both.allows(Right::Count, b"b"));
        assert!(Grant::default().is_empty() && !both.is_empty());
        assert_eq!(one.union(&Grant::default()), one);
    }
}
