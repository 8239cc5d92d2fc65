//! The tokens file: TOML with one entry for each name.
//!
//! ```toml
//! orders = { rights = ["count", "read"], prefixes = ["orders/"], digest = "sha-256:…" }
//! audit = { rights = ["read"], certificate = "audit.example" }
//! ```

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::allowance::TokenLimits;
use super::digest::Digest;
use super::grant::{Grant, Rule};
use super::policy::Token;
use super::right::{Right, Rights};

/// The longest name of a token, in bytes. Names appear in error texts.
const MAX_NAME: usize = 64;

/// A mistake in a tokens file. It does not contain the value of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub text: String,
}

/// Reads the tokens in the text of a file.
///
/// # Errors
///
/// All mistakes, in the order of their lines.
pub fn parse_tokens(text: &str) -> Result<Vec<Token>, Vec<Mistake>> {
    let mut reader = Reader {
        text,
        mistakes: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let message = error.message().replace('\n', ", ");
        reader.mistake(error.span().unwrap_or_default(), message);
    }
    let mut tokens = Vec::new();
    // A line that is broken gives errors of its own; what could be recovered may not be what was meant.
    if reader.mistakes.is_empty() {
        let (mut lines, mut certificates) = (HashMap::new(), HashMap::new());
        for (name, value) in table.get_ref() {
            let line = reader.line(name.span());
            let Some(token) = reader.token(name.get_ref(), name.span(), value.get_ref()) else {
                continue;
            };
            if let Some(Digest::Token(digest)) = token.digest
                && let Some(other) = lines.insert(digest, line)
            {
                let text = format!("{}: the same secret as on line {other}", token.name);
                reader.mistake(name.span(), text);
            }
            if let Some(certificate) = &token.certificate
                && let Some(other) = certificates.insert(certificate.clone(), line)
            {
                let text = format!("{}: the same certificate as on line {other}", token.name);
                reader.mistake(name.span(), text);
            }
            tokens.push(token);
        }
    }
    reader.mistakes.sort_by_key(|mistake| mistake.line);
    match reader.mistakes.is_empty() {
        true => Ok(tokens),
        false => Err(reader.mistakes),
    }
}

/// A list of strings with their places.
type Words<'a> = Vec<(&'a str, Range<usize>)>;

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.as_bytes().iter().take(span.start);
        before.filter(|&&byte| byte == b'\n').count() + 1
    }

    fn mistake(&mut self, span: Range<usize>, text: String) {
        let line = self.line(span);
        self.mistakes.push(Mistake { line, text });
    }

    /// Reads one entry. `None` if it has mistakes.
    fn token(&mut self, name: &str, span: Range<usize>, value: &DeValue<'_>) -> Option<Token> {
        let before = self.mistakes.len();
        let shown = name.escape_debug().to_string();
        let good = |c: char| c.is_ascii_graphic() && c != ':';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
            let text = "expected a name of at most 64 printable ASCII characters without \":\"";
            self.mistake(span.clone(), format!("{shown}: {text}"));
        }
        let DeValue::Table(fields) = value else {
            let text =
                "expected a table with rights and digest, as globalcounter token new prints it";
            self.mistake(span, format!("{shown}: {text}"));
            return None;
        };
        let (mut rights, mut digest, mut prefixes) = (None, None, Vec::new());
        let mut limits = TokenLimits::default();
        let mut certificate = None;
        for (key, value) in fields {
            let (at, value) = (value.span(), value.get_ref());
            match &**key.get_ref() {
                "rights" => rights = self.rights(&shown, at, value),
                "prefixes" => prefixes = self.prefixes(&shown, at, value),
                "digest" => digest = self.digest(&shown, at, value),
                "certificate" => certificate = self.certificate(&shown, at, value),
                "rate" => limits.rate = self.number(&shown, "rate", at, value),
                "max-topics" => limits.max_topics = self.number(&shown, "max-topics", at, value),
                other => {
                    let other = other.escape_debug();
                    let text = format!(
                        "{shown}: unknown field `{other}`; expected rights, prefixes, digest, \
                         certificate, rate or max-topics"
                    );
                    self.mistake(key.span(), text);
                }
            }
        }
        let has = |field: &str| fields.iter().any(|(key, _)| key.get_ref() == field);
        if !has("rights") {
            self.mistake(span.clone(), format!("{shown}: rights is missing"));
        }
        if !has("digest") && !has("certificate") {
            let text = format!("{shown}: digest or certificate is missing");
            self.mistake(span.clone(), text);
        }
        if self.mistakes.len() > before {
            return None;
        }
        let rule = Rule {
            rights: rights?,
            prefixes,
        };
        Some(Token {
            name: name.to_owned(),
            digest,
            certificate,
            grant: Arc::new(Grant::new([rule])),
            limits,
        })
    }

    /// Reads a limit.
    fn number<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        field: &str,
        at: Range<usize>,
        value: &DeValue<'_>,
    ) -> Option<T> {
        let number = match value {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix())
                .ok()
                .and_then(|number| T::try_from(number).ok()),
            _ => None,
        };
        if number.is_none() {
            let text = format!("{name}: {field}: expected a whole number; 0 is no limit");
            self.mistake(at, text);
        }
        number
    }

    fn rights(&mut self, name: &str, at: Range<usize>, value: &DeValue<'_>) -> Option<Rights> {
        let words = self.words(name, "rights", at, value)?;
        let mut rights = Vec::new();
        for (word, at) in words {
            match word.parse::<Right>() {
                Ok(Right::UdpReset) => {
                    let text = format!("{name}: udp-reset is a right of addresses, not of tokens");
                    self.mistake(at, text);
                }
                Ok(right) => rights.push(right),
                Err(error) => self.mistake(at, format!("{name}: {error}")),
            }
        }
        Some(rights.into_iter().collect())
    }

    fn prefixes(&mut self, name: &str, at: Range<usize>, value: &DeValue<'_>) -> Vec<String> {
        let words = self.words(name, "prefixes", at, value).unwrap_or_default();
        let mut prefixes = Vec::new();
        for (prefix, at) in words {
            if prefix.is_empty() {
                let text = "an empty prefix; leave prefixes out to allow all topics";
                self.mistake(at, format!("{name}: {text}"));
            }
            prefixes.push(prefix.to_owned());
        }
        prefixes
    }

    fn digest(&mut self, name: &str, at: Range<usize>, value: &DeValue<'_>) -> Option<Digest> {
        let parsed = match value {
            DeValue::String(text) => text.parse::<Digest>().map_err(|error| error.to_string()),
            _ => Err("expected the digest as a string".to_owned()),
        };
        match parsed {
            Ok(digest) => Some(digest),
            Err(text) => {
                self.mistake(at, format!("{name}: digest: {text}"));
                None
            }
        }
    }

    fn certificate(&mut self, name: &str, at: Range<usize>, value: &DeValue<'_>) -> Option<String> {
        match value {
            DeValue::String(text) if !text.is_empty() => Some(text.to_string()),
            _ => {
                let text = "expected the common name of a certificate as a string";
                self.mistake(at, format!("{name}: certificate: {text}"));
                None
            }
        }
    }

    /// Reads a list of strings that is not empty.
    fn words<'v>(
        &mut self,
        name: &str,
        field: &str,
        at: Range<usize>,
        value: &'v DeValue<'_>,
    ) -> Option<Words<'v>> {
        let words = match value {
            DeValue::Array(values) => values
                .iter()
                .map(|value| match value.get_ref() {
                    DeValue::String(text) => Some((&**text, value.span())),
                    _ => None,
                })
                .collect::<Option<Words<'v>>>(),
            _ => None,
        };
        let words = words.filter(|words| !words.is_empty());
        if words.is_none() {
            self.mistake(at, format!("{name}: {field}: expected a list of strings"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha-256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn tokens_are_read_from_lines_and_from_tables() {
        let text = format!(
            "# the order service\norders = {{ rights = [\"count\"], prefixes = [\"orders/\", \"ö \"], \
             digest = \"{DIGEST}\", rate = 10_000, max-topics = 5 }}\n\n[\"a-b\"]\nrights = [\n  \"read\",\n  \"admin\",\n]\ndigest = \
             '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$PmUVgQ9HjFMKbyGPpwTYQ4yNBgUtRMpVgHoDLmNPd0M'\n"
        );
        let tokens = parse_tokens(&text).unwrap();
        let find = |name: &str| tokens.iter().find(|token| token.name == name).unwrap();
        let orders = &find("orders").grant;
        assert!(
            orders.allows(Right::Count, b"orders/1")
                && orders.allows(Right::Count, "ö 1".as_bytes())
        );
        assert!(!orders.allows(Right::Count, b"other") && !orders.allows(Right::Read, b"orders/1"));
        assert!(find("a-b").grant.allows_everywhere(Right::Admin));
        let limits = TokenLimits {
            rate: Some(10_000),
            max_topics: Some(5),
        };
        assert_eq!(find("orders").limits, limits);
        assert_eq!(find("a-b").limits, TokenLimits::default());
        assert!(matches!(find("a-b").digest, Some(Digest::Password(_))));
        assert_eq!(tokens.len(), 2);
        let text = "audit = { rights = [\"read\"], certificate = \"audit.example\" }\n";
        let token = parse_tokens(text).unwrap().remove(0);
        assert_eq!(token.certificate.as_deref(), Some("audit.example"));
        assert!(token.digest.is_none());
        assert_eq!(parse_tokens("").unwrap(), []);
    }

    #[test]
    fn all_mistakes_are_reported_with_their_lines() {
        let text = format!(
            "one = {{ rights = [\"cuont\"], digest = \"sesame\" }}\n\
             two = 3\n\
             three = {{ rights = [], prefix = [\"a\"] }}\n\
             \"a:b\" = {{ rights = [\"read\"], prefixes = [\"\"], digest = \"{DIGEST}\" }}\n\
             four = {{ rights = [\"udp-reset\"], digest = \"{DIGEST}\" }}\n\
             five = {{ rights = [\"read\"], digest = \"{DIGEST}\" }}\n\
             six = {{ rights = [\"read\"], digest = \"{DIGEST}\" }}\n\
             seven = {{ rights = [\"read\"], digest = \"{DIGEST}\", rate = -1, max-topics = \"9\" }}\n\
             eight = {{ rights = [\"read\"], certificate = \"a\" }}\n\
             nine = {{ rights = [\"read\"], certificate = \"a\" }}\n\
             ten = {{ rights = [\"read\"], certificate = \"\" }}\n"
        );
        let mistakes = parse_tokens(&text).unwrap_err();
        let lines: Vec<_> = mistakes
            .iter()
            .map(|mistake| format!("{}: {}", mistake.line, mistake.text))
            .collect();
        let expected = [
            "1: one: digest: expected sha-256:",
            "1: one: unknown right \"cuont\"",
            "2: two: expected a table",
            "3: three: digest or certificate is missing",
            "3: three: rights: expected a list of strings",
            "3: three: unknown field `prefix`",
            "4: a:b: an empty prefix",
            "4: a:b: expected a name",
            "5: four: udp-reset",
            "7: six: the same secret as on line 6",
            "8: seven: max-topics: expected a whole number",
            "8: seven: rate: expected a whole number",
            "10: nine: the same certificate as on line 9",
            "11: ten: certificate: expected the common name",
        ];
        let mut found = lines.clone();
        found.sort_by_key(|line| (line.find(':'), line.clone()));
        assert_eq!(found.len(), expected.len(), "{lines:#?}");
        for (line, expected) in found.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}, not {expected}");
        }
        assert!(!lines.concat().contains("sesame"));
    }

    #[test]
    fn a_name_that_appears_twice_is_a_mistake() {
        let line = format!("a = {{ rights = [\"read\"], digest = \"{DIGEST}\" }}\n");
        assert_eq!(parse_tokens(&line.repeat(2)).unwrap_err()[0].line, 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z={}\"\\[\\],.:#' \n$-]*") {
            let lines = text.bytes().filter(|&byte| byte == b'\n').count() + 1;
            for mistake in parse_tokens(&text).err().unwrap_or_default() {
                prop_assert!((1..=lines).contains(&mistake.line));
            }
        }
    }
}
