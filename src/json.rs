//! JSON that a terminal can show.

use serde::Serialize;

/// Returns a value as JSON without control characters. JSON requires escapes only below U+0020, but a
/// terminal may take those up to U+009F for commands.
///
/// # Errors
///
/// The value cannot be JSON.
pub(crate) fn without_controls(value: &impl Serialize) -> serde_json::Result<String> {
    let json = serde_json::to_string(value)?;
    if !json.contains(char::is_control) {
        return Ok(json);
    }
    let escaped = json.chars().map(|c| match c.is_control() {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    });
    Ok(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_could_obey_is_escaped() {
        let text = "a\u{1b}[31m\u{7f}\u{9b}31m\né";
        let json = without_controls(&text).expect("JSON");
        assert_eq!(json, r#""a\u001b[31m\u007f\u009b31m\né""#);
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
    }
}
