//! Redis's patterns, which SCAN and CONFIG GET take.

/// Whether `text` is what `pattern` says: `*` any bytes, `?` one, `[a-z]` one of these, `[^a-z]` one
/// that is not, `\` the next byte as it is.
///
/// Takes at most the product of their lengths in steps: only the last `*` is ever tried again.
#[must_use]
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: there, one byte of text later.
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        let next = match text.get(t) {
            Some(&byte) => one(&pattern[p..], byte),
            None if p == pattern.len() => return true,
            None => None,
        };
        if let Some(len) = next {
            p += len;
            t += 1;
            continue;
        }
        match star {
            Some((after, from)) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// The length of the pattern's first part, which stands for one byte, where it fits `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref class @ ..] => {
            let (fits, len) = class_fits(class, byte);
            fits.then_some(1 + len)
        }
        [b'\\', literal, ..] => (literal == byte).then_some(2),
        [literal, ..] => (literal == byte).then_some(1),
    }
}

/// Whether `byte` is in the class whose pattern goes on here, and how long that is, its bracket
/// included. One that is not closed ends with the pattern, as in Redis.
fn class_fits(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= literal == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::glob;

    #[test]
    fn patterns_fit_what_they_say() {
        let fits = [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("a*", "a"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("*:*:7", "user:42:7"),
            ("a*b*c", "axxbxbxxc"),
            ("\\*", "*"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("a**b", "ab"),
        ];
        for (pattern, text) in fits {
            assert!(
                glob(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        let misses = [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("h[^e]llo", "hello"),
            ("h[ae]llo", "hillo"),
            ("a*b", "axc"),
            ("\\*", "a"),
            ("[]", "a"),
            ("*a", "ab"),
        ];
        for (pattern, text) in misses {
            assert!(
                !glob(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
    }

    /// Regression against patterns that would be tried again from every star.
    #[test]
    fn many_stars_are_no_trap() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!glob(pattern.as_bytes(), "a".repeat(1_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_pattern_ends(pattern: Vec<u8>, text: Vec<u8>) {
            let _ = glob(&pattern, &text);
        }

        #[test]
        fn stars_fit_like_the_plain_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn plain(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => {
                        (0..=text.len()).any(|skipped| plain(rest, &text[skipped..]))
                    }
                    ([b'?', p @ ..], [_, t @ ..]) => plain(p, t),
                    ([a, p @ ..], [b, t @ ..]) => a == b && plain(p, t),
                    _ => false,
                }
            }
            let fits = glob(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits, plain(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
