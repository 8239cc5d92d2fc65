//! The admin port: requests over HTTP, and the metrics in their replies.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// Sends a request and returns the status and the whole reply.
pub(crate) fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: test\r\n{headers}\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let status = reply.split(' ').nth(1).and_then(|word| word.parse().ok());
    match status {
        Some(status) => Ok((status, reply)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
) -> (u16, String) {
    try_request(address, method, path, headers).unwrap()
}

pub(crate) fn body(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").expect("a body").1
}

pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, reply) = request(address, "GET", path, "");
    (status, body(&reply).to_owned())
}

pub(crate) fn is_ok(address: SocketAddr, path: &str) -> bool {
    try_request(address, "GET", path, "").is_ok_and(|(status, _)| status == 200)
}

/// Returns the value of each sample, by its name with labels.
pub(crate) fn metrics(address: SocketAddr) -> HashMap<String, f64> {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}
