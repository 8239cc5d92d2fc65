//! Redis's glob patterns, for SCAN, KEYS and CONFIG GET.

/// Returns whether `text` matches `pattern`: `*` matches any bytes, `?` one byte, `[a-z]` one byte
/// of these, `[^a-z]` one byte not of these, and `\` escapes the next byte.
///
/// Takes at most as many steps as the product of their lengths: it backtracks only to the last `*`.
#[must_use]
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to backtrack to on a mismatch: the pattern after the last star, and the text it was
    // tried at. The next try starts one byte of text later.
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        let next = match text.get(t) {
            Some(&byte) => match_one(&pattern[p..], byte),
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

/// Matches `byte` against the first element of the pattern, which stands for one byte. Returns the
/// length of that element if it matches.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref class @ ..] => {
            let (matches, len) = match_class(class, byte);
            matches.then_some(1 + len)
        }
        [b'\\', literal, ..] => (literal == byte).then_some(2),
        [literal, ..] => (literal == byte).then_some(1),
    }
}

/// Returns whether `byte` is in the class, and the length of the class with its closing bracket;
/// `class` is the pattern after the opening bracket. Like in Redis, a class without a closing
/// bracket ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> (bool, usize) {
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
    fn patterns_match_as_in_redis() {
        let matches = [
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
        for (pattern, text) in matches {
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

    /// Guards against backtracking to every star, which takes exponential time.
    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!glob(pattern.as_bytes(), "a".repeat(1_000).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_pattern_terminates(pattern: Vec<u8>, text: Vec<u8>) {
            let _ = glob(&pattern, &text);
        }

        #[test]
        fn stars_match_as_in_a_naive_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => {
                        (0..=text.len()).any(|skipped| naive(rest, &text[skipped..]))
                    }
                    ([b'?', p @ ..], [_, t @ ..]) => naive(p, t),
                    ([a, p @ ..], [b, t @ ..]) => a == b && naive(p, t),
                    _ => false,
                }
            }
            let matched = glob(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matched, naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
