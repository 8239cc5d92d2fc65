//! The creation of a cluster: the keys `format` and `ranges`.

use super::client::Client;
use super::error::Error;
use super::keys::Keys;
use super::proto::{KeyValue, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use super::transaction::{keys_read, none_between, put, read};
use super::values::not_understood;
use crate::cluster::{RANGES, SLOTS};

/// The format of keys and values that this version reads and writes.
const FORMAT: &str = "1";

/// Creates the cluster if no key has its prefix. Returns its number of ranges.
///
/// # Errors
///
/// The cluster is of another format, or something else is stored under its prefix.
pub(super) async fn create_or_check(client: &Client, keys: &Keys) -> Result<u16, Error> {
    let (first, end) = keys.all();
    let request = TxnRequest {
        compare: vec![none_between(first, end)],
        success: vec![
            put(keys.format(), FORMAT.to_owned()),
            put(keys.ranges(), RANGES.to_string()),
        ],
        failure: reads(keys),
    };
    let answer = client.transaction(request).await?;
    if answer.succeeded {
        return Ok(RANGES);
    }
    found(keys, answer)
}

/// Returns the number of ranges of a cluster; `None` if no key has its prefix.
///
/// # Errors
///
/// As of [`create_or_check`].
pub(super) async fn check_only(client: &Client, keys: &Keys) -> Result<Option<u16>, Error> {
    let (first, end) = keys.all();
    let request = TxnRequest {
        compare: vec![none_between(first, end)],
        success: Vec::new(),
        failure: reads(keys),
    };
    let answer = client.transaction(request).await?;
    match answer.succeeded {
        true => Ok(None),
        false => found(keys, answer).map(Some),
    }
}

/// Reads what [`found`] takes.
fn reads(keys: &Keys) -> Vec<RequestOp> {
    let one_key = |key: String| {
        read(RangeRequest {
            key: key.into_bytes(),
            ..RangeRequest::default()
        })
    };
    let (first, end) = keys.all();
    let any_key = read(RangeRequest {
        key: first.into_bytes(),
        range_end: end.into_bytes(),
        limit: 1,
        ..RangeRequest::default()
    });
    vec![one_key(keys.format()), one_key(keys.ranges()), any_key]
}

/// Returns the number of ranges of a cluster that exists.
fn found(keys: &Keys, answer: TxnResponse) -> Result<u16, Error> {
    let mut found = answer.responses.into_iter().map(|response| {
        let (pairs, _) = keys_read(response).ok_or(Error::Answer)?;
        Ok(pairs.into_iter().next())
    });
    let mut next = || found.next().ok_or(Error::Answer)?;
    let (format, ranges, any) = (next()?, next()?, next()?);
    check(keys, format, ranges, any)
}

fn check(
    keys: &Keys,
    format: Option<KeyValue>,
    ranges: Option<KeyValue>,
    any: Option<KeyValue>,
) -> Result<u16, Error> {
    let (Some(format), Some(ranges)) = (format, ranges) else {
        let any = any.ok_or(Error::Answer)?;
        let problem = format!(
            "there is no cluster: {:?} or {:?} is missing",
            keys.format(),
            keys.ranges()
        );
        return Err(not_understood(&any, problem));
    };
    if format.value != FORMAT.as_bytes() {
        return Err(Error::Format {
            key: keys.format(),
            found: String::from_utf8_lossy(&format.value).into_owned(),
            expected: FORMAT.to_owned(),
        });
    }
    std::str::from_utf8(&ranges.value)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|ranges: &u16| ranges.is_power_of_two() && *ranges <= SLOTS)
        .ok_or_else(|| not_understood(&ranges, "its value is not a power of two up to 16384"))
}
