//! The parts of a transaction.

use super::proto::compare::{CompareResult, CompareTarget, TargetUnion};
use super::proto::request_op::Request;
use super::proto::{
    Compare, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, ResponseOp,
    response_op,
};

/// Compares the revision that created a key; 0 for a key that must not exist.
pub(super) fn created_at(key: String, revision: u64) -> Compare {
    let target = TargetUnion::CreateRevision(revision as i64);
    compare(key, CompareTarget::Create, target)
}

/// Compares the revision that last wrote a key; 0 for a key that must not exist.
pub(super) fn written_at(key: String, revision: u64) -> Compare {
    let target = TargetUnion::ModRevision(revision as i64);
    compare(key, CompareTarget::Mod, target)
}

/// Requires that there is no key from `key` up to `end`.
pub(super) fn none_between(key: String, end: String) -> Compare {
    Compare {
        range_end: end.into_bytes(),
        ..created_at(key, 0)
    }
}

/// Requires that no key from `key` up to `end` was written after a revision.
pub(super) fn unchanged_between(key: String, end: String, since: u64) -> Compare {
    Compare {
        result: CompareResult::Less.into(),
        range_end: end.into_bytes(),
        ..written_at(key, since + 1)
    }
}

fn compare(key: String, target: CompareTarget, union: TargetUnion) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.into_bytes(),
        target_union: Some(union),
        range_end: Vec::new(),
    }
}

pub(super) fn put(key: String, value: String) -> RequestOp {
    operation(Request::RequestPut(PutRequest {
        key: key.into_bytes(),
        value: value.into_bytes(),
        ..PutRequest::default()
    }))
}

/// Writes a key that disappears with a lease.
pub(super) fn put_with_lease(key: String, value: String, lease: i64) -> RequestOp {
    operation(Request::RequestPut(PutRequest {
        key: key.into_bytes(),
        value: value.into_bytes(),
        lease,
        ..PutRequest::default()
    }))
}

/// Writes a key that exists and leaves it attached to its lease.
pub(super) fn put_keeping_lease(key: String, value: String) -> RequestOp {
    operation(Request::RequestPut(PutRequest {
        key: key.into_bytes(),
        value: value.into_bytes(),
        ignore_lease: true,
        ..PutRequest::default()
    }))
}

pub(super) fn delete(key: String) -> RequestOp {
    operation(Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.into_bytes(),
    }))
}

pub(super) fn read(range: RangeRequest) -> RequestOp {
    operation(Request::RequestRange(range))
}

fn operation(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

/// Returns the keys that an operation of a transaction read.
pub(super) fn keys_read(response: ResponseOp) -> Option<(Vec<KeyValue>, bool)> {
    match response.response? {
        response_op::Response::ResponseRange(range) => Some((range.kvs, range.more)),
        _ => None,
    }
}
