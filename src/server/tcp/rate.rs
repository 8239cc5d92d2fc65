//! Limits on the requests a second: of a connection, and of the token that it has shown. A read asks for
//! them once. Without a limit it runs the decoder that knows none.

use super::connection::Connection;
use crate::access::{Access, Bucket, Meter, Shares};
use crate::server::net::coarse_nanoseconds;

impl Connection {
    /// Returns whether the requests of the next read are limited.
    pub(super) fn is_limited(&self) -> bool {
        let access = self.access.as_ref();
        self.connection_rate() > 0 || access.is_some_and(|access| access.rate().is_some())
    }

    /// Returns how many requests a second each connection may make; 0 is no limit.
    pub(super) fn connection_rate(&self) -> u32 {
        let status = &self.registered.worker().status;
        status.request_limits.connection_rate()
    }
}

/// Begins to measure a read of a connection, which may make `rate` requests a second (0 is no limit), and
/// has `bucket` and `access`.
pub(super) fn meter<'a>(
    rate: u32,
    bucket: Bucket,
    access: Option<&Access>,
    shares: &'a mut Shares,
) -> Meter<'a> {
    let connection = (rate > 0).then_some((rate, bucket));
    let token = access.and_then(Access::rate);
    Meter::new(coarse_nanoseconds(), connection, token, shares)
}
