//! Hints about how far the results can be trusted.

/// Returns the hint to pin load and server, as lines. There are none if they share no processors.
pub(super) fn pinning(shared: &[usize]) -> Vec<String> {
    if shared.is_empty() {
        return Vec::new();
    }
    let cpus = if shared.len() == 1 { "CPU" } else { "CPUs" };
    vec![
        format!(
            "load and server share {cpus} {}, which makes the results noisy",
            ranges(shared)
        ),
        "pin them to different CPUs: loadgen --pin, globalcounter serve --pin (or taskset)".into(),
    ]
}

/// Formats ascending numbers as in `0-3, 7`.
pub(crate) fn ranges(numbers: &[usize]) -> String {
    let ranges = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(usize::to_string).collect(),
    });
    ranges.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_processors_are_named_with_both_flags() {
        assert_eq!(pinning(&[]), [""; 0]);
        let hint = pinning(&[0, 1]).join("\n");
        assert!(hint.contains("share CPUs 0-1,"), "{hint}");
        assert!(hint.contains("loadgen --pin"), "{hint}");
        assert!(hint.contains("globalcounter serve --pin"), "{hint}");
        assert!(pinning(&[3])[0].contains("share CPU 3,"));
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
    }
}
