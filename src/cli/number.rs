//! How numbers of arguments are parsed.

use std::str::FromStr;

pub(super) fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    let number = text.parse();
    number.map_err(|_| "expected a whole number".to_owned())
}
