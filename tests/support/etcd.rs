//! etcd: whether it is installed, and its gateway for HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long an exchange may take. A member that is cut off or stopped does not answer at all.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(2);

/// Returns whether etcd is installed. If `CI` is set, it must be.
pub(crate) fn etcd_is_installed() -> bool {
    let version = Command::new("etcd")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if version.is_err() {
        let is_set = |name| std::env::var_os(name).is_some();
        let excused = !is_set("CI") || is_set("GLOBALCOUNTER_WITHOUT_ETCD");
        assert!(excused, "etcd is not installed");
        println!("etcd is not installed: not tried");
    }
    version.is_ok()
}

/// Sends a request of HTTP to a member of etcd and returns the whole answer.
pub(crate) fn exchange_with_etcd(address: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, EXCHANGE_LIMIT)?;
    stream.set_read_timeout(Some(EXCHANGE_LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Calls etcd's gateway for HTTP, which takes and returns JSON. Returns head and body of the answer.
pub(crate) fn post_to_etcd(address: SocketAddr, path: &str, json: &str) -> std::io::Result<String> {
    let length = json.len();
    let head = format!("POST /v3/{path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    exchange_with_etcd(address, &(head + json))
}

/// Returns whether a member serves, and knows a leader.
pub(crate) fn etcd_is_healthy(address: SocketAddr) -> bool {
    exchange_with_etcd(address, "GET /health HTTP/1.0\r\n\r\n")
        .is_ok_and(|answer| answer.contains(r#""health":"true""#))
}
