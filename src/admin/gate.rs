//! Who may read the admin port. `Authorization: Bearer TOKEN` is for programs and for the page, which asks
//! people for the token. Programs that know only names and passwords (`Basic`) may show these.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use globalcounter::access::{
    Access, Check, Credentials, Denied, Grant, Guard, Login, Pending, Right, Verdict,
};

/// What supervisors and load balancers ask, which tells nothing but whether the server is well; and the
/// files of the page, which are the same at every server.
const OPEN_PATHS: [&str; 6] = [
    "/healthz",
    "/readyz",
    "/",
    "/page.css",
    "/page.js",
    "/cluster.js",
];

/// Decides about the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// What the peer may do without showing a token; `None` if everybody may read everything.
    access: Option<Access>,
}

impl Gate {
    /// Creates the gate of a peer. `certificate` is the common name of its certificate.
    pub(super) fn new(
        guard: Option<Arc<Guard>>,
        peer: IpAddr,
        certificate: Option<String>,
    ) -> Self {
        // Without tokens, loopback reads the admin port as it does without any access control.
        let peer = peer.to_canonical();
        let guard = guard.filter(|guard| guard.has_tokens() || !peer.is_loopback());
        let access = guard.map(|guard| Access::new(guard, peer));
        let access = match certificate {
            Some(name) => access.map(|access| access.with_certificate(name)),
            None => access,
        };
        Self { access }
    }

    /// Checks that the peer may read `path`.
    ///
    /// # Errors
    ///
    /// Returns the response to a request that is refused.
    pub(super) async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), Response> {
        let Some(access) = &self.access else {
            return Ok(());
        };
        let mut access = access.clone();
        access.refresh();
        if OPEN_PATHS.contains(&path) || may_read(access.grant()) {
            return Ok(());
        }
        let Some(secret) = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| secret(value.as_bytes()))
        else {
            return Err(unauthorized("a token with the right read is needed\n"));
        };
        match check(&access, &secret).await {
            Ok(token) if may_read(&token.grant) => Ok(()),
            Ok(_) => {
                let text = "the token has no right to read all topics\n";
                Err((StatusCode::FORBIDDEN, text).into_response())
            }
            Err(denied @ (Denied::TooManyFailures | Denied::Busy)) => {
                Err((StatusCode::TOO_MANY_REQUESTS, format!("{denied}\n")).into_response())
            }
            Err(denied) => Err(unauthorized(&format!("{denied}\n"))),
        }
    }
}

/// Checks a secret, and waits if it is a password.
async fn check(access: &Access, secret: &[u8]) -> Verdict {
    let mut pending: Option<Pending> = None;
    poll_fn(|cx| {
        if pending.is_none() {
            match access.check(Login::Http, Credentials::Secret(secret), cx.waker()) {
                Check::Done(verdict) => return Poll::Ready(verdict),
                Check::Waits(check) => pending = Some(check),
            }
        }
        match pending.as_ref().and_then(Pending::verdict) {
            Some(verdict) => Poll::Ready(verdict),
            None => Poll::Pending,
        }
    })
    .await
}

/// Returns whether a grant is enough for the admin port, which tells of all topics.
fn may_read(grant: &Grant) -> bool {
    grant.allows_everywhere(Right::Read) || grant.allows_somewhere(Right::Admin)
}

/// Asks for a token. It does not offer `Basic`, because a browser would then ask in place of the page.
fn unauthorized(text: &str) -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Bearer realm=\"globalcounter\"")];
    (StatusCode::UNAUTHORIZED, ask, text.to_owned()).into_response()
}

/// Returns the token of a bearer, or name and password with a colon between them.
fn secret(authorization: &[u8]) -> Option<Vec<u8>> {
    let space = authorization.iter().position(|&byte| byte == b' ')?;
    let (scheme, value) = (
        &authorization[..space],
        authorization[space + 1..].trim_ascii(),
    );
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(value.to_vec())
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        decode_base64(value)
    } else {
        None
    }
}

/// Decodes base64 with or without padding; `None` if it is not base64.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for &digit in text {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_both_schemes() {
        let found =
            |text: &str| secret(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(found("Bearer abc").as_deref(), Some("abc"));
        // The example of RFC 7617.
        let basic = found("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic.as_deref(), Some("Aladdin:open sesame"));
        assert_eq!(found("Basic YTpi").as_deref(), Some("a:b"));
        for other in ["Bearer", "Digest x", "Basic !", ""] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
